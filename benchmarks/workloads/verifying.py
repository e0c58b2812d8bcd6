"""Proving a long ledger: chain and tree alone, and with canonical form, payloads and projections.

What it is not: opening; that checks only the tail.
"""

import time

from benchmarks.child import Order
from tildawn.ledger.verdict import State
from tildawn.ledger.verify import verify
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY


def measure(order: Order) -> dict[str, float]:
    """Seconds of both."""
    found: dict[str, float] = {}
    for name, hashes_only in (("hashes_s", True), ("whole_s", False)):
        began = time.perf_counter()
        verdict = verify(
            order.houses / "long", registry=REGISTRY, projections=PROJECTIONS,
            hashes_only=hashes_only,
        )  # fmt: skip
        found[name] = time.perf_counter() - began
        if verdict.state is not State.PROVEN:
            message = f"the house is not proven: {verdict}"
            raise RuntimeError(message)
        found["facts"] = verdict.size
    return found
