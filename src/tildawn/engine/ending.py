"""How an attempt ends: which fact follows from what the task did.

What it is not: appending.  Pure but for the salts of payloads.
"""

import asyncio
import traceback
from typing import Any, cast

import msgspec

from tildawn.engine.asking import Repeat
from tildawn.engine.driver import Driver
from tildawn.engine.outcome import error_text, origin, retryable
from tildawn.engine.port import Hold
from tildawn.engine.task import TaskDef
from tildawn.errors import BadValue, LoopBlocked, SecretFound, TildawnError
from tildawn.facts.fact import FactData, Payload
from tildawn.facts.run import RunCancelled, RunDone, RunFailed, RunHeld, RunRepeated, RunRetried
from tildawn.facts.step import ChildEnded
from tildawn.ledger.entry import Entry
from tildawn.ledger.ledger import Ledger
from tildawn.projections.run import RunRow
from tildawn.units import Micros


FAILED_CHOICES = ("retry", "cancel", "fail")
MISMATCH_CHOICES = ("fork", "restart", "abandon")
QUARANTINE_CHOICES = ("retry", "cancel")
UNKNOWN_CHOICES = ("retry", "cancel")
ERASED_CHOICES = ("cancel", "fail")
TWICE_CHOICES = ("restart", "abandon")
PAUSED_CHOICES = ("resume", "cancel")
IGNORED_CHOICES = ("cancel", "resume", "fail")


class Endings:
    """Makes the facts that end an attempt."""

    def __init__(self, ledger: Ledger) -> None:
        """Take the ledger that drafts facts."""
        self._ledger = ledger

    def of(self, driver: Driver, row: RunRow, task: TaskDef[..., Any], now: Micros) -> list[Entry]:
        """What follows from the end of the main branch or from what ended it before."""
        if driver.detached:
            row = msgspec.structs.replace(row, parent="", parent_path="")
        if driver.blocked is not None:
            said = f"task {task.name} kept the event loop to itself: {driver.blocked}"
            error = LoopBlocked(said, hint=driver.blocked.hint, task=task.name)
            return self.failed(row, task, error, now)
        if driver.mismatch is not None:
            difference, void = str(driver.mismatch), driver.mismatch_seq
            # Without a record to go back to, a fork would only meet the same difference again.
            choices = MISMATCH_CHOICES if void >= 0 else MISMATCH_CHOICES[1:]
            return self.held(row, "replay-mismatch", difference, choices, void=void)
        return self._of_main(driver, row, task, now)

    def _of_main(
        self, driver: Driver, row: RunRow, task: TaskDef[..., Any], now: Micros
    ) -> list[Entry]:
        main = cast("asyncio.Task[Any]", driver.main)
        error = asyncio.CancelledError() if main.cancelled() else main.exception()
        try:
            if error is None:
                return self._done(row, task.result.encode(main.result()))
            if isinstance(error, Repeat):
                again = task.arguments.encode(error.args_again, error.kwargs_again)
                return self._repeated(row, again)
        except (BadValue, SecretFound) as bad:
            error = bad
        if isinstance(error, asyncio.CancelledError) and driver.cancel_seen:
            return self.cancelled(row)
        return self.failed(row, task, error, now)

    def _done(self, row: RunRow, text: bytes) -> list[Entry]:
        out = self._ledger.payload(text)
        return self._entries(row, RunDone(out=out.digest), (out,), "done", text)

    def _repeated(self, row: RunRow, text: bytes) -> list[Entry]:
        args = self._ledger.payload(text)
        data = RunRepeated(args=args.digest, generation=row.generation + 1)
        return [self._ledger.draft(data, run=row.run, payloads=(args,))]

    def failed(
        self, row: RunRow, task: TaskDef[..., Any], error: BaseException, now: Micros
    ) -> list[Entry]:
        """What follows from an error: another attempt, a question to the owner, or the end."""
        text = error_text(error, traceback="".join(traceback.format_exception(error)))
        payload = self._ledger.payload(text, clean=True)
        void, kind = origin(error), _kind(error)
        if not retryable(error):
            data = RunFailed(error=payload.digest, kind=kind, void=void)
            return self._entries(row, data, (payload,), "failed", text)
        failures = row.failures + 1
        if failures >= task.retry.attempts:
            why = f"failed-{failures}-times"
            held = RunHeld(
                why=why, detail=payload.digest, choices=FAILED_CHOICES, void=void, kind=kind
            )
            return [self._ledger.draft(held, run=row.run, payloads=(payload,))]
        due = Micros(now + task.retry.wait(failures))
        data = RunRetried(due=due, failures=failures, error=payload.digest, void=void)
        return [self._ledger.draft(data, run=row.run, payloads=(payload,))]

    def held(
        self,
        row: RunRow,
        why: str,
        detail: str,
        choices: tuple[str, ...],
        *,
        void: int = -1,
        call_path: str = "",
    ) -> list[Entry]:
        """The run waits for its owner."""
        text = self._ledger.payload(_json_text(detail), clean=True)
        data = RunHeld(why=why, detail=text.digest, choices=choices, void=void, call_path=call_path)
        return [self._ledger.draft(data, run=row.run, payloads=(text,))]

    def cancelled(self, row: RunRow) -> list[Entry]:
        """The run ends because it was asked to."""
        return self._entries(row, RunCancelled(), (), "cancelled")

    def told_parent(self, row: RunRow, state: str) -> list[Entry]:
        """What the parent of a run hears when the owner ends the run."""
        if not row.parent:
            return []
        ended = ChildEnded(child=row.run, state=state)
        return [self._ledger.draft(ended, run=row.parent, path=row.parent_path)]

    def hold(self, row: RunRow, hold: Hold, path: str) -> list[Entry]:
        """A call of the run waits for its owner."""
        return self.held(row, hold.why, hold.detail, hold.choices, call_path=path)

    def _entries(
        self,
        row: RunRow,
        data: FactData,
        payloads: tuple[Payload, ...],
        state: str,
        text: bytes | None = None,
    ) -> list[Entry]:
        entries = [self._ledger.draft(data, run=row.run, payloads=payloads)]
        if row.parent:
            # One append: a crash cannot leave a child that ended and a parent that never hears.
            told = self._ledger.payload(text, clean=True) if text is not None else None
            ended = ChildEnded(child=row.run, state=state, out=told.digest if told else "")
            entries.append(
                self._ledger.draft(ended, run=row.parent, path=row.parent_path, payloads=(told,))
            )
        return entries


def _kind(error: BaseException) -> str:
    """The code of an error, or the kind of fault that a call ended with."""
    code = error.code if isinstance(error, TildawnError) else "error"
    return str(getattr(error, "fields", {}).get("kind") or code)


def _json_text(text: str) -> bytes:
    return text.encode() if text.startswith("{") else msgspec.json.encode(text)
