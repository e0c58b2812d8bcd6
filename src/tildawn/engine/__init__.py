"""When work runs: queue, deterministic loop, replay, timers, recovery."""
