"""What went through each route, minute by minute, and how it turned: what service levels count.

What it is not: the levels; `tildawn.projections.slo` defines them over these tables.  Attempts
are counted when they end; the time out of service is that of `tildawn.projections.route`.
"""

from collections.abc import Iterable
from typing import cast

import msgspec

from tildawn.facts.call import CallDispatched, CallServed, CallSettled
from tildawn.facts.fact import Fact
from tildawn.facts.route import RouteChecked, RouteHeard, RouteReviewed, RouteTurned
from tildawn.ledger.fold import Change, Get, Projection, Put, Row, Table
from tildawn.projections.attempts import OUTCOMES, Outcome, outcomes, with_outcome
from tildawn.projections.call import CallRow
from tildawn.projections.route import HealthRow
from tildawn.projections.run import RunRow
from tildawn.units import MILLISECOND, SECOND, Micros, Seq


MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
PROBES = "probe"
"""In place of a run: calls that the guard makes of itself, to see whether a route is back."""

ACTIVATION = 2_000
"""Milliseconds in which something else must be served. Source: the specification, < 2 s."""


class TrafficRow(Row, frozen=True, kw_only=True):
    """What ended on a route within one minute; probes and what callers gave up are left out.

    A row stays for ever: some 60 bytes a minute, beside a kilobyte of facts that made it.
    """

    route: str
    #: Since 1970.
    minute: int
    attempts: int
    timeouts: int
    #: Pictures that arrived, and those of them that were none.
    pictures: int
    spoilt: int
    #: Answers of a local tier, and those that took longer than `ACTIVATION`.
    fallbacks: int
    slow: int


class LatestRow(Row, frozen=True, kw_only=True):
    """What class of calls a route carries, and what they came to before it last turned.

    The history that the breaker judges begins anew when it opens, and a person wants to see
    what made it open; see `joined`.
    """

    route: str
    kind: str
    #: Packed as in `tildawn.projections.attempts`.
    outcomes: bytes


class DelayRow(Row, frozen=True, kw_only=True):
    """What an outage has beside its row: why, and the last wait before a check in microseconds.

    The wait tells our own delay from the outage of the other side.
    """

    route: str
    began_seq: int
    wait_us: int
    #: The numbers behind its cause, when it began.
    why: str
    #: Calls that were sent nevertheless, because the breaker only watched.
    passed: int


class WouldRow(Row, frozen=True, kw_only=True):
    """What the guard would have done to calls of a night, were it not in shadow."""

    night: str
    route: str
    #: Such as ``route-open``; what stands behind a space in the fact is left out.
    would: str
    calls: int
    first: int


class TurnRow(Row, frozen=True, kw_only=True):
    """A change of a route's state, so that the state at any position can be told."""

    route: str
    seq: int
    at: int
    was: str
    state: str


class ReviewRow(Row, frozen=True, kw_only=True):
    """A look at a route after its settings were promoted; see `RouteReviewed`."""

    seq: int
    at: int
    route: str
    look: str
    good: int
    attempts: int
    timeouts: int
    open_ms: int


TRAFFIC = Table(
    name="slo_minute",
    row=TrafficRow,
    key=("route", "minute"),
    sql=("CREATE INDEX {table}_when ON {table}(minute)",),
)
LATEST = Table(name="slo_latest", row=LatestRow, key=("route",))
DELAY = Table(name="slo_delay", row=DelayRow, key=("route", "began_seq"))
WOULD = Table(name="slo_would", row=WouldRow, key=("night", "route", "would"))
TURN = Table(name="slo_turn", row=TurnRow, key=("route", "seq"))
REVIEW = Table(name="slo_review", row=ReviewRow, key=("seq",))


# -- folds ---------------------------------------------------------------------------------


