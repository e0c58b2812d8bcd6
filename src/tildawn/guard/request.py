"""What goes through the door and what comes back.

What it is not: the door; that is `tildawn.guard.call`.
"""

from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

import msgspec

from tildawn.facts.fact import Fact
from tildawn.facts.picture import Drawn
from tildawn.guard.policy import Class
from tildawn.guard.retry import RetryPolicy
from tildawn.ledger.fold import Expect
from tildawn.units import Micros, MicroUsd, Seq


Repeat = Literal["safe", "keyed", "never"]
"""Whether doing it twice is harmless: always, under one idempotency key, or not at all."""

APPLIED, NOT_APPLIED, GIVE_UP = "applied", "not-applied", "give-up"
CHOICES = (APPLIED, NOT_APPLIED, GIVE_UP)
"""What the owner may say of a call whose effect nobody knows."""


class Wire(Protocol):
    """How far an attempt got; `tildawn.providers.port.Wire` is one.

    ``queued``: microseconds waited so far for a connection of ours; ``queues_since``: the instant
    of `Clock.mono` at which the wait that is going on began, or None.
    """

    sent: bool
    queued: Micros
    queues_since: Micros | None


class Sent:
    """The wire of an attempt that says nothing about itself: it counts as sent."""

    __slots__ = ("queued", "queues_since", "sent")

    def __init__(self) -> None:
        """Assume the worst."""
        self.sent = True
        self.queued = Micros(0)
        self.queues_since: Micros | None = None


def queue_time(wire: Wire, now: Micros) -> Micros:
    """How long an attempt has waited in our own queues, in microseconds.

    Raises:
        Nothing.
    """
    since = wire.queues_since
    return wire.queued if since is None else Micros(wire.queued + now - since)


PROBES = "probe"
"""In place of a run, for calls that only find out whether a route is back."""

ChildStarted = Callable[[int, str], Awaitable[None]]
"""Told the process id and the start time of a child; returns once that is on the disk."""


class Attempt:
    """One try, as ``perform`` and ``lookup`` see it.

    ``perform`` should replace ``wire`` before anything is sent, so that a timeout before that
    moment is known to have had no effect.
    """

    __slots__ = (
        "child_started", "deadline", "first", "idle", "key", "number", "until", "wire",
    )  # fmt: skip

    def __init__(
        self,
        *,
        key: str,
        number: int,
        deadline: Micros,
        child_started: ChildStarted,
        until: Micros | None = None,
    ) -> None:
        """Make the view.

        Args:
            key: for an ``Idempotency-Key``: the same on every attempt of the call.
            number: from 1.
            deadline: instant of `Clock.mono` at which the attempt is cancelled, if it spends no
                time in our own queues; see `tildawn.guard.attempt`.
            child_started: to be awaited before a child process does anything.
            until: instant of `Clock.mono` up to which time in our queues may put that off; None
                for not at all.
        """
        self.key = key
        self.number = number
        self.deadline = deadline
        self.child_started = child_started
        self.until = deadline if until is None else until
        #: Of a stream, how long until its first piece and between two; None for the usual.
        self.first: Micros | None = None
        self.idle: Micros | None = None
        self.wire: Wire = Sent()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt brought back.

    ``value`` is JSON text; ``blobs`` are the SHA-256 names of blobs that it refers to.
    ``spend_source`` is ``reported``, the name of the table it was counted with, ``computed`` for
    a sum of several, or ``none``; with none, the reservation is booked as
    assumed.
    """

    value: bytes
    blobs: tuple[str, ...] = ()
    spend: MicroUsd = MicroUsd(0)
    spend_source: str = "none"
    tokens_in: int = 0
    tokens_out: int = 0
    #: Of a stream, milliseconds until its first piece, time in our queues left out.
    first_ms: int | None = None
    #: What was drawn, where the answer is a picture; its blob is among ``blobs``.
    picture: Drawn | None = None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A lookup says: it happened, and this is the answer."""

    value: bytes
    blobs: tuple[str, ...] = ()


class Absent(msgspec.Struct, frozen=True):
    """A lookup says: it did not happen, and will not."""


class Unclear(msgspec.Struct, frozen=True):
    """A lookup cannot tell."""

    why: str = ""


