"""Products on the core; each is a stranger to the others."""
