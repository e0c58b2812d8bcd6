"""What is done with a contender: one module a workload, each with a function ``measure``."""
