"""Calls through the whole door to a provider that answers at once: two commits each.

What it is not: a call over a network.
"""

import asyncio
import time
from random import Random

from benchmarks.child import Order
from benchmarks.contenders.bare import commits, connection
from benchmarks.contenders.ours import open_ledger
from benchmarks.figures import percentile, spread_ms
from tildawn.clock import SystemClock
from tildawn.engine.work import fence_of
from tildawn.facts.fact import Fact
from tildawn.facts.run import RunAccepted, RunStarted
from tildawn.guard.call import Door
from tildawn.guard.request import Answer, Attempt, CallRequest, Ended
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.units import Micros, Seq


async def nothing(attempt: Attempt) -> Answer:
    """A provider that costs and does nothing."""
    attempt.wire.sent = True
    return Answer(value=b'"done"')


def heard(seq: Seq, fact: Fact, text: bytes | None) -> None:
    """Take a final record."""


def measure(order: Order) -> dict[str, float]:
    """Calls a second with many at once; milliseconds of one alone, above two bare commits."""
    clock = SystemClock()
    with open_ledger(order.folder / "house", clock) as ledger:
        run = Ids(clock).new()
        begun = [RunAccepted(task="t", args=""), RunStarted(attempt=1)]
        ledger.append_now([ledger.draft(fact, run=run) for fact in begun])
        return asyncio.run(_measure(order, ledger, run))


async def _measure(order: Order, ledger: Ledger, run: str) -> dict[str, float]:
    sizes = order.sizes
    door = Door(ledger, SystemClock(), Random(0))
    database = connection(order.folder / "between.db")
    await _alone(door, run, "warm", 20)
    alone: list[float] = []
    bare: list[float] = []
    for block in range(sizes.blocks):
        bare += commits(database, sizes.steps // sizes.blocks)
        alone += await _alone(door, run, f"alone{block}", sizes.steps // sizes.blocks)
    began = time.perf_counter()
    share = sizes.calls // sizes.calls_at_once
    await asyncio.gather(
        *(_alone(door, run, f"crowd{one}", share) for one in range(sizes.calls_at_once))
    )
    took = time.perf_counter() - began
    await door.close()
    over = (percentile(alone, 0.5) - 2 * percentile(bare, 0.5)) * 1e3
    return {
        "calls_a_second": share * sizes.calls_at_once / took, "over_two_bare_ms": over,
        "bare_p50_ms": percentile(bare, 0.5) * 1e3,
    } | spread_ms(alone)  # fmt: skip


async def _alone(door: Door, run: str, name: str, count: int) -> list[float]:
    took: list[float] = []
    for number in range(count):
        request = CallRequest(
            run=run, path=f":{name}#{number}", run_attempt=1, fence=fence_of(run, 1), name="null",
            route="null", repeat="safe", args_digest="a" * 43, body_digest="b" * 43,
            perform=nothing, timeout=Micros(5_000_000), deadline=Micros(60_000_000),
        )  # fmt: skip
        began = time.perf_counter()
        verdict = await door.call(request, heard)
        took.append(time.perf_counter() - began)
        if not isinstance(verdict, Ended):
            message = f"the door said {verdict}"
            raise TypeError(message)
    return took
