"""A workshop: a real ledger, a real engine, and a world that a test holds in its hands.

What it is not: a fake of the engine or of the ledger.  Only time and the outside are played.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tildawn.engine.engine import Engine
from tildawn.engine.owner import Options, Owner
from tildawn.engine.queue import Limits
from tildawn.engine.task import TaskDef, Tasks
from tildawn.facts import call, house, night, run, step
from tildawn.facts.fact import Fact, Registry
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.projections.run import RUN, RunRow
from tildawn.projections.step import STEP
from tildawn.runtime.context import Context
from tildawn.testing.clock import ManualClock
from tildawn.units import Micros, Seq


REGISTRY = Registry([*house.KINDS, *run.KINDS, *step.KINDS, *call.KINDS, *night.KINDS])


class Workshop:
    """One house with an engine that can crash and come back."""

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        """Found the house."""
        self.folder = folder
        self.clock = ManualClock()
        self.ids = Ids(self.clock)
        self.tasks = Tasks()
        self.limits = limits
        self.ledger = self.open()
        self.engine = self._engine()
        self.owner = Owner(self.engine, self.ids)
        self.logged: list[str] = []

    def open(self) -> Ledger:
        """Take the pen."""
        return Ledger.open(
            self.folder,
            registry=REGISTRY,
            projections=[RUN, STEP],
            clock=self.clock,
            ids=self.ids,
            build="test",
        )

    def _engine(self) -> Engine:
        return Engine(
            self.ledger,
            tasks=self.tasks,
            clock=self.clock,
            limits=self.limits,
            context=lambda asking: Context(asking, lambda text, **_: self.logged.append(text)),
        )

    async def start(self) -> None:
        """Begin to work."""
        await self.engine.start()

    async def crash(self) -> None:
        """Lose everything in memory; what was handed to the ledger is on record."""
        self.engine.abandon()
        await self.settle()
        self.engine = self._engine()
        self.owner = Owner(self.engine, self.ids)
        await self.engine.start()

    async def reopen(self) -> None:
        """Close the house in order and open it again, with a fresh engine."""
        await self.engine.stop()
        self.ledger.close()
        self.ledger = self.open()
        self.engine = self._engine()
        self.owner = Owner(self.engine, self.ids)
        await self.engine.start()

    async def settle(self, turns: int = 6) -> None:
        """Let everything happen that can happen without time or the world."""
        for _ in range(turns):
            await self.ledger.append([self.ledger.draft(house.ClockJumped(by_ms=0))])
            for _ in range(8):
                await asyncio.sleep(0)

    async def tick(self, wait: int) -> None:
        """Let time pass, then settle."""
        self.clock.advance(Micros(wait))
        await self.settle()

    async def until(self, done: Callable[[], bool], *, turns: int = 400) -> None:
        """Settle until something is so."""
        for _ in range(turns):
            if done():
                return
            await self.settle(1)
        message = "it never came to pass"
        raise AssertionError(message)

    async def enqueue(self, task: TaskDef[..., Any], *args: Any, **options: Any) -> str:
        """Accept a run."""
        if self.tasks.get(task.name) is None:
            self.tasks.add(task)
        accepted = await self.owner.enqueue(task, *args, options=Options(**options))
        return accepted.run

    def row(self, run: str) -> RunRow:
        """A run as it is now."""
        with self.ledger.read() as reader:
            found = reader.get(RunRow, run)
        assert found is not None
        return found

    def history(self, run: str) -> list[tuple[Seq, Fact]]:
        """All facts of a run."""
        with self.ledger.read() as reader:
            return reader.history(run)

    def kinds(self, run: str) -> list[str]:
        """The kinds of a run's facts, in order."""
        return [fact.kind for _, fact in self.history(run)]

    def result(self, run: str) -> bytes:
        """The JSON of a run's result."""
        last = [seq for seq, fact in self.history(run) if fact.kind == "RunDone"]
        with self.ledger.read() as reader:
            return reader.payload(last[-1], 0)

    def why(self, run: str) -> str:
        """The text of what a run last stumbled over."""
        kinds = {"RunHeld", "RunFailed", "RunRetried"}
        last = [seq for seq, fact in self.history(run) if fact.kind in kinds]
        with self.ledger.read() as reader:
            return reader.payload(last[-1], 0).decode()

    async def ended(self, run: str, state: str = "done") -> RunRow:
        """Wait until the run is in a state."""
        await self.until(lambda: self.row(run).state == state)
        return self.row(run)


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    """A fresh house."""
    made = Workshop(tmp_path / "house")
    yield made
    made.engine.abandon()
    made.ledger.close()
