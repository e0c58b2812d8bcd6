"""Facts about calls to the outside: written by the guard alone.

What it is not: policy.  Each carries the ``run`` and the ``path`` of the call.
"""

import msgspec

from tildawn.facts.fact import FactData
from tildawn.facts.picture import Drawn


class CallError(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the ``error`` of a call says, as JSON: for the task that asked and for the report.

    ``code`` is an error code or a kind of fault, ``effect`` none, applied or unknown;
    ``scope`` and the amounts, in millionths of a dollar, are those of a budget that said no.
    """

    type: str
    message: str
    hint: str = ""
    code: str = ""
    effect: str = "none"
    retryable: bool = True
    status: int = 0
    scope: str = ""
    limit_micro_usd: int = 0
    spent_micro_usd: int = 0
    reserved_micro_usd: int = 0


class CallDispatched(FactData, frozen=True):
    """An attempt of a call is about to leave; committed before any socket opens."""

    name: str
    route: str
    attempt: int
    #: Idempotency key, the same on every attempt of the same request at the same route.
    key: str
    #: Digest of the request as the task gave it, with nothing expanded; keyed per run.
    args: str
    repeat: str
    deadline: int
    timeout_ms: int
    reserve_micro_usd: int = 0
    reserve_tokens: int = 0
    budgets: tuple[str, ...] = ()
    model: str = ""
    simulated: bool = False
    #: What the call would do, for the report: an operation and a target, redacted.
    what: str = ""
    #: Of the route's breaker when it was sent; see `tildawn.facts.route`.
    generation: int = 0
    #: Sent to find out whether the other side is back.
    probe: bool = False
    #: What the limiters of the route stand at after this attempt: instants, 0 without a limiter.
    turn: int = 0
    turn_tokens: int = 0
    #: How long it waited for its turn: for the limiter, for room, for a connection.
    queue_ms: int = 0
    #: Where the limit of the attempt comes from: p95, climbing, cold, cap, step or fixed.
    basis: str = ""
    #: It had less time than such calls usually take: a timeout says nothing about the route.
    short: bool = False
    #: What the guard would have done were it not in shadow, such as ``route-open`` or ``limit``.
    would: str = ""
    #: Of the fallback ladder, and why the one above did not serve.
    tier: str = ""
    instead: str = ""
    #: What is asked, where a later answer may be related to it.
    about: str = ""
    #: The most that the bill can be where the reservation is an estimate; 0 where it is the most.
    worst_micro_usd: int = 0
    #: Class of the call: image, chat, embedding, http or local.
    kind: str = ""
    #: Under which it is sent, empty for the authority of the owner; this is its use.
    permit: str = ""

    PAYLOADS = ("what", "about")


class CallSettled(FactData, frozen=True):
    """An attempt ended; ``final`` ones answer the run.

    ``effect`` is none, applied or unknown; ``fault`` is empty for an answer.  An ``abandoned``
    attempt would not end when its time was over: it is still alive and its answer may come late.
    """

    attempt: int
    final: bool
    effect: str
    fault: str = ""
    out: str = ""
    error: str = ""
    spend_micro_usd: int = 0
    #: Who says what it cost: ``reported`` by the provider; the table it was counted with, such as
    #: ``table@2026-11-20``, ``user@…`` or ``genai-prices@…``; ``assumed``: answered without a
    #: bill, so the reservation counts; ``held``: nobody knows what became of it, so the
    #: reservation is held until somebody does; or ``none``.  Early houses say ``computed``.
    spend_source: str = "none"
    tokens_in: int = 0
    tokens_out: int = 0
    took_ms: int = 0
    retry_due: int = 0
    abandoned: bool = False
    #: How long the other side asked everybody to wait; it parks the route.
    asked_wait_ms: int = 0
    #: It only found out whether the route is back: no try of the call is spent.
    test: bool = False
    #: How long it waited for a connection of ours; no part of ``took_ms``.
    queue_ms: int = 0
    #: Until the first piece of a streamed answer, 0 where it was not streamed.
    first_ms: int = 0
    #: What the answer refers to, where it is a picture.
    picture: Drawn | None = None

    PAYLOADS = ("out", "error")


class CallLookedUp(FactData, frozen=True):
    """The outside was asked what became of a call: found, absent or unclear."""

    answer: str
    out: str = ""

    PAYLOADS = ("out",)


class CallDoubted(FactData, frozen=True):
    """A dispatched attempt has no answer and can have none; its effect is unknown."""

    attempt: int
    why: str


class CallResolved(FactData, frozen=True):
    """The owner said what became of a call: applied, not-applied, or give-up without knowing."""

    choice: str
    out: str = ""

    PAYLOADS = ("out",)


class CallAnsweredLate(FactData, frozen=True):
    """An answer came after the call had ended; it changes no recorded value."""

    attempt: int
    out: str = ""
    spend_micro_usd: int = 0
    #: As in `CallSettled`; none when it said nothing about its price.
    spend_source: str = "none"
    tokens_in: int = 0
    tokens_out: int = 0
    #: As in `CallSettled`.
    picture: Drawn | None = None

    PAYLOADS = ("out",)


class CallRefused(FactData, frozen=True):
    """The door said no before anything was sent."""

    name: str
    route: str
    why: str
    args: str
    error: str

    PAYLOADS = ("error",)


class CallHoldExpired(FactData, frozen=True):
    """A day has passed without a bill: the money held for an attempt is booked as assumed."""

    attempt: int


class CallHoldReleased(FactData, frozen=True):
    """An attempt is known to have cost nothing: the money held for it is free again.

    For what no other fact says, such as a primary that failed unsent after a tier had answered.
    """

    attempt: int
    why: str = ""


class BudgetSet(FactData, frozen=True):
    """A scope got a limit; raising it later is another such fact.

    A limit that is -1 stays as it is: money and tokens are limited each on their own.
    """

    scope: str
    limit_micro_usd: int = -1
    reason: str = ""
    limit_tokens: int = -1


class CallServed(FactData, frozen=True):
    """A local tier answered in place of a provider; nothing was sent and nothing paid."""

    name: str
    route: str
    args: str
    #: ``exact``, ``related``, ``global``, ``procedural`` or a name of the user's.
    tier: str
    #: Why no tier above it served: a kind of fault, ``route-open``, ``patience``, ``budget``, …
    instead: str
    out: str
    #: The error of the primary, as `CallError`; empty where it was never asked.
    error: str = ""
    #: From the decision to leave the tier above to this answer.
    took_ms: int = 0
    #: As in `CallSettled`.
    picture: Drawn | None = None

    PAYLOADS = ("out", "error")


class ChildProcessStarted(FactData, frozen=True):
    """A child process of a call is alive; recovery proves it gone before a rerun."""

    #: The leader of its own process group.
    pid: int
    #: Opaque text that no other process with that id shares.
    started: str


class ChildProcessGone(FactData, frozen=True):
    """A child process that outlived its call or its parent was proven gone."""

    pid: int
    attempt: int


KINDS: tuple[type[FactData], ...] = (
    CallDispatched,
    CallSettled,
    CallLookedUp,
    CallDoubted,
    CallResolved,
    CallAnsweredLate,
    CallRefused,
    CallServed,
    CallHoldExpired,
    CallHoldReleased,
    BudgetSet,
    ChildProcessStarted,
    ChildProcessGone,
)
