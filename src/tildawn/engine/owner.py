"""What an owner or a program asks of runs: enqueue, cancel, pause, resume, answer, retry, emit.

What it is not: driving runs.  Each of these is one append with an expectation, so that two
people who press at once get one effect and one honest answer.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from tildawn.engine.ending import PAUSED_CHOICES
from tildawn.engine.engine import Engine
from tildawn.engine.poison import args_key
from tildawn.engine.port import CALL_CHOICES, Settle
from tildawn.engine.task import TaskDef
from tildawn.engine.work import BUSY_WAIT
from tildawn.errors import Busy, Misused, NotPermitted, TildawnError, UnknownName
from tildawn.facts.fact import FactData, Payload
from tildawn.facts.run import (
    RunAccepted,
    RunAnswered,
    RunCancelAsked,
    RunFailed,
    RunHeld,
    RunTrashed,
)
from tildawn.facts.step import EventReceived
from tildawn.ids import Ids, RunId
from tildawn.ledger.entry import Committed, Entry, Outcome, Unmet
from tildawn.ledger.fold import Expect, Row
from tildawn.ledger.ledger import Ledger
from tildawn.projections.permit import PermitUseRow
from tildawn.projections.run import ENDED, RunKeyRow, RunRow
from tildawn.units import Micros, Seq


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is to be queued; texts are the user's and are kept as payloads."""

    key: str = ""
    label: str = ""
    #: Whom the run is about; only its keyed digest is kept.
    subject: str = ""
    queue: str = ""
    priority: int = 0
    #: Start no earlier (µs since 1970).
    due: Micros = Micros(0)
    limit_key: str = ""
    night: str = ""
    item: str = ""
    row: int = -1
    evidence_for: str = ""
    budgets: tuple[str, ...] = ()
    simulated: bool = False
    lane: str = "owner"
    #: Under which its calls are made, empty for the authority of the owner.
    permit: str = ""
    config: Mapping[str, str | int | bool] | None = None


class Accepted(msgspec.Struct, frozen=True):
    """A run is on disk; ``fresh`` is False when its key had been accepted before."""

    run: RunId
    fresh: bool


def accept(
    ledger: Ledger, ids: Ids, task: TaskDef[..., Any], text: bytes, options: Options
) -> Entry:
    """The fact that accepts a run.

    Args:
        ledger: drafts the fact and salts its payloads.
        ids: names the run.
        task: what will run.
        text: its arguments as JSON.
        options: how it is queued.

    Returns:
        The entry; its fact names the run.

    Raises:
        Nothing.
    """
    args = ledger.payload(text)
    label = _text(ledger, options.label)
    config = ledger.payload(msgspec.json.encode(options.config)) if options.config else None
    run = ids.new()
    budgets = options.budgets
    data = RunAccepted(
        task=task.name,
        args=args.digest,
        queue=options.queue or task.queue,
        priority=options.priority,
        due=options.due,
        key=ledger.keyed(f"key {options.key}") if options.key else "",
        group=ledger.keyed(f"limit {options.limit_key}") if options.limit_key else "",
        night=options.night,
        item=options.item,
        row=options.row,
        label=label.digest if label else "",
        subject=subject_digest(ledger, options.subject) if options.subject else "",
        evidence_for=options.evidence_for,
        budgets=tuple(scope.replace("{run}", run) for scope in budgets),
        config=config.digest if config else "",
        fingerprint=task.fingerprint,
        simulated=options.simulated,
        lane=options.lane,
        permit=options.permit,
        args_key=args_key(ledger, task.name, text),
    )
    return ledger.draft(data, run=run, payloads=(args, label, config))


def subject_digest(ledger: Ledger, subject: str) -> str:
    """What a fact holds of a subject.

    Raises:
        Nothing.
    """
    return ledger.keyed(f"subject {subject}")


