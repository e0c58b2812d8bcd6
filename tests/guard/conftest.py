"""A house with one run under way, a world outside that does as it is told, and a door.

What it is not: a fake ledger.  Every test commits to a real one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from tildawn.errors import Busy, TildawnError
from tildawn.facts import call as call_facts
from tildawn.facts import house as house_facts
from tildawn.facts import permit as permit_facts
from tildawn.facts import route as route_facts
from tildawn.facts import run as run_facts
from tildawn.facts import step
from tildawn.facts.call import BudgetSet
from tildawn.facts.fact import Fact, Registry
from tildawn.facts.run import RunAccepted, RunInterrupted, RunStarted
from tildawn.guard.call import Door
from tildawn.guard.policy import PRESETS
from tildawn.guard.request import Answer, Attempt, CallRequest
from tildawn.guard.request import Verdict as Told
from tildawn.ids import Ids
from tildawn.ledger.entry import Answer as Appended
from tildawn.ledger.fold import Expect, Row
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.verdict import Verdict
from tildawn.ledger.verify import verify
from tildawn.projections.budget import BudgetRow
from tildawn.projections.call import CALL, CallRow
from tildawn.projections.permit import PERMIT
from tildawn.projections.route import ROUTE, health_of
from tildawn.projections.run import RUN, RunRow
from tildawn.testing.clock import ManualClock
from tildawn.units import SECOND, Micros, MicroUsd, Seq


RUN_NAME = "0" * 31 + "1"
REGISTRY = Registry(
    (
        *house_facts.KINDS,
        *run_facts.KINDS,
        *call_facts.KINDS,
        *step.KINDS,
        *route_facts.KINDS,
        *permit_facts.KINDS,
    )
)


class Fault(Exception):
    """A provider's fault, as the guard gets it: by its attributes."""

    def __init__(self, kind: str, **said: Any) -> None:
        super().__init__(kind)
        self.kind = kind
        self.detail = said.get("detail", f"a {kind} fault")
        self.sent: bool = said.get("sent", True)
        self.status: int | None = said.get("status")
        self.retry_after: int | None = said.get("retry_after")
        self.cost: int | None = said.get("cost")


@dataclass
class World:
    """The outside: does the next thing it was told, once for each attempt."""

    script: list[Any] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    #: Attempts whose task was told to end, as after a closed socket.
    ended: int = 0

    async def perform(self, attempt: Attempt) -> Answer:
        """Answer, raise, or hang; what is marked as applied happens once for each key."""
        self.keys.append(attempt.key)
        does = self.script.pop(0) if self.script else b'"done"'
        self.started.set()
        if does == "hang":
            return await self._hang()
        if does == "hang unsent":
            attempt.wire.sent = False
            return await self._hang()
        if does == "swallow":
            return await self._swallow()
        if isinstance(does, BaseException):
            raise does
        return does if isinstance(does, Answer) else Answer(value=does)

    async def _hang(self) -> Answer:
        try:
            await asyncio.Event().wait()
        finally:
            self.ended += 1
        raise AssertionError

    async def _swallow(self) -> Answer:
        while not self.go_on.is_set():
            try:
                await self.go_on.wait()
            except asyncio.CancelledError:
                continue
        return Answer(value=b'"late"', spend=MicroUsd(7), spend_source="reported")


@dataclass
class Ear:
    """Takes final records as the engine does."""

    heard: list[tuple[Seq, Fact, bytes | None]] = field(default_factory=list)

    def __call__(self, seq: Seq, fact: Fact, text: bytes | None) -> None:
        self.heard.append((seq, fact, text))

    @property
    def only(self) -> tuple[Any, bytes | None]:
        """The data and the text of the one final record."""
        [(_, fact, text)] = self.heard
        return fact.data, text


class WatchedLedger(Ledger):
    """A real ledger that knows how many appends are on their way, so that time can stand still."""

    on_their_way = 0
    #: Errors that the disk has ready for the next appends.
    trouble: list[TildawnError]

    def submit(self, entries: Any, *, expect: Any = (), done: Any = None, **said: Any) -> None:
        """See `Ledger.submit`."""
        if self.trouble:
            error = self.trouble.pop(0)
            if isinstance(error, Busy):
                raise error
            asyncio.get_running_loop().call_soon(done, error)
            return

        def counted(outcome: Any) -> None:
            self.on_their_way -= 1
            if done is not None:
                done(outcome)

        super().submit(entries, expect=expect, done=counted, **said)
        self.on_their_way += 1


