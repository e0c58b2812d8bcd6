"""Nights that are played in virtual time against a provider that follows a script."""
