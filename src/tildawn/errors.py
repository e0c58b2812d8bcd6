"""The errors of Tildawn: one tree, each saying what to do next.

What it is not: a place for control flow.  A refused expectation of an append, for
example, is an answer of the ledger and not an error.

::

    TildawnError
    ├─ Misused        effect none     usage: a plan, a setting, a task or an argument is wrong
    │  ├─ BadPlan  BadSetting  BadTask  BadValue  UnknownName
    ├─ Refused        effect none     the rules say no, now
    │  ├─ Busy  BudgetSpent  NotPermitted  SecretFound  StaleWriter  Bypassed
    │  ├─ InvariantViolated  PayloadErased  ArchiveMissing  PlanChanged
    │  ├─ NotProvable
    ├─ Failed         effect none     it was tried and it did not work
    │  ├─ StepFailed  RunFailed  CallFailed  FoldFailed  LoopBlocked  CancelIgnored
    │  ├─ AnchorFailed
    ├─ InDoubt        effect unknown  it may have happened
    │  ├─ CallInDoubt  CommitInDoubt
    └─ Broken         effect none     the house cannot be trusted or used as it is
       ├─ LedgerBroken  ProofBroken  HouseLocked  HouseTooNew  HouseUnusable  StoreFull
       └─ ReplayMismatch
"""

from enum import StrEnum
from typing import ClassVar


class Effect(StrEnum):
    """What happened in the world when an operation ended in an error."""

    NONE = "none"
    APPLIED = "applied"
    UNKNOWN = "unknown"


class TildawnError(Exception):
    """Something in Tildawn did not work."""

    code: ClassVar[str] = "tildawn"
    effect: ClassVar[Effect] = Effect.NONE
    #: The process exit code that a face uses for this error.
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str | None = None,
        *,
        hint: str | None = None,
        retry_at: int | None = None,
        **fields: object,
    ) -> None:
        """Make the error.

        Args:
            message: what happened; the class docstring when absent.
            hint: what to type or do next.
            retry_at: when trying again makes sense, in microseconds since 1970, or None.
            **fields: typed details, shown by faces and kept in logs.
        """
        text = message or (type(self).__doc__ or "").strip().splitlines()[0]
        super().__init__(text)
        self.message = text
        self.hint = hint
        self.retry_at = retry_at
        self.fields = fields


class Misused(TildawnError):
    """Something was asked for in a way that cannot work."""

    code = "misused"
    exit_code = 2


class BadPlan(Misused):
    """The plan cannot be accepted."""

    code = "bad-plan"


class BadSetting(Misused):
    """A setting is unknown or out of range."""

    code = "bad-setting"


class BadTask(Misused):
    """A task is declared in a way that cannot be made durable."""

    code = "bad-task"


class BadValue(Misused):
    """A value cannot be recorded as JSON of its declared type."""

    code = "bad-value"


class UnknownName(Misused):
    """Nothing has that name."""

    code = "unknown-name"


class Refused(TildawnError):
    """The rules say no, for now."""

    code = "refused"


class Busy(Refused):
    """A queue, a disk or a process is at its limit; nothing was accepted."""

    code = "busy"
    exit_code = 75


class BudgetSpent(Refused):
    """The budget does not allow this call."""

    code = "budget-spent"
    exit_code = 3


class NotPermitted(Refused):
    """No permit allows this effect."""

    code = "not-permitted"
    exit_code = 3


class SecretFound(Refused):
    """A value holds a secret and must not be recorded."""

    code = "secret-found"
    exit_code = 3


class StaleWriter(Refused):
    """A newer holder of the pen or a newer attempt has taken over."""

    code = "stale-writer"


class Bypassed(Refused):
    """Task code reached for the outside without going through the door."""

    code = "bypassed"


class InvariantViolated(Refused):
    """A table of a projection refuses what the facts would make of it; nothing was recorded."""

    code = "invariant-violated"


class PayloadErased(Refused):
    """The value was erased; its fact remains."""

    code = "payload-erased"


class ArchiveMissing(Refused):
    """What a fact says has left for the archive, and the archive does not have it."""

    code = "archive-missing"
    exit_code = 3


class NotProvable(Refused):
    """What would be needed for a proof is not there."""

    code = "not-provable"
    exit_code = 3


class PlanChanged(Refused):
    """What a plan of repair says is not so any more; nothing further was done."""

    code = "plan-changed"
    exit_code = 3


class Failed(TildawnError):
    """It was tried and it did not work."""

    code = "failed"


class StepFailed(Failed):
    """A step raised an error."""

    code = "step-failed"


class RunFailed(Failed):
    """A run ended without a result."""

    code = "run-failed"


class CallFailed(Failed):
    """A call ended without an answer that can be used."""

    code = "call-failed"


class FoldFailed(Failed):
    """A fold or an expectation raised an error; nothing was recorded."""

    code = "fold-failed"


class LoopBlocked(Failed):
    """It computed for too long in one go; nothing else could run meanwhile."""

    code = "loop-blocked"


class CancelIgnored(Failed):
    """A run went on although it was asked to stop."""

    code = "cancel-ignored"


class AnchorFailed(Failed):
    """Another place did not take a checkpoint, or did not answer."""

    code = "anchor-failed"


class InDoubt(TildawnError):
    """It may have happened; nobody knows yet."""

    code = "in-doubt"
    effect = Effect.UNKNOWN


class CallInDoubt(InDoubt):
    """A call was sent and no answer came; its effect is unknown."""

    code = "call-in-doubt"


class CommitInDoubt(InDoubt):
    """The disk did not confirm a commit; it may be there after a restart."""

    code = "commit-in-doubt"


class Broken(TildawnError):
    """The house cannot be used as it is."""

    code = "broken"
    exit_code = 4


class LedgerBroken(Broken):
    """The ledger does not verify."""

    code = "ledger-broken"


class ProofBroken(Broken):
    """A proof or a signature does not hold."""

    code = "proof-broken"


class HouseLocked(Broken):
    """Another process holds the pen of this house."""

    code = "house-locked"
    exit_code = 75


class HouseTooNew(Broken):
    """The house was written by a newer version of Tildawn."""

    code = "house-too-new"
    exit_code = 2


class HouseUnusable(Broken):
    """The house cannot be opened on this disk or with this SQLite."""

    code = "house-unusable"
    exit_code = 2


class StoreFull(Broken):
    """The disk is full; nothing was recorded."""

    code = "store-full"
    exit_code = 75


class ReplayMismatch(Broken):
    """The code asks for something else than the recorded run did."""

    code = "replay-mismatch"
    exit_code = 1
