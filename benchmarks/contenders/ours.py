"""This project: a ledger with its chain, its tree and all projections, and an engine over it.

What it is not: a shortcut.  Everything is wired as a house of the product is.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.contenders.contender import Hits
from tildawn.clock import Clock, SystemClock
from tildawn.engine.engine import Engine as Runs
from tildawn.engine.owner import Options, Owner
from tildawn.engine.task import Tasks, task
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.runtime.context import Context
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.units import Seq


BUILD = "benchmark"

stamps: list[float] = []
"""When the lines that are measured were reached."""


async def noop(number: int) -> int:
    """Do nothing, as the steps of the others."""
    return number


@task(name="flow")
async def flow(ctx: Context, steps: int) -> int:
    """Steps one after the other."""
    for number in range(steps):
        await ctx.step(noop, number)
    return steps


@task(name="stamped")
async def stamped(ctx: Context, steps: int) -> int:
    """Steps one after the other, with the time of the end of each."""
    for number in range(steps):
        await ctx.step(noop, number)
        stamps.append(time.perf_counter())
    return steps


@task(name="tick")
async def tick(ctx: Context) -> None:
    """Be there, and say when."""
    stamps.append(time.perf_counter())


strikes: list[Hits] = []
"""Where executions of steps are counted."""


async def strike(run: int, number: int) -> int:
    """Be counted."""
    if strikes:
        strikes[0].hit(run, number)
    return number


@task(name="striking")
async def striking(ctx: Context, run: int, steps: int) -> int:
    """Counted steps one after the other."""
    for number in range(steps):
        await ctx.step(strike, run, number)
    return steps


def open_ledger(folder: Path, clock: Clock) -> Ledger:
    """The ledger of a house, founded where there is none."""
    return Ledger.open(
        folder, registry=REGISTRY, projections=PROJECTIONS, clock=clock, ids=Ids(clock),
        build=BUILD,
    )  # fmt: skip


class House:
    """A ledger and an engine over it, inside a running event loop."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        """Open the ledger; the engine rests."""
        self.clock: Clock = clock or SystemClock()
        self.ledger = open_ledger(folder, self.clock)
        self.tasks = Tasks([flow, stamped, striking, tick])
        self.engine = Runs(
            self.ledger, tasks=self.tasks, clock=self.clock,
            context=lambda asking: Context(asking, lambda *_, **__: None),
        )  # fmt: skip
        self.owner = Owner(self.engine, Ids(self.clock))
        self._resting: list[asyncio.Event] = []
        self.rested = 0
        self.engine.on_rest.append(self._on_rest)

    def _on_rest(self, run: str, kind: str, seq: Seq) -> None:
        self.rested += kind in {"RunDone", "RunFailed", "RunHeld", "RunCancelled"}
        for event in self._resting:
            event.set()

    async def rest(self, count: int) -> None:
        """Wait until so many runs have come to rest since the house was opened."""
        changed = asyncio.Event()
        self._resting.append(changed)
        while self.rested < count:
            changed.clear()
            await changed.wait()
        self._resting.remove(changed)

    async def sequential(self, steps: int) -> list[float]:
        """Seconds between the ends of the steps of one run."""
        stamps.clear()
        before = self.rested
        await self.owner.enqueue(stamped, steps)
        await self.rest(before + 1)
        return [after - earlier for earlier, after in itertools.pairwise(stamps)]

    async def crowd(self, runs: int, steps: int) -> float:
        """Seconds from the first word to the end of the last run."""
        before, began = self.rested, time.perf_counter()
        await asyncio.gather(*(self.owner.enqueue(flow, steps) for _ in range(runs)))
        await self.rest(before + runs)
        return time.perf_counter() - began

    async def close(self) -> None:
        """Leave in order."""
        await self.engine.stop()
        self.ledger.close()


class Engine:
    """A house for the workloads that everybody takes part in."""

    def __init__(self, name: str, folder: Path) -> None:
        """Nothing is opened yet."""
        self._folder = folder / "house"

    def start(self) -> None:
        """See `Contender`."""
        self._runner = asyncio.Runner()
        self._runner.run(self._start())

    async def _start(self) -> None:
        self.house = House(self._folder)
        await self.house.engine.start()

    def sequential(self, steps: int) -> list[float]:
        """See `Contender`."""
        return self._runner.run(self.house.sequential(steps))

    def crowd(self, runs: int, steps: int) -> float:
        """See `Contender`."""
        return self._runner.run(self.house.crowd(runs, steps))

    def pickup(self, count: int) -> list[float]:
        """See `Contender`."""
        return self._runner.run(self._pickup(count))

    async def _pickup(self, count: int) -> list[float]:
        took: list[float] = []
        for number in range(count):
            stamps.clear()
            before, began = self.house.rested, time.perf_counter()
            await self.house.owner.enqueue(tick)
            await self.house.rest(before + 1)
            took.append(stamps[0] - began)
            await asyncio.sleep(0.001 * (number % 7))
        return took

    def carry_on(self, runs: int, steps: int, hits: Hits) -> None:
        """See `Contender`."""
        self._runner.run(self._carry_on(runs, steps, hits))

    async def _carry_on(self, runs: int, steps: int, hits: Hits) -> None:
        strikes.append(hits)
        await self._until_done(
            [
                lambda run=run: self.house.owner.enqueue(
                    striking, run, steps, options=Options(key=str(run))
                )
                for run in range(runs)
            ]
        )

    async def _until_done(self, enqueue: list[Callable[[], Awaitable[object]]]) -> None:
        """A second enqueue under the same key is the same run, and no second one."""
        await asyncio.gather(*(one() for one in enqueue))
        self.house.engine.wake()
        while going := self._going():
            await self.house.rest(self.house.rested + going)

    def _going(self) -> int:
        with self.house.ledger.read() as reader:
            [(going,)] = reader.query("SELECT count(*) FROM run WHERE state <> 'done'")
        return int(going)

    def stop(self) -> None:
        """See `Contender`."""
        self._runner.run(self.house.close())
        self._runner.close()
