"""What a run may do to the world: kinds of calls, and what they are made with."""
