"""What went wrong with an attempt, as the door sees it.

What it is not: the errors of any provider.  Those arrive by their attributes, `CallFault`; an
exception without them is of kind ``unknown``, which no rule retries.
"""

import asyncio
from typing import Protocol, runtime_checkable

import msgspec

from tildawn.errors import Effect, Misused, Refused, SecretFound
from tildawn.units import Micros, MicroUsd


KINDS = frozenset({
    "timeout", "rate", "network", "server", "invalid_answer", "not_found", "auth", "quota",
    "refused_content", "bad_request", "tls", "too_large", "unknown",
})  # fmt: skip
"""The classes of failure; each has its rule in `tildawn.guard.retry`.  Two more are ours alone,
as only the door knows of them: ``cancelled``, its caller went away, and ``queue``, all time of the
call went by while it waited for a connection of ours."""

UNKNOWN = "unknown"

SECRET = "secret"  # noqa: S105 - a kind of fault
"""Ours as well: an answer came, and it holds what must not be recorded."""

CLIENT_ERRORS = range(400, 500)
MAY_BE_AT_WORK = frozenset({408, 409})
"""Refusals that leave the effect open: the other side lost patience, or an earlier try of the
same request may still be at work there. Source: RFC 9110 sections 15.5.9 and 15.5.10."""


@runtime_checkable
class CallFault(Protocol):
    """An exception that says what happened to a call.

    ``sent``: the request may have reached the other side; ``retry_after``: how long that side
    asks us to wait, in microseconds; ``status``: its HTTP status, if it gave one.
    """

    kind: str
    detail: str
    sent: bool
    status: int | None
    retry_after: int | None


class InvalidAnswer(Exception):
    """An answer came, and it is not what was asked for."""

    def __init__(self, detail: str) -> None:
        """Say what is wrong with it, and where."""
        super().__init__(detail)
        self.kind = "invalid_answer"
        self.detail = detail
        self.sent = True
        self.status: int | None = None
        self.retry_after: int | None = None


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A failure in our own words.

    ``effect`` is what it did in the world as far as anybody can know; ``cost`` is what the
    other side says it charged although there is no usable answer, or None.
    """

    kind: str
    detail: str
    effect: Effect
    hint: str = ""
    status: int | None = None
    retry_after: Micros | None = None
    cost: MicroUsd | None = None
    type: str = ""


def seen(error: BaseException, *, sent: bool) -> Seen:
    """What an exception of an attempt says.

    Args:
        error: what ``perform`` or ``validate`` raised.
        sent: whether the request may have left; used where the exception does not say.

    Returns:
        The failure; kind ``unknown`` for what fits no class.

    Raises:
        Nothing.
    """
    if isinstance(error, CallFault):
        kind = str(error.kind)
        return Seen(
            kind=kind if kind in KINDS else UNKNOWN,
            detail=error.detail,
            effect=_effect(error.sent, error.status, getattr(error, "effect", None)),
            status=error.status,
            retry_after=Micros(error.retry_after) if error.retry_after is not None else None,
            cost=getattr(error, "cost", None),
            type=type(error).__name__,
        )
    if isinstance(error, SecretFound) and sent:
        return holds_secret(error)
    if isinstance(error, Misused | Refused):
        # Our own rules said no while the request was being made: trying again cannot help.
        effect = Effect.UNKNOWN if sent else Effect.NONE
        return Seen(
            kind="bad_request", detail=error.message, hint=error.hint or "", effect=effect,
            type=type(error).__name__,
        )  # fmt: skip
    detail = f"{type(error).__name__}: {error}"
    if isinstance(error, asyncio.CancelledError):
        detail = "the attempt cancelled itself"
    return Seen(
        kind=UNKNOWN, detail=detail, effect=_effect(sent, None, None), type=type(error).__name__
    )


def timed_out(limit: Micros, *, sent: bool) -> Seen:
    """An attempt that did not end within its time.

    Raises:
        Nothing.
    """
    return Seen(
        kind="timeout",
        detail=f"no answer within {limit / 1_000_000:g} s",
        effect=_effect(sent, None, None),
        type="Timeout",
    )


def kept_waiting(waited: Micros, *, sent: bool) -> Seen:
    """An attempt whose call was over before a connection was free: nobody's failure but ours.

    Raises:
        Nothing.
    """
    return Seen(
        kind="queue",
        detail=f"no connection to the host was free for {waited / 1_000_000:g} s",
        effect=_effect(sent, None, None),
        hint="give the step more time, or let fewer steps ask this host at once",
        type="Queue",
    )


def cancelled(*, sent: bool) -> Seen:
    """An attempt whose caller went away.

    Raises:
        Nothing.
    """
    return Seen(
        kind="cancelled", detail="the caller went away", effect=_effect(sent, None, None),
        type="Cancelled",
    )  # fmt: skip


def holds_secret(error: SecretFound) -> Seen:
    """An answer that may not be recorded: it happened, and asking again would bring it again.

    Raises:
        Nothing.
    """
    return Seen(
        kind=SECRET, detail=error.message, hint=error.hint or "", effect=Effect.APPLIED,
        type=type(error).__name__,
    )  # fmt: skip


def _effect(sent: bool, status: int | None, said: object) -> Effect:
    if isinstance(said, Effect):
        return said
    if not sent:
        return Effect.NONE
    refused = status in CLIENT_ERRORS and status not in MAY_BE_AT_WORK
    return Effect.NONE if refused else Effect.UNKNOWN
