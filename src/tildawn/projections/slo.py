"""The service levels of routes: the one place where each is defined, as SQL over the ledger.

What it is not: a judgement; `tildawn.watch.slo` says what burns and for how long it can.  The
command line, the report and alert rules all ask here, so they cannot differ.

A level is a share: so much was bad, of so much in all.  Attempts are counted a minute at a time
when they end; the time out of service is read off the outages of `tildawn.projections.route`.
"""

from collections.abc import Iterable
from typing import Literal, cast

import msgspec

from tildawn.facts.call import CallDispatched, CallServed, CallSettled
from tildawn.facts.fact import Fact
from tildawn.facts.route import RouteChecked, RouteReviewed, RouteTurned
from tildawn.ledger.fold import Change, Get, Projection, Put, Row, Table
from tildawn.ledger.reader import Reader
from tildawn.projections.attempts import Outcome, kind_of, outcomes, with_outcome
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
    """What class of calls a route carries, and what the last of them came to.

    Beside the history that the breaker judges, which begins anew when it opens: a person wants
    to see what made it open.
    """

    route: str
    kind: str
    #: Packed as in `tildawn.projections.attempts`.
    outcomes: bytes


class DelayRow(Row, frozen=True, kw_only=True):
    """What tells our own delay from an outage: the last wait before a check, in microseconds."""

    route: str
    began_seq: int
    wait_us: int
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
    latest = _latest(call.route, get)
    kind = kind_of(said.fault, asked_wait=said.asked_wait_ms > 0)
    if kind is not None:
        ring = with_outcome(latest.outcomes, Outcome(kind, Micros(fact.at)))
        yield Put(msgspec.structs.replace(latest, outcomes=ring))
    health = get(HealthRow, call.route)
    if said.fault == "cancelled" or (health is not None and health.probing == call.dispatched):
        return
    picture = latest.kind == "image" and said.fault in {"", "invalid_answer"}
    row = _minute(call.route, fact, get)
    yield Put(
        msgspec.structs.replace(
            row,
            attempts=row.attempts + 1,
            timeouts=row.timeouts + int(said.fault == "timeout"),
            pictures=row.pictures + int(picture),
            spoilt=row.spoilt + int(picture and bool(said.fault)),
        )
    )


