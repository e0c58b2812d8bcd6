"""Windows on the same operations; they decide nothing."""
