"""A snapshot of a long house and the way back to its end: how long each takes.

What it is not: the drill, which also proves every table a second time.
"""

import shutil
import time

from benchmarks.child import Order
from tildawn.clock import SystemClock
from tildawn.ids import Ids
from tildawn.ledger.layout import Layout
from tildawn.ledger.opening import Setup
from tildawn.ledger.restore import Wish, restore
from tildawn.ledger.snapshot import take
from tildawn.ledger.source import Point
from tildawn.runtime.restore import carry
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY


def measure(order: Order) -> dict[str, float]:
    """Seconds of a snapshot, of a restore from the ledger itself, and of one from the snapshot."""
    shutil.copytree(order.houses / "long", order.folder / "long")
    layout, clock = Layout(order.folder / "long"), SystemClock()
    began = time.perf_counter()
    made = take(layout, clock=clock, build="benchmark", why="asked")
    found = {"snapshot_s": time.perf_counter() - began, "facts": float(made.manifest.size)}
    found["packed_mb"] = made.size_bytes / 1e6
    setup = Setup(
        registry=REGISTRY, projections=PROJECTIONS, clock=clock, ids=Ids(clock), build="benchmark"
    )
    for name, source in (("restore_s", None), ("unpack_s", made.folder)):
        began = time.perf_counter()
        wish = Wish(to=Point(size=made.manifest.size - 500), source=source)
        restore(layout, setup, wish, carry)
        found[name] = time.perf_counter() - began
    return found