class House:
    """A real house with one run under way."""

    def __init__(self, folder: Path, clock: Any) -> None:
        self.folder = folder
        self.clock = clock
        self.run_attempt = 0
        self.ledger = self._open()

    def _open(self) -> WatchedLedger:
        ledger = WatchedLedger.open(
            self.folder, registry=REGISTRY, projections=(RUN, ROUTE, CALL, PERMIT), clock=self.clock,
            ids=Ids(self.clock), build="test",
        )  # fmt: skip
        ledger.trouble = []
        return ledger

    def reopen(self) -> None:
        """Lay the pen down and take it again."""
        self.ledger.close()
        self.ledger = self._open()

    def say(self, *data: Any, run: str = RUN_NAME, path: str = "") -> Appended:
        """Append facts as they are."""
        entries = [self.ledger.draft(one, run=run, path=path) for one in data]
        return self.ledger.append_now(entries)

    def begin(self, run: str = RUN_NAME) -> None:
        """Accept the run, or interrupt it, and start its next attempt."""
        self.run_attempt += 1
        first = RunAccepted(task="t", args="") if self.run_attempt == 1 else RunInterrupted()
        self.say(first, RunStarted(attempt=self.run_attempt), run=run)

    def limit(self, scope: str, amount: int) -> None:
        """Set a budget."""
        self.say(BudgetSet(scope=scope, limit_micro_usd=amount), run="")

    def verdict(self) -> Verdict:
        """What a check of the whole house says, tables against a rebuild included."""
        return verify(self.folder, registry=REGISTRY, projections=(RUN, ROUTE, CALL, PERMIT))

    def row(self, path: str = "p") -> CallRow:
        """A call as it is on record."""
        with self.ledger.read() as reader:
            row = reader.get(CallRow, RUN_NAME, path)
        assert row is not None
        return row

    def budget(self, scope: str) -> BudgetRow:
        """A budget as it is on record."""
        with self.ledger.read() as reader:
            row = reader.get(BudgetRow, scope)
        assert row is not None
        return row

    def facts(self) -> list[Any]:
        """All facts about calls, in order."""
        with self.ledger.read() as reader:
            facts = [fact for _, fact in reader.facts(Seq(-1), 100_000)]
        return [fact for fact in facts if fact.kind.startswith(("Call", "Child"))]

    def kinds(self) -> list[str]:
        """The kinds of the facts about calls, in order."""
        return [fact.kind for fact in self.facts()]

    def waits(self) -> list[float]:
        """The waits before a next attempt that are on record, in seconds."""
        settled = [fact for fact in self.facts() if fact.kind == "CallSettled"]
        return [(x.data.retry_due - x.at) / SECOND for x in settled if not x.data.final]

    def request(self, world: World, **fields: Any) -> CallRequest:
        """A call of the current attempt of the run."""
        attempt = fields.pop("run_attempt", self.run_attempt)
        said: dict[str, Any] = {
            "run": RUN_NAME, "path": "p", "name": "post", "route": "shop:create",
            "repeat": "safe", "args_digest": "a", "body_digest": "b",
            "timeout": Micros(5 * SECOND), "deadline": Micros(60 * SECOND),
        }  # fmt: skip
        said |= fields
        return CallRequest(
            run_attempt=attempt, fence=fence(said["run"], attempt), perform=world.perform, **said
        )


def fence(run: str, attempt: int) -> Expect:
    """What the engine expects of every append of an attempt."""

    def current(row: Row | None) -> bool:
        return isinstance(row, RunRow) and row.attempt == attempt and row.state == "running"

    return Expect(row=RunRow, key=(run,), test=current, why="stale-attempt")


