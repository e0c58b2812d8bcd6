"""A workshop: a real ledger, a real engine, and a world that a test holds in its hands.

What it is not: a fake of the engine or of the ledger.  Only time and the outside are played.
"""

import asyncio
import hashlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tildawn.engine.engine import Engine, Threads
from tildawn.engine.owner import Options, Owner
from tildawn.engine.queue import Limits
from tildawn.engine.task import Retry, TaskDef, Tasks, task
from tildawn.errors import StepFailed
from tildawn.facts import call, house, night, run, step
from tildawn.facts.fact import Fact, Registry
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.projections.letter import LETTER
from tildawn.projections.run import RUN, RunRow
from tildawn.projections.step import STEP
from tildawn.runtime.context import Context
from tildawn.testing.clock import ManualClock
from tildawn.units import SECOND, Micros, Seq


REGISTRY = Registry([*house.KINDS, *run.KINDS, *step.KINDS, *call.KINDS, *night.KINDS])


class Workshop:
    """One house with an engine that can crash and come back."""

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        """Found the house."""
        self.threads: Threads | None = None
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
            projections=[RUN, LETTER, STEP],
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
            threads=self.threads,
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

    def world(self, rng: random.Random) -> "World":
        """A world that holds what is under way."""
        return World(rng)

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