class Owner:
    """Operations on the runs of an engine."""

    def __init__(self, engine: Engine, ids: Ids, *, settle: Settle | None = None) -> None:
        """Take what is needed.

        Args:
            engine: is woken.
            ids: names runs.
            settle: the guard's word for the owner's; without it no call can be settled here.
        """
        self._settle_call = settle
        self._engine = engine
        self._ledger = engine.ledger
        self._ids = ids

    async def enqueue(
        self, task: TaskDef[..., Any], *args: Any, options: Options | None = None, **kwargs: Any
    ) -> Accepted:
        """Accept a run; it is on disk when this returns.

        Raises:
            BadValue: an argument cannot be recorded.
            Busy: too many runs wait already; nothing was accepted.
        """
        return await self.enqueue_json(
            task, task.arguments.encode(args, kwargs), options or Options()
        )

    async def enqueue_json(
        self, task: TaskDef[..., Any], text: bytes, options: Options
    ) -> Accepted:
        """As `enqueue`, with the arguments as a JSON object.

        Raises:
            BadValue: the arguments do not fit the task.
            Busy: too many runs wait already; nothing was accepted.
        """
        task.arguments.decode(text)
        self._check_backlog()
        if task.limit_key is not None and not options.limit_key:
            named = task.arguments.decode(text)
            options = msgspec.structs.replace(options, limit_key=task.limit_key(**named))
        entry = accept(self._ledger, self._ids, task, text, options)
        expect = [_stands(options.permit)] if options.permit else []
        answer = await self._ledger.append([entry], expect=expect)
        if isinstance(answer, Unmet) and answer.why == "permit":
            message = f"permit {options.permit} is revoked, or not on record"
            raise NotPermitted(message, hint="tildawn permit list", reason="revoked")
        if isinstance(answer, Unmet):
            # The expectation that failed is the uniqueness of the key, so this is its run.
            known = cast("RunKeyRow", answer.row)
            return Accepted(RunId(known.run), fresh=False)
        self._engine.add_waiting(options.queue or task.queue)
        return Accepted(RunId(entry.fact.run), fresh=True)

    def _check_backlog(self) -> None:
        if self._engine.backlog() >= self._engine.limits.backlog:
            message = f"{self._engine.limits.backlog:,} runs wait already; nothing was accepted"
            raise Busy(message, hint="wait until some have run, or raise engine.backlog")

    # -- one append each -----------------------------------------------------------------

    async def cancel(self, run: str, reason: str = "") -> bool:
        """Ask a run to stop; False when it has ended already.

        A run that is in memory is told on its own loop; one that waits elsewhere ends at once.

        Raises:
            UnknownName: no run has that name.
        """
        row = self._row(run)
        if row.state in ENDED:
            return False
        payload = _text(self._ledger, reason)
        asked = self._ledger.draft(
            RunCancelAsked(reason=payload.digest if payload else ""), run=run, payloads=(payload,)
        )
        entries = [asked]
        never_ran = row.attempt == 0 or row.state in {"held", "scheduled"}
        if never_ran:
            entries += self._engine.endings.cancelled(row)
        expect = _state(run, {row.state}) if never_ran else _not_ended(run)
        if not await self._append(entries, expect):
            return await self.cancel(run, reason)
        if not never_ran:
            await self._cancel_children(run)
        return True

    async def _cancel_children(self, run: str) -> None:
        with self._ledger.read() as reader:
            children = reader.rows(
                RunRow,
                "parent = ? AND parent <> '' AND state NOT IN ('done','failed','cancelled')",
                (run,),
            )
        for child in children:
            await self.cancel(child.run, "its parent was cancelled")

    async def pause(self, run: str, reason: str = "paused by its owner") -> bool:
        """Hold a run until `resume`; False when it has ended or is held already.

        Raises:
            UnknownName: no run has that name.
        """
        row = self._row(run)
        if row.state in ENDED or row.state == "held":
            return False
        entries = self._engine.endings.held(row, "paused", reason, PAUSED_CHOICES)
        done = await self._append(entries, _not_ended(run))
        if done:
            self._engine.evict(run)
        return done

    async def resume(self, run: str) -> bool:
        """Let a paused run go on; False when it is not paused.

        Raises:
            UnknownName: no run has that name.
        """
        row = self._row(run)
        if row.state != "held" or row.why != "paused":
            return False
        return await self.answer(run, "resume")

    async def retry(self, run: str) -> bool:
        """Let a failed or held run try again; False when it is neither.

        Raises:
            UnknownName: no run has that name.
        """
        row = self._row(run)
        if row.state == "failed":
            fact = self._last(run, RunFailed)
            void = fact.void if isinstance(fact, RunFailed) else -1
            return await self._settle(row, RunAnswered(choice="retry", void=void))
        if row.state == "held" and "retry" in row.choices.split("\n"):
            return await self.answer(run, "retry")
        return False

    async def answer(self, run: str, choice: str, value: bytes | None = None) -> bool:
        """Settle a held run; False when somebody else did already.

        Args:
            run: the run.
            choice: one of the choices that it was held with.
            value: JSON of the answer of a call whose effect is said to be applied.

        Raises:
            UnknownName: no run has that name.
            Misused: the run is not held, does not offer that choice, or its call cannot be
                settled so.
        """
        row = self._row(run)
        choices = row.choices.split("\n")
        if row.state != "held" or choice not in choices:
            offered = " | ".join(choices) if row.state == "held" else f"it is {row.state}"
            message = f"run {run} cannot be answered with {choice!r}: {offered}"
            raise Misused(
                message, hint=f"tildawn answer {run} {choices[0]}" if row.choices else None
            )
        held = self._last(run, RunHeld)
        void = held.void if isinstance(held, RunHeld) else -1
        if choice in CALL_CHOICES and row.call_path:
            return await self._resolve(row, choice, value)
        return await self._settle(row, _ANSWERS.get(choice, _again)(choice, void))

    async def _resolve(self, row: RunRow, choice: str, value: bytes | None) -> bool:
        """One append: what the owner said of the call, and that the run goes on with it."""
        if self._settle_call is None:
            message = f"run {row.run} is held for a call, and no guard is here to settle it"
            raise Misused(message)
        word = self._settle_call(row, choice, value)
        answered = self._ledger.draft(RunAnswered(choice=choice), run=row.run, actor="owner")
        return await self._append(
            [*word.entries, answered], _state(row.run, {"held"}), *word.expect
        )

    async def _settle(self, row: RunRow, data: RunAnswered) -> bool:
        entries = [self._ledger.draft(data, run=row.run)]
        if data.then in ENDED:
            entries += self._engine.endings.told_parent(row, data.then)
        return await self._append(entries, _state(row.run, {row.state}))

    async def trash(self, run: str) -> bool:
        """Put an ended run away; False when it has not ended.

        Raises:
            UnknownName: no run has that name.
        """
        row = self._row(run)
        if row.state not in ENDED:
            return False
        return await self._append(
            [self._ledger.draft(RunTrashed(), run=run)], _state(run, {row.state})
        )

    async def emit(self, run: str, name: str, value: Any = None, *, event: str = "") -> bool:
        """Send an event to a run; False when the run has ended.

        Args:
            run: the run.
            name: what the run waits for.
            value: plain JSON.
            event: a name for this event, so that sending it twice is harmless.

        Raises:
            UnknownName: no run has that name.
            BadValue: the value has no JSON form.
        """
        self._row(run)
        payload = self._ledger.payload(msgspec.json.encode(value))
        data = EventReceived(name=name, value=payload.digest, event=event)
        entry = self._ledger.draft(data, run=run, payloads=(payload,))
        return await self._append([entry], _not_ended(run))

    # -- shared --------------------------------------------------------------------------

    async def _append(self, entries: list[Entry], *expect: Expect) -> bool:
        """Append, and tell the runs concerned; False when an expectation did not hold."""
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            # Told here and not by whoever awaits: a run hears its records in ledger order.
            if isinstance(outcome, Committed):
                for offset, entry in enumerate(entries):
                    self._engine.heard(Seq(outcome.first + offset), entry)
            if not answered.done():
                answered.set_result(outcome)

        while True:
            try:
                self._ledger.submit(entries, expect=expect, done=done)
                break
            except Busy:
                await self._engine.clock.sleep(BUSY_WAIT)
        outcome = await answered
        if isinstance(outcome, TildawnError):
            raise outcome
        self._engine.wake()
        return isinstance(outcome, Committed)

    def _row(self, run: str) -> RunRow:
        with self._ledger.read() as reader:
            row = reader.get(RunRow, run)
        if row is None:
            message = f"no run is called {run}"
            raise UnknownName(message, hint="tildawn runs")
        return row

    def _last(self, run: str, kind: type[FactData]) -> FactData | None:
        with self._ledger.read() as reader:
            found = [fact.data for _seq, fact in reader.history(run) if isinstance(fact.data, kind)]
        return found[-1] if found else None


