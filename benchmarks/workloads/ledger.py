"""The ledger alone: one durable append beside a bare one, a thousand callers, a second copy.

What it is not: a step or a call; nothing decides and nothing is replayed here.
"""

import asyncio
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.child import Order
from benchmarks.figures import percentile
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.mirror import State, Wish
from tildawn.testing.notebook import note, open_notebook


TEXT = '"' + "x" * 60 + '"'


def measure(order: Order) -> dict[str, float]:
    """Milliseconds of an append, above a bare one and with a mirror; facts a second of many."""
    return asyncio.run(_measure(order))


async def _measure(order: Order) -> dict[str, float]:
    sizes = order.sizes
    copy = order.folder / "copy"
    copy.mkdir()
    wish = Wish(mode="sync-degrade", folder=copy)
    with (
        _bare(order.folder / "bare") as handle,
        open_notebook(order.folder / "alone") as alone,
        open_notebook(order.folder / "both", mirror=wish) as both,
    ):
        took = await _in_turns(handle, (alone, both), sizes.appends)
        assert both.mirror is not None
        assert both.mirror.state is State.IN_STEP, "the mirror was left"
        rate = await _crowd(alone, sizes.callers, sizes.appends_each)
    bare, ours, mirrored = (percentile(one, 0.5) for one in took)
    return {
        "bare_ms": bare, "append_ms": ours, "over_bare_ms": ours - bare, "mirrored_ms": mirrored,
        "mirror_percent": (mirrored / ours - 1) * 100, "facts_a_second": rate,
    }  # fmt: skip


@contextmanager
def _bare(path: Path) -> Generator[int]:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield handle
    finally:
        os.close(handle)


async def _in_turns(
    handle: int, ledgers: tuple[Ledger, Ledger], count: int
) -> tuple[list[float], ...]:
    """Milliseconds of a bare append and fdatasync, and of one by each ledger, one by one.

    Whoever comes second finds the disk as the first one left it, so everybody is first in turn.
    """
    took: tuple[list[float], ...] = ([], [], [])
    for key in range(count):
        entries = [note(one, key, run="0" * 32, text=TEXT) for one in ledgers]
        for place in ((key + step) % 3 for step in range(3)):
            began = time.perf_counter()
            if place == 0:
                os.write(handle, entries[0].body)
                os.fdatasync(handle)
            else:
                await ledgers[place - 1].append([entries[place - 1]])
            took[place].append((time.perf_counter() - began) * 1e3)
    return took


async def _crowd(ledger: Ledger, callers: int, each: int) -> float:
    async def caller(number: int) -> None:
        run = f"{number:032x}"
        for key in range(each):
            await ledger.append([note(ledger, key, run=run, text=TEXT)])

    began = time.perf_counter()
    # Runs of their own numbers, which the first part has not used.
    await asyncio.gather(*(caller(number + 1) for number in range(callers)))
    return callers * each / (time.perf_counter() - began)
