"""Many runs at once: steps a second with everything recorded, and the bytes they leave.

What it is not: latency.
"""

from benchmarks.child import Order
from benchmarks.contenders.contender import contender
from benchmarks.figures import resident_mb, settled_bytes


def measure(order: Order) -> dict[str, float]:
    """Steps a second; bytes a step, the share of its run included and, alone, without."""
    sizes = order.sizes
    engine = contender(order.contender, order.folder)
    engine.start()
    engine.sequential(10)
    empty = settled_bytes(order.folder)
    took = engine.crowd(sizes.runs, sizes.steps_a_run)
    steps = sizes.runs * sizes.steps_a_run
    full = settled_bytes(order.folder)
    found = {
        "steps_a_second": steps / took, "seconds": took, "bytes_a_step": (full - empty) / steps,
        "resident_mb": resident_mb(),
    }  # fmt: skip
    if order.contender == "tildawn":
        engine.sequential(sizes.steps_alone)
        found["bytes_a_step_alone"] = (settled_bytes(order.folder) - full) / sizes.steps_alone
    engine.stop()
    return found