class World:
    """Holds every step that is under way until the test lets it end.

    Its shapes follow the rules and share state between branches: each step is asked with a
    digest of what all branches saw so far, in order.
    """

    def __init__(self, rng: random.Random) -> None:
        """Nothing is under way; chance enters here."""
        self.rng = rng
        self.open: list[tuple[str, asyncio.Future[str]]] = []
        self.performed: dict[str, int] = {}

    async def work(self, run: str, who: str, saw: str) -> str:
        """End when the world says so, with a value that names who asked."""
        place = f"{run} {who}"
        self.performed[place] = self.performed.get(place, 0) + 1
        gate: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.open.append((place, gate))
        return await gate

    def let_one_end(self) -> bool:
        """End one step at random, now and then badly."""
        self.open = [one for one in self.open if not one[1].done()]
        if not self.open:
            return False
        place, gate = self.open.pop(self.rng.randrange(len(self.open)))
        if self.rng.random() < 0.06:
            gate.set_exception(ValueError(f"bad luck at {place}"))
        else:
            gate.set_result(f"value of {place}")
        return True

    async def three(self, ctx: Context, who: str, shared: list[str], pause: float = 0) -> list[str]:
        """Three steps of a branch, with a pause after each."""
        found: list[str] = []
        for number in range(3):
            value = await ctx.step(self.work, ctx.run, f"{who}{number}", seen(shared))
            shared.append(value)
            found.append(value)
            if pause:
                await ctx.sleep(pause)
        return found

    def shapes(self) -> list[TaskDef[..., Any]]:
        """Every shape, the child of one of them last."""
        kid = self.kid()
        return [
            self.gathered(), self.grouped(), self.raced(), self.listened(), self.family(kid),
            self.caught(), self.tidied(), kid,
        ]  # fmt: skip

    def gathered(self) -> TaskDef[..., Any]:
        """Branches of a gather, one of them slow."""

        @task(name="gathered", retry=RETRY)
        async def gathered(ctx: Context) -> list[list[str]]:
            shared: list[str] = []
            return await ctx.gather(
                self.three(ctx, "a", shared),
                self.three(ctx, "b", shared, 1.5),
                self.three(ctx, "c", shared),
            )

        return gathered

    def grouped(self) -> TaskDef[..., Any]:
        """Branches of a TaskGroup."""

        @task(name="grouped", retry=RETRY)
        async def grouped(ctx: Context) -> list[list[str]]:
            shared: list[str] = []
            async with asyncio.TaskGroup() as group:
                branches = [group.create_task(self.three(ctx, who, shared)) for who in "abc"]
            return [branch.result() for branch in branches]

        return grouped

    def raced(self) -> TaskDef[..., Any]:
        """A race, then a timeout."""

        @task(name="raced", retry=RETRY)
        async def raced(ctx: Context) -> list[list[str]]:
            shared: list[str] = []
            _, first = await ctx.race(self.three(ctx, "a", shared), self.three(ctx, "a", shared))
            try:
                async with asyncio.timeout(3):
                    second = await self.three(ctx, "b", shared, 0.5)
            except TimeoutError:
                second = await self.three(ctx, "c", shared)
            return [first, second]

        return raced

    def listened(self) -> TaskDef[..., Any]:
        """Events beside steps."""

        @task(name="listened", retry=RETRY)
        async def listened(ctx: Context) -> list[list[str]]:
            shared: list[str] = []

            async def hear() -> list[str]:
                found = [str(await ctx.event("word")) for _ in range(2)]
                shared.extend(found)
                return found

            heard, said = await ctx.gather(hear(), self.three(ctx, "b", shared))
            assert heard == ["word 0", "word 1"]
            return [said]

        return listened

    def kid(self) -> TaskDef[..., Any]:
        """One branch, alone: the one shape that no order can change."""

        @task(name="kid", retry=RETRY)
        async def kid(ctx: Context, who: str) -> list[str]:
            return await self.three(ctx, who, [])

        return kid

    def family(self, kid: TaskDef[..., Any]) -> TaskDef[..., Any]:
        """Children beside steps, then chance."""

        @task(name="family", retry=RETRY)
        async def family(ctx: Context) -> list[list[str]]:
            shared: list[str] = []
            first, second, third = await ctx.gather(
                ctx.child(kid, "x"), self.three(ctx, "b", shared), ctx.child(kid, "y")
            )
            fourth = await self.three(ctx, f"z{ctx.random():.3f}", shared)
            assert len({*first, *third}) == 6
            return [second, fourth]

        return family

    def caught(self) -> TaskDef[..., Any]:
        """Branches that begin again when a step fails."""

        @task(name="caught", retry=RETRY)
        async def caught(ctx: Context) -> list[list[str]]:
            shared: list[str] = []

            async def stubborn(who: str) -> list[str]:
                for attempt in range(50):
                    try:
                        return await self.three(ctx, f"{who}{attempt}_", shared)
                    except StepFailed:
                        shared.append("failed")
                raise AssertionError

            return await ctx.gather(stubborn("a"), stubborn("b"))

        return caught

    def tidied(self) -> TaskDef[..., Any]:
        """Branches that clean up with a step while they unwind, so a retry finds it loose."""

        @task(name="tidied", retry=RETRY)
        async def tidied(ctx: Context) -> list[list[str]]:
            shared: list[str] = []

            async def tidy(who: str) -> list[str]:
                try:
                    return await self.three(ctx, who, shared)
                finally:
                    await ctx.step(self.work, ctx.run, f"tidy {who}", seen(shared))

            return await ctx.gather(tidy("a"), tidy("b"))

        return tidied


RETRY = Retry(attempts=50, first=Micros(SECOND), longest=Micros(2 * SECOND))


def seen(shared: list[str]) -> str:
    """What all branches saw so far, in order."""
    return hashlib.sha256("\n".join(shared).encode()).hexdigest()[:12]


class Counted:
    """Counts how often a step's body ran."""

    def __init__(self) -> None:
        """Nothing has run yet."""
        self.calls: list[Any] = []
        self.gates: dict[Any, asyncio.Event] = {}

    async def work(self, what: str) -> str:
        """Run at once."""
        self.calls.append(what)
        return what.upper()

    async def hang(self, what: str) -> str:
        """Run until cancelled."""
        self.calls.append(what)
        await asyncio.Event().wait()
        return what


@pytest.fixture
def counted() -> Counted:
    """Nothing counted yet."""
    return Counted()


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    """A fresh house."""
    made = Workshop(tmp_path / "house")
    yield made
    made.engine.abandon()
    made.ledger.close()
