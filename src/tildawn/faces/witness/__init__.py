"""The HTTP server of a witness, for a second machine."""
