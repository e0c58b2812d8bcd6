"""The overnight worker: from a plan to a morning report."""