def _serve(_: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("CallServed", fact.data)
    row = _minute(said.route, fact, get)
    slow = int(said.took_ms >= ACTIVATION)
    yield Put(msgspec.structs.replace(row, fallbacks=row.fallbacks + 1, slow=row.slow + slow))


def _latest(route: str, get: Get) -> LatestRow:
    return get(LatestRow, route) or LatestRow(route=route, kind="", outcomes=b"")


def _minute(route: str, fact: Fact, get: Get) -> TrafficRow:
    minute = fact.at // MINUTE
    return get(TrafficRow, route, minute) or TrafficRow(
        route=route, minute=minute, attempts=0, timeouts=0, pictures=0, spoilt=0, fallbacks=0,
        slow=0,
    )  # fmt: skip


def _turn(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RouteTurned", fact.data)
    health = get(HealthRow, said.route)
    if said.state not in {"open", "blocked"} or (
        health is not None and said.generation < health.generation
    ):
        return
    began = health.outage if health is not None and health.outage >= 0 else seq
    yield from _delay(said.route, began, said.wait_ms, get)


def _check(_: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RouteChecked", fact.data)
    health = get(HealthRow, said.route)
    if health is None or health.generation != said.generation or said.alive:
        return
    if health.outage >= 0:
        yield from _delay(said.route, health.outage, said.wait_ms, get)


def _delay(route: str, began: int, wait_ms: int, get: Get) -> Iterable[Change]:
    row = get(DelayRow, route, began) or DelayRow(route=route, began_seq=began, wait_us=0, passed=0)
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
    version=1,
    tables=(TRAFFIC, LATEST, DELAY, WOULD, REVIEW),
    folds={
        CallDispatched: _dispatch,
        CallSettled: _settle,
        CallServed: _serve,
        RouteTurned: _turn,
        RouteChecked: _check,
        RouteReviewed: _review,
    },
)
"""Folded before the routes and the calls, whose rows it reads as they were."""


# -- the definitions -----------------------------------------------------------------------


class Objective(msgspec.Struct, frozen=True, kw_only=True):
    """One service level: what is bad, of what, and how much of it is allowed.

    ``sql`` gives route, bad and total for the window from ``?1`` to ``?2`` (microseconds), of
    the route ``?3`` or of each where that is empty.
    """

    name: str
    #: What is promised, for people.
    promise: str
    #: Allowed share of bad in parts per million.
    allowed_ppm: int
    unit: Literal["attempts", "time", "fallbacks", "pictures"]
    sql: str


def _of_minutes(bad: str, total: str) -> str:
    return (
        f"SELECT route, sum({bad}), sum({total}) FROM slo_minute"  # noqa: S608  our own columns
        f" WHERE minute >= ?1 / {MINUTE} AND minute * {MINUTE} < ?2 AND (?3 = '' OR route = ?3)"
        f" GROUP BY route HAVING sum({total}) > 0 ORDER BY route"
    )


# Of an outage: the part within the window.  A person's part (blocked) is not the breaker's, and
# a breaker that only watched kept nothing from being sent.
_OUT = (
    " FROM outage LEFT JOIN slo_delay USING (route, began_seq)"
    " WHERE blocked = 0 AND coalesce(passed, 0) = 0"
    " AND began < ?2 AND (ended = 0 OR ended > ?1) AND (?3 = '' OR route = ?3)"
)
_WITHIN = "min(CASE ended WHEN 0 THEN ?2 ELSE ended END, ?2) - max({since}, ?1)"
_OPEN = _WITHIN.format(since="began")
# Since the other side was last seen dead it may have been back; the last wait bounds what of
# that was ours to find out.
_EXCESS = (
    f"max(min({_WITHIN.format(since='dead_at')},"
    f" coalesce(nullif(wait_us, 0), {_WITHIN.format(since='dead_at')})), 0)"
)

OBJECTIVES: tuple[Objective, ...] = (
    Objective(
        name="timeouts", promise="fewer than 5 % of attempts run into their time limit",
        allowed_ppm=50_000, unit="attempts", sql=_of_minutes("timeouts", "attempts"),
    ),
    Objective(
        name="open", promise="out of service for less than 2 min a day",
        allowed_ppm=120 * 1_000_000 // 86_400, unit="time",
        sql=f"SELECT route, sum({_OPEN}), ?2 - ?1 {_OUT} GROUP BY route ORDER BY route",
    ),
    Objective(
        name="fallback", promise="something else is served in less than 2 s, 99 of 100 times",
        allowed_ppm=10_000, unit="fallbacks", sql=_of_minutes("slow", "fallbacks"),
    ),
    Objective(
        name="pictures", promise="every picture that arrives is one",
        allowed_ppm=0, unit="pictures", sql=_of_minutes("spoilt", "pictures"),
    ),
)  # fmt: skip
"""Source: the specification: timeouts < 5 %, open < 2 min a day, fallback < 2 s, pictures 100 %."""

EXCESS_SQL = f"SELECT route, sum({_EXCESS}), sum({_OPEN}) {_OUT} GROUP BY route ORDER BY route"
"""Time out of service that was our own delay (``open_excess_s``), of all of it (``open_s``)."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One route within a window: so much bad of so much; microseconds where it is time."""

    route: str
    bad: int
    total: int


# -- questions -----------------------------------------------------------------------------


def measure(
    reader: Reader, objective: Objective, *, since: Micros, until: Micros, route: str = ""
) -> list[Measured]:
    """A service level within a window, by route; routes without anything to measure are left out.

    Args:
        reader: one read transaction.
        objective: one of `OBJECTIVES`.
        since: the beginning; whole minutes are counted.
        until: the end.
        route: only this one; all when empty.

    Raises:
        Nothing.
    """
    rows = reader.query(objective.sql, (since, until, route))
    return [Measured(route=name, bad=bad, total=total) for name, bad, total in rows]


def excess(reader: Reader, *, since: Micros, until: Micros, route: str = "") -> list[Measured]:
    """Time out of service that was our own delay, of all of it, by route.

    Raises:
        Nothing.
    """
    rows = reader.query(EXCESS_SQL, (since, until, route))
    return [Measured(route=name, bad=bad, total=total) for name, bad, total in rows]


def kind_of_route(reader: Reader, route: str) -> str:
    """What class of calls a route carries; empty where none was sent yet.

    Raises:
        Nothing.
    """
    row = reader.get(LatestRow, route)
    return row.kind if row is not None else ""


def last_outcomes(reader: Reader, route: str) -> list[Outcome]:
    """What the last attempts of a route came to, oldest first; paid probes are among them.

    Raises:
        Nothing.
    """
    row = reader.get(LatestRow, route)
    return outcomes(row.outcomes) if row is not None else []


def delay_of(reader: Reader, route: str, began_seq: int) -> DelayRow | None:
    """What is known of the checks of an outage, or None.

    Raises:
        Nothing.
    """
    return reader.get(DelayRow, route, began_seq)


def would_have(reader: Reader, night: str) -> list[WouldRow]:
    """What the guard would have done to calls of a night, by route; the empty night is no night.

    Raises:
        Nothing.
    """
    return reader.rows(WouldRow, "night = ?", (night,))


def reviews(reader: Reader, *, since: Micros, until: Micros) -> list[ReviewRow]:
    """The looks at promoted routes within a window, oldest first.

    Raises:
        Nothing.
    """
    return reader.rows(ReviewRow, "at BETWEEN ? AND ?", (since, until))


class Paid(msgspec.Struct, frozen=True, kw_only=True):
    """Checks that were paid for: how many, what they cost, and where the last one ended."""

    probes: int
    micro_usd: int
    seq: int


def paid_probes(reader: Reader, route: str, *, since: Micros, until: Micros) -> Paid:
    """What it cost to find out whether a route was back; work that tested it is not counted.

    Raises:
        Nothing.
    """
    [(probes, spent, seq)] = reader.query(
        "SELECT count(*), coalesce(sum(spend), 0), coalesce(max(state_at), -1) FROM call"
        " WHERE run = ? AND route = ? AND sent_at BETWEEN ? AND ?",
        (PROBES, route, since, until),
    )
    return Paid(probes=probes, micro_usd=spent, seq=seq)


class ServedSum(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of a route that something else answered: which tier, why, and how many."""

    route: str
    tier: str
    instead: str
    calls: int
    first: int


def served_instead(reader: Reader, night: str) -> list[ServedSum]:
    """What was served in place of the primary in a night, most frequent first.

    Raises:
        Nothing.
    """
    rows = reader.query(
        "SELECT call.route, call.tier, call.instead, count(*), min(call.settled) FROM call"
        " JOIN run USING (run) WHERE run.night = ? AND call.tier <> ''"
        " AND call.state = 'settled' AND call.fault = ''"
        " GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3",
        (night,),
    )
    return [
        ServedSum(route=route, tier=tier, instead=instead, calls=calls, first=first)
        for route, tier, instead, calls, first in rows
    ]
