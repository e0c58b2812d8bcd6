"""A house in which a million runs sleep: what they cost in memory, at opening, and in lateness.

What it is not: waiting for a million of them.  Each round wakes a few that are due in its own
window; the clock of the house is set to just before it.
"""

import asyncio
import json
import subprocess

from benchmarks.child import Order
from benchmarks.contenders.ours import House
from benchmarks.figures import percentile, resident_mb
from tildawn.clock import SystemClock
from tildawn.engine.task import task
from tildawn.runtime.context import Context
from tildawn.units import MILLISECOND, SECOND, Micros


START = Micros(1_772_000_000_000_000)
"""When the runs fell asleep, on the clock of the house."""

MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE
NIGHTS = 8
"""Windows that are prepared; one a round."""

LEAD = 4 * SECOND
"""From the setting of the clock to the first due time of a window."""

lateness: list[int] = []


class SetClock(SystemClock):
    """The machine's clock, set to another time."""

    def __init__(self, now: int) -> None:
        """Begin at an instant (µs since 1970)."""
        self._ahead = now - super().wall()

    def wall(self) -> Micros:
        """See `Clock.wall`."""
        return Micros(super().wall() + self._ahead)


clocks: list[SetClock] = []


@task(name="sleeper")
async def sleeper(ctx: Context, seconds: float) -> None:
    """Sleep, then say how late it is."""
    await ctx.sleep(seconds)
    lateness.append(clocks[0].wall() - START - round(seconds * SECOND))


def window_of(night: int, count: int) -> list[int]:
    """How long the runs of a round sleep, in microseconds: 20 ms apart."""
    first = (night + 1) * 10 * MINUTE
    return [first + number * 20 * MILLISECOND for number in range(count)]


def measure(order: Order) -> dict[str, float]:
    """Memory above that of an empty house, seconds to open, milliseconds of lateness."""
    full, empty = _life(order, "sleepers"), _life(order, "nobody")
    return {
        "more_mb": full["resident_mb"] - empty["resident_mb"],
        "open_s": full["open_s"], "open_empty_s": empty["open_s"],
        "late_p50_ms": full["late_p50_ms"], "late_p99_ms": full["late_p99_ms"],
        "late_max_ms": full["late_max_ms"], "runs": full["runs"],
    }  # fmt: skip


def _life(order: Order, part: str) -> dict[str, float]:
    done = subprocess.run(order.command(part), check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def nobody(order: Order) -> dict[str, float]:
    """The same in a house without runs."""
    return asyncio.run(_open(order, "nobody", 0))


def sleepers(order: Order) -> dict[str, float]:
    """Open, and wait until the runs of one window have woken."""
    return asyncio.run(_open(order, "sleepers", order.sizes.due))


async def _open(order: Order, name: str, due: int) -> dict[str, float]:
    first = START + window_of(order.turn, 1)[0]
    clocks.append(SetClock(first - LEAD))
    house = House(order.houses / name, clocks[0])
    house.tasks.add(sleeper)
    await house.engine.start()
    found = {"open_s": (clocks[0].wall() - first + LEAD) / SECOND}
    await house.rest(due)
    found |= {"resident_mb": resident_mb(), "runs": _count(house)}
    if due:
        late = [one / MILLISECOND for one in lateness]
        found |= {
            "late_p50_ms": percentile(late, 0.5), "late_p99_ms": percentile(late, 0.99),
            "late_max_ms": max(late),
        }  # fmt: skip
    await house.close()
    return found


def _count(house: House) -> int:
    with house.ledger.read() as reader:
        [(runs,)] = reader.query("SELECT count(*) FROM run WHERE state = 'waiting'")
    return int(runs)
