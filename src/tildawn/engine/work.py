"""Doing what a run asked for: steps, timers, calls, children, artifacts.

What it is not: deciding what comes next.  Each result becomes a record first; the run hears of
it when the record is committed, in ledger order.
"""

import asyncio
import hashlib
import itertools
import traceback
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Protocol, cast

from tildawn.clock import Clock
from tildawn.engine.driver import Command, Driver
from tildawn.engine.history import Record, record_of
from tildawn.engine.outcome import error_text
from tildawn.engine.poison import args_key
from tildawn.engine.port import Ended, Hold, Later, Perform, Stale, Ticket
from tildawn.engine.pressure import Pressure
from tildawn.engine.task import StepDef, TaskDef
from tildawn.engine.timer import Timers
from tildawn.errors import Busy, SecretFound, TildawnError
from tildawn.facts.fact import Fact, FactData, Payload
from tildawn.facts.run import RunAccepted, RunCancelAsked
from tildawn.facts.step import ArtifactKept, ChangeMarked, StepFailed, StepRecorded, TimerFired
from tildawn.ids import RunId
from tildawn.ledger.entry import Committed, Entry, Outcome, Unmet
from tildawn.ledger.fold import Expect, Row
from tildawn.ledger.ledger import Ledger
from tildawn.projections.run import ENDED, RunRow
from tildawn.units import MILLISECOND, Micros, Seq


BUSY_WAIT = Micros(5 * MILLISECOND)
"""How long to wait when the ledger's queue is full: about one group commit."""


def fence_of(run: str, attempt: int) -> Expect:
    """What every append of an attempt expects: that it is still the one that runs.

    Raises:
        Nothing.
    """

    def current(row: Row | None) -> bool:
        return (
            isinstance(row, RunRow)
            and row.attempt == attempt
            and row.state in {"running", "waiting"}
        )

    return Expect(row=RunRow, key=(run,), test=current, why="stale-attempt")


def unmoved(row: RunRow) -> Expect:
    """What an append expects that rests on a run as it was read: it has not moved since.

    Raises:
        Nothing.
    """

    def same(now: Row | None) -> bool:
        return isinstance(now, RunRow) and now.state == row.state and now.attempt == row.attempt

    return Expect(row=RunRow, key=(row.run,), test=same, why="moved")


def going(run: str) -> Expect:
    """What an append expects that interrupts a run: it is going on, in memory.

    Raises:
        Nothing.
    """

    def resident(row: Row | None) -> bool:
        return isinstance(row, RunRow) and row.state in {"running", "waiting"} and not row.parked

    return Expect(row=RunRow, key=(run,), test=resident, why="not-going")


@dataclass(frozen=True)
class Means:
    """What every attempt works with: the ledger, time, and where code runs."""

    ledger: Ledger
    clock: Clock
    timers: Timers
    host: asyncio.AbstractEventLoop
    #: Threads for steps that are plain functions.
    pool: Executor


