"""The latency of a step in a house with many facts, beside one with few.

What it is not: a matter of minutes; both houses take turns, block by block, in one process.
"""

import asyncio

from benchmarks.child import Order
from benchmarks.contenders.ours import House
from benchmarks.figures import percentile


def measure(order: Order) -> dict[str, float]:
    """Median milliseconds in both, and their ratio."""
    return asyncio.run(_measure(order))


async def _measure(order: Order) -> dict[str, float]:
    sizes = order.sizes
    houses = {name: House(order.houses / name) for name in ("small", "long")}
    took: dict[str, list[float]] = {name: [] for name in houses}
    for house in houses.values():
        await house.engine.start()
        await house.sequential(10)
    for _ in range(2 * sizes.blocks):
        for name, house in houses.items():
            took[name] += await house.sequential(sizes.steps // sizes.blocks)
    facts = houses["long"].ledger.next_seq
    for house in houses.values():
        await house.close()
    few, many = percentile(took["small"], 0.5), percentile(took["long"], 0.5)
    return {"few_p50_ms": few * 1e3, "many_p50_ms": many * 1e3, "ratio": many / few, "facts": facts}
