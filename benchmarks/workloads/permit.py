"""Calls through the whole door with and without a permit, by turns: what a use costs.

What it is not: the commit; both have the same two, and the difference is what is left.
"""

import asyncio
import time
from random import Random

from benchmarks.child import Order
from benchmarks.contenders.ours import open_ledger
from benchmarks.figures import percentile
from benchmarks.workloads.door import heard, nothing
from tildawn.clock import SystemClock
from tildawn.engine.work import fence_of
from tildawn.facts.run import RunAccepted, RunStarted
from tildawn.guard.authority import Authority
from tildawn.guard.call import Door
from tildawn.guard.mint import Place, checked, minted
from tildawn.guard.permit import Grant
from tildawn.guard.request import CallRequest, Ended
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.units import Micros, MicroUsd


GRANT = Grant(
    operations=frozenset({"http:POST"}), routes=("nul*",), resources=("https://shop.example/**",),
    max_calls=10_000_000, expires_at=2**52,
)  # fmt: skip


def measure(order: Order) -> dict[str, float]:
    """Microseconds of a call under a permit above the one without right beside it, p50.

    Also below a parent; and what the whole process works for each, its writer included.
    """
    clock = SystemClock()
    with open_ledger(order.folder / "house", clock) as ledger:
        run = Ids(clock).new()
        begun = [RunAccepted(task="t", args=""), RunStarted(attempt=1)]
        ledger.append_now([ledger.draft(fact, run=run) for fact in begun])
        grant = checked(GRANT)
        ledger.append_now(
            [
                minted(ledger, "one", grant),
                minted(ledger, "child", grant, place=Place(parent="one")),
            ]
        )
        return asyncio.run(_measure(order, ledger, run))


async def _measure(order: Order, ledger: Ledger, run: str) -> dict[str, float]:
    door = Door(ledger, SystemClock(), Random(0))
    took: dict[str, list[float]] = {"": [], "one": [], "child": []}
    worked = dict.fromkeys(took, 0.0)
    for number in range(-20, order.sizes.steps_alone):
        # By turns, and each turn in another order: what the disk does meanwhile is everybody's.
        names = list(took)
        for name in names[number % 3 :] + names[: number % 3]:
            before = time.process_time()
            spent = await _call(door, _request(run, f":{name}#{number}", name))
            if number >= 0:
                took[name].append(spent)
                worked[name] += time.process_time() - before
    await door.close()
    asked = _asked(ledger, _request(run, ":", "one"), order.sizes.steps_alone)
    return {
        "use_us": _above(took["one"], took[""]), "child_us": _above(took["child"], took[""]),
        "without_us": percentile(took[""], 0.5) * 1e6,
        "work_us": (worked["one"] - worked[""]) / order.sizes.steps_alone * 1e6,
        "asked_us": asked,
    }  # fmt: skip


def _above(these: list[float], those: list[float]) -> float:
    """Microseconds by which one is above its neighbour, p50 of all pairs."""
    return percentile([one - two for one, two in zip(these, those, strict=True)], 0.5) * 1e6


def _request(run: str, path: str, permit: str) -> CallRequest:
    return CallRequest(
        run=run, path=path, run_attempt=1, fence=fence_of(run, 1), name="null", route="null",
        repeat="safe", args_digest="a" * 43, body_digest="b" * 43, perform=nothing,
        timeout=Micros(5_000_000), deadline=Micros(60_000_000), permit=permit,
        operation="http:POST", resource="https://shop.example/orders",
    )  # fmt: skip


async def _call(door: Door, request: CallRequest) -> float:
    began = time.perf_counter()
    verdict = await door.call(request, heard)
    spent = time.perf_counter() - began
    if not isinstance(verdict, Ended):
        message = f"the door said {verdict}"
        raise TypeError(message)
    return spent


def _asked(ledger: Ledger, request: CallRequest, times: int) -> float:
    """Microseconds of the part that is done before the commit, p50."""
    authority, found = Authority(ledger), list[float]()
    for _ in range(times):
        began = time.perf_counter()
        authority.refuses(request, Micros(1))
        authority.scopes(request)
        authority.expected(request, MicroUsd(0), Micros(1))
        found.append(time.perf_counter() - began)
    return percentile(found, 0.5) * 1e6