class Work:
    """The live side of one attempt of one run."""

    def __init__(self, row: RunRow, means: Means, events: "WorkEvents") -> None:
        """Take the run as it was when this attempt began."""
        self.row = row
        self.ledger = means.ledger
        self.fence = fence_of(row.run, row.attempt)
        self._clock = means.clock
        self._timers = means.timers
        self._host = means.host
        self._pool = means.pool
        self._events = events
        self._tasks: set[asyncio.Task[None]] = set()
        #: JSON of the settings pinned at acceptance.
        self.config: bytes | None = None
        self.driver: Driver = cast("Driver", None)

    # -- appending -----------------------------------------------------------------------

    def draft(
        self,
        data: FactData,
        path: str,
        payloads: Sequence[Payload | None] = (),
        blobs: Sequence[str] = (),
    ) -> Entry:
        """A fact of this run."""
        return self.ledger.draft(data, run=self.row.run, path=path, payloads=payloads, blobs=blobs)

    def record(self, entries: Sequence[Entry], expect: Sequence[Expect] = ()) -> None:
        """Append facts of this attempt; their records go to the driver when committed."""

        def done(outcome: Outcome) -> None:
            if isinstance(outcome, Committed):
                self._deliver(outcome.first, entries)
            elif isinstance(outcome, Unmet):
                self._events.fenced_off(self, outcome)

        self._submit(entries, (self.fence, *expect), done)

    def _deliver(self, first: Seq, entries: Sequence[Entry]) -> None:
        for offset, entry in enumerate(entries):
            if entry.fact.run == self.row.run:
                record = record_from(Seq(first + offset), entry)
                if record is not None:
                    self.driver.arrive(record)

    def _submit(
        self,
        entries: Sequence[Entry],
        expect: Sequence[Expect],
        done: Callable[[Outcome], None],
    ) -> None:
        try:
            self.ledger.submit(entries, expect=expect, done=done)
        except Busy:
            # Back-pressure: nothing was taken, so trying again later is harmless.
            self._spawn(self._submit_later(entries, expect, done))

    async def _submit_later(
        self,
        entries: Sequence[Entry],
        expect: Sequence[Expect],
        done: Callable[[Outcome], None],
    ) -> None:
        while True:
            await self._clock.sleep(BUSY_WAIT)
            try:
                self.ledger.submit(entries, expect=expect, done=done)
            except Busy:
                continue
            return

    def _spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = self._host.create_task(cast("Any", work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def stop(self) -> None:
        """Cancel what is under way on the host loop."""
        for task in list(self._tasks):
            task.cancel()

    # -- steps ---------------------------------------------------------------------------

    def start_step(
        self,
        command: Command,
        step: StepDef,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        digest: str,
    ) -> None:
        """Run a step's function; its result becomes a record."""
        task = self._host.create_task(self._step(command, step, args, kwargs, digest))
        self._tasks.add(task)
        command.stop = task.cancel

    async def _step(
        self,
        command: Command,
        step: StepDef,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        digest: str,
    ) -> None:
        try:
            if step.is_async:
                value = await step.function(*args, **kwargs)
            else:
                value = await self._host.run_in_executor(
                    self._pool, lambda: copy_context().run(step.function, *args, **kwargs)
                )
            text = step.result.encode(value)
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001  a step is the author's code; any error is its result
            self._step_failed(command, digest, error)
            return
        finally:
            # Instead of a callback, which costs every step a turn of the host loop.
            self._tasks.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        payload = self.ledger.payload(text)
        data = StepRecorded(args=digest, out=payload.digest)
        try:
            entry = self.draft(data, command.path, (payload,))
        except SecretFound as error:
            # It ran, and it is not tried again: what it did would bring the secret once more.
            self._step_failed(command, digest, error)
            return
        self.record([entry])

    def _step_failed(self, command: Command, digest: str, error: BaseException) -> None:
        trace = "".join(traceback.format_exception(error))
        payload = self.ledger.payload(error_text(error, traceback=trace), clean=True)
        self.record(
            [self.draft(StepFailed(args=digest, error=payload.digest), command.path, (payload,))]
        )

    # -- timers --------------------------------------------------------------------------

    def start_timer(self, command: Command) -> None:
        """Fire the timer when it is due; at once when that time has passed."""
        command.stop = self._timers.add(Micros(command.due), lambda: self._fire(command))

    def _fire(self, command: Command) -> None:
        self.record([self.draft(TimerFired(due=command.due), command.path)])

    # -- calls ---------------------------------------------------------------------------

    def start_call(self, command: Command, perform: Perform) -> None:
        """Make a call through the guard."""
        command.kind = "call"
        command.due = 0
        task = self._spawn(self._call(command, perform))
        command.stop = task.cancel

    async def _call(self, command: Command, perform: Perform) -> None:
        ticket = Ticket(
            run=RunId(self.row.run),
            path=command.path,
            attempt=self.row.attempt,
            fence=self.fence,
            budgets=tuple(filter(None, self.row.budgets.split("\n"))),
            simulated=bool(self.row.simulated),
            permit=self.row.permit,
        )

        def final(seq: Seq, fact: Fact, text: bytes | None) -> None:
            self.driver.arrive(Record(seq, fact, text))

        try:
            verdict = await perform(ticket, final)
        except TildawnError as error:
            self._events.broken(self, error)
            return
        match verdict:
            case Later(due=due, why=why, shared=shared):
                if shared:
                    self._events.pressure.turned_away(self.row, due)
                self._postpone(command, perform, due, why)
            case Hold() as hold:
                self._events.hold(self, hold, command.path)
            case Stale():
                self._events.fenced_off(self, None)
            case Ended():
                self._events.pressure.let_in(self.row)

    def _postpone(self, command: Command, perform: Perform, due: Micros, why: str) -> None:
        command.kind = "later"
        command.name = f"{command.name.partition(' (')[0]} ({why})"
        command.due = due
        command.stop = self._timers.add(due, lambda: self.start_call(command, perform))
        self._events.waiting(self)

    # -- children ------------------------------------------------------------------------

    def start_child(self, command: Command, task: TaskDef[..., Any], text: bytes) -> None:
        """Accept the child run; one that was accepted before is waited for."""
        child = self._child_of(command.path)
        payload = self.ledger.payload(text)
        data = RunAccepted(
            task=task.name,
            args=payload.digest,
            queue=task.queue,
            parent=self.row.run,
            parent_path=command.path,
            night=self.row.night,
            item=self.row.item,
            row=self.row.row,
            budgets=tuple(filter(None, self.row.budgets.split("\n"))),
            simulated=bool(self.row.simulated),
            permit=self.row.permit,
            lane=self.row.lane,
            priority=self.row.priority,
            fingerprint=task.fingerprint,
            args_key=args_key(self.ledger, task.name, text),
        )
        try:
            entry = self.ledger.draft(data, run=child, payloads=(payload,))
        except SecretFound as error:
            # Not at once: the run is in the middle of asking.
            self._host.call_soon(self._events.broken, self, error)
            return
        command.stop = lambda: self._cancel_child(child)

        def done(outcome: Outcome) -> None:
            if isinstance(outcome, Committed):
                self._events.accepted(task.queue)

        self._submit([entry], (self.fence,), done)

    def _child_of(self, path: str) -> RunId:
        """The child that stands at a place: a new one where an earlier one came to nothing."""
        with self.ledger.read() as reader:
            for turn in itertools.count():
                place = f"{self.row.run} {path} {turn}".encode()
                name = hashlib.sha256(place).hexdigest()[:32]
                row = reader.get(RunRow, name)
                if row is None or (row.parent and row.state not in {"failed", "cancelled"}):
                    return RunId(name)
        raise AssertionError

    def _cancel_child(self, child: RunId) -> None:
        if self.driver.evicting:
            return  # The parent only leaves memory; its child goes on.

        def going(row: Row | None) -> bool:
            return isinstance(row, RunRow) and row.state not in ENDED

        expect = Expect(row=RunRow, key=(child,), test=going, why="ended")
        entry = self.ledger.draft(RunCancelAsked(detached=True), run=child)
        self._submit(
            [entry], (expect,), lambda outcome: self._events.cancel_asked(child, entry, outcome)
        )

    # -- artifacts and markers -----------------------------------------------------------

    def start_artifact(self, command: Command, content: bytes, media: str, digest: str) -> None:
        """Keep the bytes as a blob, then record it."""
        task = self._spawn(self._artifact(command, content, media, digest))
        command.stop = task.cancel

    async def _artifact(self, command: Command, content: bytes, media: str, digest: str) -> None:
        try:
            blob = await self._host.run_in_executor(self._pool, self.ledger.blobs.put, content)
        except (OSError, TildawnError) as error:
            self._step_failed(command, digest, error)
            return
        name = self.ledger.payload(b'"' + command.name.encode() + b'"')
        data = ArtifactKept(
            args=digest, blob=blob, size_bytes=len(content), media=media, name=name.digest
        )
        self.record([self.draft(data, command.path, (name,), (blob,))])

    def start_mark(self, command: Command, version: int) -> None:
        """Record the side of a change that this run takes."""
        self.record([self.draft(ChangeMarked(version=version), command.path)])


class WorkEvents(Protocol):
    """What the engine is told by the live side of a run."""

    #: Told of calls that are turned away, and of those that end.
    pressure: Pressure

    def fenced_off(self, work: Work, unmet: Unmet | None) -> None:
        """A newer attempt has taken over."""
        ...

    def hold(self, work: Work, hold: Hold, path: str) -> None:
        """A call needs its owner."""
        ...

    def broken(self, work: Work, error: TildawnError) -> None:
        """A call could not even be recorded."""
        ...

    def waiting(self, work: Work) -> None:
        """A call was postponed; the run may be waiting now."""
        ...

    def accepted(self, queue: str) -> None:
        """A child was accepted."""
        ...

    def cancel_asked(self, run: str, entry: Entry, outcome: Outcome) -> None:
        """A child was asked to stop."""
        ...


def record_from(seq: Seq, entry: Entry) -> Record | None:
    """The record that a committed entry is to its run, or None.

    Raises:
        Nothing.
    """

    def text(_seq: Seq, slot: int) -> bytes | None:
        payload = entry.payloads[slot] if slot < len(entry.payloads) else None
        return payload.text if payload is not None else None

    return record_of(seq, entry.fact, text)