def _again(choice: str, void: int) -> RunAnswered:
    return RunAnswered(choice=choice, void=void)


_ANSWERS: Mapping[str, Callable[[str, int], RunAnswered]] = {
    "resume": lambda choice, _void: RunAnswered(choice=choice),
    "restart": lambda choice, _void: RunAnswered(choice=choice, anew=True),
    "cancel": lambda choice, _void: RunAnswered(choice=choice, then="cancelled"),
    "abandon": lambda choice, _void: RunAnswered(choice=choice, then="cancelled"),
    "fail": lambda choice, _void: RunAnswered(choice=choice, then="failed"),
}


def _text(ledger: Ledger, text: str) -> Payload | None:
    return ledger.payload(msgspec.json.encode(text)) if text else None


def _stands(permit: str) -> Expect:
    def test(row: Row | None) -> bool:
        return isinstance(row, PermitUseRow) and row.revoked < 0

    return Expect(row=PermitUseRow, key=(permit,), test=test, why="permit")


def _state(run: str, states: set[str]) -> Expect:
    def test(row: Row | None) -> bool:
        return isinstance(row, RunRow) and row.state in states

    return Expect(row=RunRow, key=(run,), test=test, why="state")


def _not_ended(run: str) -> Expect:
    def test(row: Row | None) -> bool:
        return isinstance(row, RunRow) and row.state not in ENDED

    return Expect(row=RunRow, key=(run,), test=test, why="ended")