@dataclass
class Scene:
    """Everything of one test, inside its event loop."""

    house: House
    clock: ManualClock
    world: World
    ear: Ear
    door: Door
    rng: Random = field(default_factory=lambda: Random(0))
    lost: Any = None
    begun: list[Any] = field(default_factory=list)
    doors: list[Door] = field(default_factory=list)

    @staticmethod
    def fault(kind: str, **said: Any) -> Fault:
        """A provider's fault."""
        return Fault(kind, **said)

    @staticmethod
    def answer(value: bytes = b'"done"', **said: Any) -> Answer:
        """An answer with a bill."""
        return Answer(value=value, **said)

    def call(self, **fields: Any) -> "asyncio.Task[Told]":
        """Begin a call; await it for the verdict."""
        request = self.house.request(self.world, **fields)
        self.begun.append(asyncio.create_task(self.door.call(request, self.ear)))
        return self.begun[-1]

    async def end(self) -> None:
        """Let go of everything that hangs, and close the doors."""
        self.world.go_on.set()
        for task in self.begun:
            task.cancel()
        await asyncio.gather(*self.begun, return_exceptions=True)
        for door in (self.door, *self.doors):
            await door.close()

    def health(self) -> Any:
        """The route in the memory of the door."""
        return self.door.gate.health("shop:create", "http")

    def on_record(self) -> Any:
        """The route as the ledger has it."""
        with self.house.ledger.read() as reader:
            return health_of(reader, "shop:create")

    async def in_step(self) -> None:
        """What is in memory is what is on record."""
        await self.settle()
        said = self.on_record()
        mine = msgspec.structs.replace(self.health().row, probing=said.probing)
        assert said == mine

    async def calls(self, count: int, *, first: int = 0, **fields: Any) -> list[Any]:
        """So many calls one after the other, and what the engine is told of each."""
        said = {"timeout": None, "deadline": None, **fields}
        paths = [f"p{n}" for n in range(first, first + count)]
        return [await self.drive(self.call(path=path, **said)) for path in paths]

    async def open_route(self) -> None:
        """Three timeouts in a row."""
        self.world.script = ["hang"] * 3
        once = msgspec.structs.replace(PRESETS["http"].retry, rules={})
        await self.calls(3, first=900, retry=once)
        assert self.health().state == "open"

    def hang(self, policy: Any, **said: Any) -> None:
        """Hang a door whose routes have these numbers."""
        self.doors.append(self.door)
        self.door = Door(
            self.house.ledger, self.clock, self.rng, policies=lambda *_: policy, **said
        )

    def without_breaker(self) -> None:
        """Hang a door whose guard rests, for what must hold without it."""
        self.doors.append(self.door)
        self.door = Door(self.house.ledger, self.clock, self.rng, environment="off")

    def crash(self) -> None:
        """Go on as a new process would: nothing in memory, and the run's next attempt.

        What the old one had under way hangs for ever, as behind a SIGSTOP.
        """
        self.doors.append(self.door)
        self.door = Door(self.house.ledger, self.clock, Random(0))
        self.house.begin()
        self.world.started.clear()

    async def drive(self, *tasks: "asyncio.Task[Any]") -> Any:
        """Let time pass whenever nothing else can, until the tasks are done; the first's result."""
        while not all(task.done() for task in tasks):
            await self.settle()
            due = self.clock.next_due()
            if due is not None and not all(task.done() for task in tasks):
                self.clock.advance(due)
        return tasks[0].result()

    async def lose(self, **fields: Any) -> None:
        """Crash after the request has left and before any answer."""
        self.world.script.insert(0, "hang")
        self.lost = self.call(**fields)
        await self.world.started.wait()
        self.crash()

    async def settle(self) -> None:
        """Run what can run without time passing."""
        quiet = 0
        while quiet < 12:
            await asyncio.sleep(0)
            quiet = 0 if self.house.ledger.on_their_way else quiet + 1


Play = Callable[[Scene], Awaitable[None]]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house with one run under way."""
    made = House(tmp_path / "house", ManualClock())
    made.begin()
    yield made
    made.ledger.close()


@pytest.fixture
def play(request: pytest.FixtureRequest) -> Callable[..., Scene]:
    """Run a scene to its end, in the test's house or in a given one."""

    def run(scene: Play, house: House | None = None) -> Scene:
        at = house or request.getfixturevalue("house")

        async def main() -> Scene:
            # No jitter: a chance of a half is the middle of every swing.
            rng = Random(0)
            rng.random = lambda: 0.5
            stage = Scene(at, at.clock, World(), Ear(), Door(at.ledger, at.clock, rng), rng)
            try:
                await scene(stage)
            finally:
                await stage.end()
            return stage

        return asyncio.run(main())

    return run


@pytest.fixture
def house_at() -> Iterator[Callable[[Path], House]]:
    """Opens a house that is there already."""
    opened: list[House] = []

    def at(folder: Path) -> House:
        opened.append(House(folder, ManualClock()))
        return opened[-1]

    yield at
    for house in opened:
        house.ledger.close()


@pytest.fixture
def make_house() -> type[House]:
    """Makes further houses, for tests that need one for each example."""
    return House


@pytest.fixture
def provider_fault() -> type[Fault]:
    """Makes faults outside of a scene."""
    return Fault
