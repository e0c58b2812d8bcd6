"""Facts about routes: what the guard learned of the other side, and what its owner decided.

What it is not: calls; those are in `tildawn.facts.call`.  Written by the guard alone, without a
run.  A route is the class of calls that share resilience state.
"""

from tildawn.facts.fact import FactData


class RouteTurned(FactData, frozen=True):
    """The breaker of a route changed its state.

    States are ``closed``, ``open`` (nothing may be sent), ``probing`` (the other side gives a
    sign of life; one attempt may be sent), ``ramp`` (proven once; few at a time) and ``blocked``
    (a person must do something).
    """

    route: str
    was: str
    state: str
    #: Of the state that begins; attempts sent under an older one change nothing.
    generation: int
    #: The rule that decided, such as ``timeouts-in-a-row`` or ``share``.
    cause: str
    #: Numbers behind the cause, in words for people.
    why: str = ""
    #: Instant of the next check, 0 for none; and the wait before it.
    due: int = 0
    wait_ms: int = 0
    #: What its calls are like and which model they ask, for whoever tests it after a restart.
    kind: str = ""
    model: str = ""


class RouteChecked(FactData, frozen=True):
    """The other side was asked for a sign of life, free of charge."""

    route: str
    generation: int
    alive: bool
    #: Kind of fault where it is not.
    fault: str = ""
    due: int = 0
    wait_ms: int = 0


class RouteForced(FactData, frozen=True):
    """Its owner put a route into a state until an instant; an empty state gives it back."""

    route: str
    #: ``open``, ``closed`` or empty.
    state: str
    until: int
    reason: str

    PAYLOADS = ("reason",)


class RouteModeSet(FactData, frozen=True):
    """Its owner set the mode of a route, or of all with ``*``, until an instant."""

    route: str
    #: ``on``, ``shadow``, ``off`` or empty to give it back.
    mode: str
    until: int
    reason: str

    PAYLOADS = ("reason",)


class RoutePolicyAdopted(FactData, frozen=True):
    """Calls of a route are judged by other numbers from here on."""

    route: str
    #: Digest of the numbers.
    policy: str
    #: Attempts for which they only say what they would do.
    shadow: int = 0


class RoutePromoted(FactData, frozen=True):
    """Its owner lets a policy act that had only been watched; two looks at it follow."""

    route: str
    policy: str
    #: Instants of the looks after an hour and after a day.
    watch_at: int
    review_at: int


class RouteReviewed(FactData, frozen=True):
    """One of the looks after a promotion: ``watch`` or ``review``."""

    route: str
    look: str
    good: bool
    attempts: int
    timeouts: int
    open_ms: int


class RouteHeard(FactData, frozen=True):
    """An attempt ended in whose place something else had been served: history of its route.

    The call ended before, and nothing of it changes; an answer, its bill and a late no have facts
    of their own.
    """

    route: str
    #: Under which the attempt was sent, and the position of its dispatch.
    generation: int
    dispatched: int
    limit_ms: int
    #: As in `tildawn.facts.call.CallSettled`.
    fault: str = ""
    took_ms: int = 0
    asked_wait_ms: int = 0


class RouteLimitMoved(FactData, frozen=True):
    """What an attempt may take moved by more than five seconds."""

    route: str
    was_ms: int
    limit_ms: int
    #: ``p95``, ``climbing``, ``cold`` or ``cap``: the other side is slower than the cap.
    basis: str


KINDS: tuple[type[FactData], ...] = (
    RouteTurned,
    RouteChecked,
    RouteForced,
    RouteModeSet,
    RoutePolicyAdopted,
    RoutePromoted,
    RouteReviewed,
    RouteLimitMoved,
    RouteHeard,
)
