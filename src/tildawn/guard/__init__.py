"""Whether and how we call out: the one door and its rules."""
