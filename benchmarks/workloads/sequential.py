"""One run, one step after the other: what a single durable step costs.

What it is not: throughput.  Bare commits of the same bytes are made in between, in the same process
and seconds, because a disk has moods.
"""

from benchmarks.child import Order
from benchmarks.contenders.bare import commits, connection
from benchmarks.contenders.contender import contender
from benchmarks.figures import percentile, spread_ms


def measure(order: Order) -> dict[str, float]:
    """Milliseconds a step, and how much of that is above a bare commit."""
    engine = contender(order.contender, order.folder)
    engine.start()
    database = connection(order.folder / "between.db")
    block = order.sizes.steps // order.sizes.blocks
    engine.sequential(block)
    took: list[float] = []
    bare: list[float] = []
    for _ in range(order.sizes.blocks):
        bare += commits(database, block)
        took += engine.sequential(block)
    engine.stop()
    over = (percentile(took, 0.5) - percentile(bare, 0.5)) * 1e3
    return spread_ms(took) | {"over_bare_ms": over} | spread_ms(bare, "bare_")
