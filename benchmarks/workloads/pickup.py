"""From enqueue to the first line of the task, in one process, with nothing else to do.

What it is not: across processes.
"""

from benchmarks.child import Order
from benchmarks.contenders.contender import contender
from benchmarks.figures import spread_ms


def measure(order: Order) -> dict[str, float]:
    """Milliseconds; nothing for a contender without a queue."""
    engine = contender(order.contender, order.folder)
    engine.start()
    engine.pickup(2)
    took = engine.pickup(order.sizes.pickups)
    engine.stop()
    return spread_ms(took) if took else {}
