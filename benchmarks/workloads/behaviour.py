"""How breakers behave where calls of models hurt, each asked the same five questions.

What it is not: a matter of time, but for the moment that each stays open.

==============  ==========================================================================
``mixed``       every other call fails, sixty in all: does it open?
``cancel``      calls that their callers cancel: do they open it?
``half``        twenty calls at once after the time open is over: how many get through?
``stuck``       the call that tests the other side is cancelled: is it usable afterwards?
``stale``       a slow success from before it opened comes in: does that close it?
==============  ==========================================================================
"""

import asyncio
from collections.abc import Callable

from benchmarks.child import Order
from benchmarks.contenders.guards import (
    FAILURES,
    OPEN,
    Boom,
    Guarded,
    OurDoor,
    Work,
    Wrap,
    breaker,
)


RIGHT = {"mixed": 1.0, "cancel": 0.0, "half": 1.0, "stuck": 1.0, "stale": 0.0}
"""What each answer should be."""

TITLES = {
    "mixed": "opens at alternating 50 %",
    "cancel": "callers' cancellations open it",
    "half": "let through of 20 at half-open",
    "stuck": "usable after a cancelled probe",
    "stale": "a stale success closes it",
}

TIMES = 2 * FAILURES
"""Failures after which everybody has opened; ours wants ten attempts for its share."""


def measure(order: Order) -> dict[str, float]:
    """1 for yes, 0 for no, and a count."""
    return asyncio.run(_measure(order))


async def _measure(order: Order) -> dict[str, float]:
    if order.contender == "tildawn":
        return await _asked(OurDoor(order.folder / "house").wrap)

    def fresh(work: Work) -> Guarded:
        """Each question gets a breaker of its own."""
        return breaker(order.contender)(work)

    return await _asked(fresh)


async def _asked(wrap: Wrap) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, question in _QUESTIONS.items():
        found[name] = float(await question(lambda: wrap(work)))
    return found


async def work(kind: str, delay: float = 0.0) -> None:
    """Take a while, then succeed or fail."""
    if delay:
        await asyncio.sleep(delay)
    if kind == "F":
        raise Boom


Make = Callable[[], Guarded]


async def _call(guarded: Guarded, kind: str, delay: float = 0.0) -> str:
    try:
        await guarded(kind, delay)
    except Boom:
        return "failed"
    except asyncio.CancelledError:
        return "cancelled"
    except Exception:  # noqa: BLE001 - each library refuses with an error of its own
        return "refused"
    return "ok"


async def _mixed(make: Make) -> bool:
    guarded = make()
    said = [await _call(guarded, "FS"[number % 2]) for number in range(60)]
    return "refused" in said


async def _cancel(make: Make) -> bool:
    guarded = make()
    for _ in range(TIMES):
        await _cancelled(guarded)
    return await _call(guarded, "S") == "refused"


async def _cancelled(guarded: Guarded) -> None:
    going = asyncio.create_task(_call(guarded, "S", 1))
    await asyncio.sleep(0.02)
    going.cancel()
    await asyncio.wait([going])


async def _half(make: Make) -> int:
    guarded = await _opened(make)
    await asyncio.sleep(OPEN + 0.05)
    said = await asyncio.gather(*(_call(guarded, "S", 0.02) for _ in range(20)))
    return said.count("ok")


async def _stuck(make: Make) -> bool:
    guarded = await _opened(make)
    await asyncio.sleep(OPEN + 0.05)
    await _cancelled(guarded)
    await asyncio.sleep(OPEN + 0.05)
    return await _call(guarded, "S") == "ok"


async def _stale(make: Make) -> bool:
    guarded = make()
    slow = asyncio.create_task(_call(guarded, "S", OPEN * 0.8))
    await asyncio.sleep(0.01)
    await _fail(guarded)
    before = await _call(guarded, "S")
    await slow
    return before == "refused" and await _call(guarded, "S") == "ok"


async def _opened(make: Make) -> Guarded:
    guarded = make()
    await _fail(guarded)
    return guarded


async def _fail(guarded: Guarded) -> None:
    for _ in range(TIMES):
        if await _call(guarded, "F") == "refused":
            return


_QUESTIONS = {
    "mixed": _mixed, "cancel": _cancel, "half": _half, "stuck": _stuck, "stale": _stale,
}  # fmt: skip
