"""The local socket of the process that holds the pen."""