def _dispatch(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("CallDispatched", fact.data)
    if said.kind:
        known = _latest(said.route, get)
        if known.kind != said.kind:
            yield Put(msgspec.structs.replace(known, kind=said.kind))
    if not said.would:
        return
    run = get(RunRow, fact.run)
    night = run.night if run is not None else ""
    for would in dict.fromkeys(part.split()[0] for part in said.would.split(",") if part.strip()):
        row = get(WouldRow, night, said.route, would) or WouldRow(
            night=night, route=said.route, would=would, calls=0, first=seq
        )
        yield Put(msgspec.structs.replace(row, calls=row.calls + 1))
        if would == "route-open":
            yield from _passed(said.route, get)


def _passed(route: str, get: Get) -> Iterable[Change]:
    health = get(HealthRow, route)
    row = get(DelayRow, route, health.outage) if health is not None else None
    if row is not None:
        yield Put(msgspec.structs.replace(row, passed=row.passed + 1))


def _settle(_: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("CallSettled", fact.data)
    call = get(CallRow, fact.run, fact.path)
    if call is None or call.state != "dispatched" or call.attempt != said.attempt:
        return
    if not _left_out(call.route, call.dispatched, said.fault, get):
        yield _ended(_minute(call.route, fact, get), said.fault, get)


def _hear(_: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RouteHeard", fact.data)
    if not _left_out(said.route, said.dispatched, said.fault, get):
        yield _ended(_minute(said.route, fact, get), said.fault, get)


def _left_out(route: str, dispatched: int, fault: str, get: Get) -> bool:
    """Whether an attempt is none of the levels': a probe, or given up by its caller."""
    health = get(HealthRow, route)
    return fault == "cancelled" or (health is not None and health.probing == dispatched)


def _ended(row: TrafficRow, fault: str, get: Get) -> Put:
    picture = fault in {"", "invalid_answer"} and _latest(row.route, get).kind == "image"
    return Put(
        msgspec.structs.replace(
            row,
            attempts=row.attempts + 1,
            timeouts=row.timeouts + int(fault == "timeout"),
            pictures=row.pictures + int(picture),
            spoilt=row.spoilt + int(picture and bool(fault)),
        )
    )


def _serve(_: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("CallServed", fact.data)
    row = _minute(said.route, fact, get)
    slow = int(said.took_ms >= ACTIVATION)
    yield Put(msgspec.structs.replace(row, fallbacks=row.fallbacks + 1, slow=row.slow + slow))


def _latest(route: str, get: Get) -> LatestRow:
    return get(LatestRow, route) or LatestRow(route=route, kind="", outcomes=b"")


def joined(before: bytes, now: bytes) -> list[bytes]:
    """The last outcomes, oldest first: those of before a turn, and those since that are new.

    Raises:
        Nothing.
    """
    old, new = packed(before), packed(now)
    last = outcomes(old[-1])[0].at if old else 0
    return [*old, *(one for one in new if outcomes(one)[0].at > last)][-OUTCOMES:]


def packed(ring: bytes) -> list[bytes]:
    """Each outcome of a ring by itself, still packed.

    Raises:
        Nothing.
    """
    size = len(with_outcome(b"", Outcome("", Micros(0))))
    return [ring[place : place + size] for place in range(0, len(ring), size)]


def _minute(route: str, fact: Fact, get: Get) -> TrafficRow:
    minute = fact.at // MINUTE
    return get(TrafficRow, route, minute) or TrafficRow(
        route=route, minute=minute, attempts=0, timeouts=0, pictures=0, spoilt=0, fallbacks=0,
        slow=0,
    )  # fmt: skip


def _turn(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RouteTurned", fact.data)
    health = get(HealthRow, said.route)
    if health is not None and said.generation < health.generation:
        return  # nothing comes back from an older state
    latest = _latest(said.route, get)
    if health is not None and health.outcomes:
        before = b"".join(joined(latest.outcomes, health.outcomes))
        yield Put(msgspec.structs.replace(latest, outcomes=before))
    yield Put(TurnRow(route=said.route, seq=seq, at=fact.at, was=said.was, state=said.state))
    if said.state not in {"open", "blocked"}:
        return
    began = health.outage if health is not None and health.outage >= 0 else seq
    yield from _delay(said.route, began, said.wait_ms, get, why=said.why)


def _check(_: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RouteChecked", fact.data)
    health = get(HealthRow, said.route)
    if health is None or health.generation != said.generation or said.alive:
        return
    if health.outage >= 0:
        yield from _delay(said.route, health.outage, said.wait_ms, get)


def _delay(route: str, began: int, wait_ms: int, get: Get, *, why: str = "") -> Iterable[Change]:
    row = get(DelayRow, route, began) or DelayRow(
        route=route, began_seq=began, wait_us=0, why=why, passed=0
    )
    yield Put(msgspec.structs.replace(row, wait_us=wait_ms * MILLISECOND))


def _review(seq: Seq, fact: Fact, _: Get) -> Iterable[Change]:
    said = cast("RouteReviewed", fact.data)
    yield Put(
        ReviewRow(
            seq=seq, at=fact.at, route=said.route, look=said.look, good=int(said.good),
            attempts=said.attempts, timeouts=said.timeouts, open_ms=said.open_ms,
        )
    )  # fmt: skip


SLO = Projection(
    name="slo",
    version=2,
    tables=(TRAFFIC, LATEST, DELAY, WOULD, TURN, REVIEW),
    folds={
        CallDispatched: _dispatch,
        CallSettled: _settle,
        CallServed: _serve,
        RouteTurned: _turn,
        RouteChecked: _check,
        RouteReviewed: _review,
        RouteHeard: _hear,
    },
)
"""Folded before the routes and the calls, whose rows it reads as they were."""
