"""The simulator: a model provider on this machine, with faults on order."""
