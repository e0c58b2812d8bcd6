"""What a record says to the task: a value, or an error of our own types.

What it is not: the original exception.  A step's ``ValueError`` arrives as `StepFailed` with
its type and message, on the first run as on every replay.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec

from tildawn.engine.history import Record
from tildawn.errors import (
    BudgetSpent,
    CallFailed,
    CallInDoubt,
    Effect,
    NotPermitted,
    Refused,
    RunFailed,
    StepFailed,
    TildawnError,
)
from tildawn.facts.call import CallRefused, CallSettled
from tildawn.facts.step import (
    ArtifactKept,
    ChangeMarked,
    ChildEnded,
)
from tildawn.facts.step import (
    StepFailed as StepFailedFact,
)


class ErrorText(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error as it is recorded: type name, message, what to do, whether trying again helps."""

    type: str
    message: str
    hint: str = ""
    code: str = ""
    effect: str = "none"
    retryable: bool = True
    traceback: str = ""


class Artifact(msgspec.Struct, frozen=True):
    """A named result kept as a blob; pass it on instead of its bytes."""

    name: str
    sha256: str
    size_bytes: int
    media: str = ""


class Told(msgspec.Struct, frozen=True):
    """A record on its way to whoever asked."""

    record: Record
    name: str
    decode: Callable[[bytes], Any] | None


ORIGIN = "tildawn_origin"
"""Attribute of a delivered error: the position of the record that told it."""


def error_text(error: BaseException, *, traceback: str = "") -> bytes:
    """An error as JSON.

    Raises:
        Nothing.
    """
    known = isinstance(error, TildawnError)
    text = ErrorText(
        type=str(error.fields.get("type") or type(error).__name__)
        if known
        else type(error).__qualname__,
        message=_cut(str(error)),
        hint=(error.hint or "") if known else "",
        code=error.code if known else "",
        effect=str(error.effect) if known else "none",
        retryable=retryable(error),
        traceback=traceback[-8_000:],
    )
    return msgspec.json.encode(text)


def _cut(text: str, limit: int = 4_000) -> str:
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= limit else clean[:limit] + "…"


def retryable(error: BaseException) -> bool:
    """Whether another attempt could end differently.

    Raises:
        Nothing.
    """
    if isinstance(error, TildawnError):
        said = error.fields.get("retryable")
        return said if isinstance(said, bool) else error.code not in _FINAL
    return True


# The same code with the same arguments meets these again.
_FINAL = frozenset(
    {
        "misused",
        "bad-value",
        "bad-task",
        "bad-plan",
        "bypassed",
        "budget-spent",
        "not-permitted",
        "secret-found",
        "unknown-name",
        "loop-blocked",
    }
)


def parse_error(text: bytes | None) -> ErrorText:
    """The recorded error, or a note that there is none.

    Raises:
        msgspec.DecodeError: the text is no recorded error.
    """
    if text is None:
        return ErrorText(type="Stopped", message="no error is on record")
    return msgspec.json.decode(text, type=ErrorText, strict=False)


def error_of(told: Told) -> TildawnError | None:
    """The error that a record tells of, with its `ORIGIN`, or None.

    Raises:
        Nothing.
    """
    data = told.record.fact.data
    error: TildawnError | None = None
    if isinstance(data, StepFailedFact):
        error = _rebuild(StepFailed, f"step {told.name}", told.record)
    elif isinstance(data, CallRefused):
        kinds: dict[str, type[Refused]] = {
            "budget-spent": BudgetSpent,
            "not-permitted": NotPermitted,
        }
        error = _rebuild(kinds.get(data.why, Refused), f"call {data.name}", told.record)
    elif isinstance(data, CallSettled) and data.fault:
        error = _call_error(told, data)
    elif isinstance(data, ChildEnded) and data.state != "done":
        error = _rebuild(RunFailed, f"child {told.name} ({data.state})", told.record)
        if data.state == "cancelled":
            error.fields["retryable"] = False  # its owner stopped it; do not start it again
    if error is not None:
        setattr(error, ORIGIN, told.record.seq)
    return error


def _call_error(told: Told, data: CallSettled) -> TildawnError:
    if parse_error(told.record.text).type == CallInDoubt.__name__:
        # Its owner gave it up: nobody knows, and asking again would send it again.
        error = _rebuild(CallInDoubt, f"call {told.name}", told.record)
        error.fields["retryable"] = False
        return error
    error = _rebuild(CallFailed, f"call {told.name}", told.record, kind=data.fault)
    error.effect = Effect(data.effect)  # pyright: ignore[reportAttributeAccessIssue]  this one differs from its class
    error.fields["retryable"] = data.fault not in _HOPELESS
    return error


_E = TypeVar("_E", bound=TildawnError)

# Faults that asking again cannot mend before a person does something.
_HOPELESS = frozenset({
    "auth", "quota", "bad_request", "refused_content", "tls", "too_large", "secret", "unknown",
})  # fmt: skip


def _rebuild(error: type[_E], what: str, record: Record, **fields: object) -> _E:
    said = parse_error(record.text)
    told = error(f"{what}: {said.type}: {said.message}", hint=said.hint or None)
    told.fields |= {"type": said.type, "path": record.path, "retryable": said.retryable, **fields}
    return told


def value_of(told: Told) -> Any:
    """The value that a record tells.

    Raises:
        BadValue: it is not of the type that was declared.
    """
    data = told.record.fact.data
    if isinstance(data, ChangeMarked):
        return data.version
    if isinstance(data, ArtifactKept):
        return Artifact(told.name, data.blob, data.size_bytes, data.media)
    text = told.record.text
    if told.decode is not None and text is not None:
        return told.decode(text)
    return msgspec.json.decode(text) if text is not None else None


def origin(error: BaseException) -> int:
    """The lowest position among the records that led to an error, or -1.

    Looks into exception groups, causes and contexts.

    Raises:
        Nothing.
    """
    found: list[int] = []
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        one = queue.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        seq = getattr(one, ORIGIN, None)
        if isinstance(seq, int):
            found.append(seq)
        queue += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            queue += cast("BaseExceptionGroup[BaseException]", one).exceptions
    return min(found, default=-1)