Perform = Callable[[Attempt], Awaitable[Answer]]
Lookup = Callable[[Attempt], Awaitable[Found | Absent | Unclear]]
Validate = Callable[[bytes], None]
Final = Callable[[Seq, Fact, bytes | None], None]
"""Takes the final record: position, fact, JSON of the answer or of the error.  It is called
from inside the ledger's ``done`` callback, so that records arrive in ledger order."""


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """What a local tier is asked for; instants are microseconds of `Clock.mono`."""

    #: Why no tier above it serves: a kind of fault, ``patience``, ``route-open``, …
    reason: str
    #: Keyed digest of the request, the same for the same request in every run of the house.
    args: str
    #: When it was decided to leave the tier above.
    decided: Micros
    #: By when something must be served.
    deadline: Micros


class Local(msgspec.Struct, frozen=True, kw_only=True):
    """A tier that asks nobody outside; ``find`` gives None where it has nothing.

    ``name`` is exact, related, global, procedural or one of the user's; a ``sure`` tier has no
    tier below it, and gets what time there is instead of its ``limit``.
    """

    name: str
    find: Callable[[Need], Awaitable[Answer | None]]
    limit: Micros
    sure: bool = False


class Remote(msgspec.Struct, frozen=True, kw_only=True):
    """Another model that may answer, through a door of its own route."""

    name: str
    route: str
    model: str
    perform: Perform
    validate: Validate | None = None
    #: The most that one attempt can cost; None where nobody knows.
    reserve: MicroUsd | None = MicroUsd(0)
    reserve_tokens: int = 0
    #: As in `CallRequest`.
    worst: MicroUsd = MicroUsd(0)
    kind: Class = "chat"


class CallRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One call. Durations are microseconds; asking again for the same call uses the same request.

    ``path`` must name the place in the run for ever, its generation included: with the run, the
    route and ``body_digest`` it makes the idempotency key.
    """

    run: str
    path: str
    run_attempt: int
    #: Part of every append made for this call.
    fence: Expect
    name: str
    route: str
    repeat: Repeat
    #: Keyed digest of the request as the task gave it, nothing expanded.
    args_digest: str
    #: Digest of the request as it will be sent, secrets as their names.
    body_digest: str
    perform: Perform
    lookup: Lookup | None = None
    #: Raises `InvalidAnswer`, or any `CallFault`, for an answer that must not count.
    validate: Validate | None = None
    #: For everything of one entry: attempts, waits, lookups.
    deadline: Micros | None = None
    #: For each attempt.
    timeout: Micros | None = None
    retry: RetryPolicy | None = None
    #: The most that one attempt can cost; None where nobody knows.
    reserve: MicroUsd | None = MicroUsd(0)
    reserve_tokens: int = 0
    #: The most that the bill can be where ``reserve`` is an estimate below it.
    worst: MicroUsd = MicroUsd(0)
    #: The most that all attempts of the call may cost together; None for no such limit.
    most: MicroUsd | None = None
    #: Scopes, narrowest first.
    budgets: tuple[str, ...] = ()
    #: Nobody is there to watch the bill: an unknown price is refused.
    unattended: bool = True
    model: str = ""
    simulated: bool = False
    #: An operation and a target, redacted; for the report.
    what: str = ""
    #: What kind of calls its route carries; chooses the numbers where the user gives none.
    kind: Class = "http"
    #: Whether the other side can be asked for a sign of life, free of charge.
    sign: bool = False
    #: JSON of what is asked, by which related answers are found; never in a fact.
    about: bytes = b""
    #: The fallback ladder: others that may answer, then what may stand in, each in order.
    remotes: tuple[Remote, ...] = ()
    locals: tuple[Local, ...] = ()
    patience: Literal["interactive", "batch"] = "batch"
    #: Under which it is made, empty for the authority of the owner.
    permit: str = ""
    #: What it does, in the words of `tildawn.facts.permit`, and to what.
    operation: str = "call"
    resource: str | None = ""


class Ended(msgspec.Struct, frozen=True):
    """The final record was handed to ``final``; it is at ``seq``."""

    seq: Seq


class Later(msgspec.Struct, frozen=True):
    """Nothing can be done before ``due``, an instant of the wall clock; ask again then."""

    due: Micros
    why: str


class Hold(msgspec.Struct, frozen=True):
    """The owner must decide: ``why`` is an error code, ``choices`` what may be answered."""

    why: str
    detail: str
    choices: tuple[str, ...] = CHOICES


class Stale(msgspec.Struct, frozen=True):
    """The fence does not hold, or the call has ended: whoever asked is a zombie."""


Verdict = Ended | Later | Hold | Stale
