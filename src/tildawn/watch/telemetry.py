"""Events of the guard for other people's tools: dotted names, one flat object each.

What it is not: how they are made; `tildawn.watch.stream` computes them from facts.
"""

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """What all have: the position of the fact, and its instant in microseconds since 1970."""

    seq: int
    at: int
    route: str


class Attempt(Event, frozen=True, kw_only=True, tag="guard.attempt"):
    """An attempt of a call ended, or a call was refused or served without one."""

    run: str
    lane: str
    attempt: int
    #: Of the ladder: empty for the primary.
    tier: str
    #: success, recovered (a probe that was answered), timeout, error, aborted, rejected, invalid
    #: or unknown.
    status: str
    latency_ms: int
    queue_ms: int
    #: Until the first piece of a streamed answer, 0 where it was not streamed.
    ttft_ms: int
    timeout_ms: int
    timeout_basis: str
    #: Under which it was sent.
    circuit_state: str
    generation: int
    fallback_tier: str
    fallback_reason: str
    probe: bool
    #: None for what was no probe.
    probe_success: bool | None
    fault: str
    cost_micro_usd: int
    cost_source: str
    #: Kinds of the budgets it counts in, such as night and run.
    scopes: tuple[str, ...]
    tokens_in: int
    tokens_out: int
    model: str
    simulated: bool
    would_reject: str
    would_timeout_at_ms: int
    # HOLE: provider_request_id is on no fact; it belongs to the wire, and would be a payload.


class Transition(Event, frozen=True, kw_only=True, tag="guard.transition"):
    """The breaker changed its state."""

    was: str = msgspec.field(name="from")
    to: str
    cause: str
    #: The numbers behind the cause.
    window: str
    wait_s: float
    generation: int
    #: How long the state before lasted, 0 where it was the first.
    lasted_s: float


class Probe(Event, frozen=True, kw_only=True, tag="guard.probe"):
    """The other side was asked whether it is back: free of charge, or with a paid attempt."""

    paid: bool
    success: bool
    fault: str
    next_s: float
    cost_micro_usd: int


class TimeoutChanged(Event, frozen=True, kw_only=True, tag="guard.timeout_changed"):
    """The limit of attempts moved."""

    was_ms: int
    limit_ms: int
    basis: str


class Budget(Event, frozen=True, kw_only=True, tag="guard.budget"):
    """A limit was set, or refused a call."""

    what: str
    #: night, item, run, route, probes, …; never its name.
    scope: str
    limit_micro_usd: int


class Limit(Event, frozen=True, kw_only=True, tag="guard.limit"):
    """The other side asked everybody to wait."""

    wait_ms: int


class Flag(Event, frozen=True, kw_only=True, tag="guard.flag"):
    """The owner's word, or new numbers: what (mode, forced, policy, promoted, reviewed)."""

    what: str
    value: str
    until: int


AnyEvent = Attempt | Transition | Probe | TimeoutChanged | Budget | Limit | Flag

NAMES: tuple[str, ...] = (
    "guard.attempt", "guard.transition", "guard.probe", "guard.timeout_changed", "guard.budget",
    "guard.limit", "guard.flag",
)  # fmt: skip


class DalleGeneration(msgspec.Struct, frozen=True, kw_only=True, tag_field="event",
                      tag="dalle_generation"):  # fmt: skip
    """An attempt under the name and in the fields of the system that this one follows."""

    #: timeout, success, aborted or recovered; what it had no word for is aborted.
    status: str
    latency_ms: int
    circuit_state: str
    fallback_tier: str
    probe_success: bool | None


def original(event: Attempt) -> DalleGeneration:
    """An attempt as `DalleGeneration`.

    Raises:
        Nothing.
    """
    known = event.status in {"timeout", "success", "recovered"}
    return DalleGeneration(
        status=event.status if known else "aborted", latency_ms=event.latency_ms,
        circuit_state=event.circuit_state, fallback_tier=event.fallback_tier,
        probe_success=event.probe_success,
    )  # fmt: skip
