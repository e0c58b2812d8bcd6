"""Replaying a stored history against the code, to see whether they still agree.

What it is not: a run.  Steps and calls are not done, nothing is appended, no time passes.

Told in ledger order, the code must ask for what is on record: anything else is a mismatch, and
a run with that history would be held.  Told in another order that could have been, code that
asks for something else is order-sensitive.  That is legal, because a replay keeps the order of
the ledger; it is worth a look, because two runs of it with the same answers can differ.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, cast

import msgspec

from tildawn.engine.activity import Activity
from tildawn.engine.asking import Asking, Doing
from tildawn.engine.driver import Command, Driver, Frame
from tildawn.engine.history import History, Record, config_of
from tildawn.engine.task import TaskDef
from tildawn.errors import UnknownName
from tildawn.facts.call import CallRefused, CallServed, CallSettled
from tildawn.facts.fact import Fact
from tildawn.facts.run import RunDone
from tildawn.facts.step import ArtifactKept, ChildEnded, StepFailed, StepRecorded
from tildawn.ledger.ledger import Ledger
from tildawn.projections.run import RunRow
from tildawn.units import Seq


MakeContext = Callable[[Asking], object]

SWAPPED = (
    StepRecorded,
    StepFailed,
    ArtifactKept,
    CallSettled,
    CallRefused,
    CallServed,
    ChildEnded,
)
"""Records whose order is the world's; timers, events and cancellations stay where they are,
so that a timeout is not told of before what it did not wait for."""


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """What replaying a run said."""

    run: str
    #: How the code differs from the record, empty where they agree.
    mismatch: str
    #: Orders that the code is sensitive to, each once.
    warnings: tuple[str, ...]
    #: How many orders were tried beside the recorded one.
    shuffles: int

    @property
    def agrees(self) -> bool:
        """Whether the run could go on with this code."""
        return not self.mismatch


class _Stored(msgspec.Struct, frozen=True):
    """A run as it is on record: since its history began."""

    row: RunRow
    facts: list[tuple[Seq, Fact]]
    texts: dict[tuple[Seq, int], bytes]
    args: bytes
    config: bytes | None
    #: JSON of the result, None where there is none yet.
    out: bytes | None

    def text(self, seq: Seq, slot: int) -> bytes:
        return self.texts[seq, slot]


def replay_check(
    ledger: Ledger,
    run: str,
    task: TaskDef[..., Any],
    *,
    context: MakeContext,
    shuffles: int = 20,
    seed: int = 0,
) -> ReplayReport:
    """Replay the history of a run: as it was, then in orders that it could have had.

    Args:
        ledger: open, for reading is enough.
        run: its name.
        task: the code to check.
        context: makes what the task gets.
        shuffles: how many other orders to try, >= 0.
        seed: of their choice.

    Returns:
        What differs; nothing was appended.

    Raises:
        UnknownName: no run has that name.
        PayloadErased: a value of the run was erased, so it cannot be replayed any more.
        BadValue: the recorded arguments do not fit the task.
    """
    stored = _stored(ledger, run)
    plain = History(stored.facts, stored.text)
    mismatch = _replayed(ledger, stored, task, plain, context)
    warnings: dict[str, None] = {}
    if not mismatch:
        for number in range(shuffles):
            shuffled = _Shuffled(stored, random.Random(f"{seed} {number}"))  # noqa: S311  replayable
            difference = _replayed(ledger, stored, task, shuffled, context)
            if difference:
                warnings[f"order-sensitive code: with {shuffled.swap}, {difference}"] = None
    return ReplayReport(run=run, mismatch=mismatch, warnings=tuple(warnings), shuffles=shuffles)


def _stored(ledger: Ledger, run: str) -> _Stored:
    with ledger.read() as reader:
        row = reader.get(RunRow, run)
        if row is None:
            message = f"no run is called {run}"
            raise UnknownName(message, hint="tildawn runs")
        history = reader.history(run)
        facts = [one for one in history if one[0] >= row.since]
        texts: dict[tuple[Seq, int], bytes] = {}

        def read(seq: Seq, slot: int) -> bytes:
            text = texts[seq, slot] = reader.payload(seq, slot)
            return text

        History(facts, read)
        done = [seq for seq, fact in facts if isinstance(fact.data, RunDone)]
        return _Stored(
            row=row,
            facts=facts,
            texts=texts,
            args=reader.payload(Seq(row.args_at), 0),
            config=config_of(history, reader.payload),
            out=reader.payload(done[-1], 0) if done else None,
        )


def _replayed(
    ledger: Ledger,
    stored: _Stored,
    task: TaskDef[..., Any],
    history: History,
    context: MakeContext,
) -> str:
    """Replay once; how the code differs, or an empty text."""
    row = stored.row
    driver = Driver(
        row.run,
        history,
        attempt=row.attempt,
        generation=row.generation,
        surroundings=_Nobody(),
        frame=Frame(nullcontext, Activity()),
    )
    arguments = task.arguments.decode(stored.args)
    made = context(Asking(driver, _Undone(ledger, stored)))

    async def main() -> object:
        return await task.start(made, arguments)

    try:
        driver.begin(main())
        return _difference(driver, stored, task)
    finally:
        driver.leave()


def _difference(driver: Driver, stored: _Stored, task: TaskDef[..., Any]) -> str:
    failure = driver.blocked or driver.mismatch
    if failure is not None:
        return str(failure)
    if stored.out is None:
        return ""
    main = cast("asyncio.Task[Any]", driver.main)
    if not main.done():
        asked = ", ".join(sorted(driver.open)) or "nothing"
        return f"the recorded run has ended, the code asks for {asked}"
    try:
        out = task.result.encode(main.result())
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  whatever the task raised
        return f"the recorded run has a result, the code raises {type(error).__name__}: {error}"
    return "" if out == stored.out else "the code returns another result than is on record"


class _Shuffled(History):
    """A history told in an order that it could have had."""

    def __init__(self, stored: _Stored, rng: random.Random) -> None:
        super().__init__(stored.facts, stored.text)
        self._rng = rng
        #: The first record that was told before its turn.
        self.swap = "the recorded order"
        self._swapped = False

    def take_loose(self, asked: Callable[[Record], bool]) -> Record | None:
        loose = super().take_loose(asked)
        if loose is not None:
            return loose
        pending: list[Record] = []
        for entry in self._binding:
            if not isinstance(entry, Record) or not isinstance(entry.fact.data, SWAPPED):
                break
            if asked(entry):
                pending.append(entry)
        if not pending:
            return None
        chosen = self._rng.choice(pending)
        if chosen is not self._binding[0] and not self._swapped:
            self._swapped = True
            self.swap = f"{chosen.path} told before {pending[0].path}"
        self._binding.remove(chosen)
        return chosen


class _Nobody:
    """Surroundings of a driver that only replays."""

    def ended(self, driver: Driver) -> None:
        pass

    def idle(self, driver: Driver) -> None:
        pass

    def start_timer(self, driver: Driver, command: Command) -> None:
        pass


class _Undone(Doing):
    """The live side of a run of which nothing is done: what is asked for stays open."""

    def __init__(self, ledger: Ledger, stored: _Stored) -> None:
        self.ledger = ledger
        self.row = stored.row
        self.config = stored.config

    def start_step(self, command: Command, *_: object, **__: object) -> None:
        pass

    def start_call(self, command: Command, *_: object, **__: object) -> None:
        pass

    def start_child(self, command: Command, *_: object, **__: object) -> None:
        pass

    def start_artifact(self, command: Command, *_: object, **__: object) -> None:
        pass

    def start_mark(self, command: Command, *_: object, **__: object) -> None:
        pass
