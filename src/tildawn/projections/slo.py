"""The service levels of routes: the one place where each is defined, as SQL over the ledger.

What it is not: a judgement; `tildawn.watch.slo` says what burns and for how long it can.  The
command line, the report and alert rules all ask here, so they cannot differ.

A level is a share: so much was bad, of so much in all, by the tables of
`tildawn.projections.traffic` and by the outages of `tildawn.projections.route`.
"""

from typing import Literal

import msgspec

from tildawn.ledger.reader import Reader
from tildawn.projections.attempts import Outcome, outcomes
from tildawn.projections.route import OutageRow, health_of
from tildawn.projections.traffic import (
    MINUTE,
    PROBES,
    DelayRow,
    LatestRow,
    ReviewRow,
    TurnRow,
    WouldRow,
    joined,
)
from tildawn.units import Micros


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
    row, health = reader.get(LatestRow, route), health_of(reader, route)
    return outcomes(b"".join(joined(row.outcomes if row is not None else b"", health.outcomes)))


def delay_of(reader: Reader, route: str, began_seq: int) -> DelayRow | None:
    """What is known of the checks of an outage, or None.

    Raises:
        Nothing.
    """
    return reader.get(DelayRow, route, began_seq)


def own_delay(outage: OutageRow, delay: DelayRow | None, end: int) -> Micros:
    """How much of an outage was our own delay: at most our wait after it was last seen dead.

    It is `EXCESS_SQL` for one outage.

    Args:
        outage: of some route.
        delay: what is known of its checks.
        end: where the outage ended, or the end of what is looked at.

    Raises:
        Nothing.
    """
    if outage.blocked:
        return Micros(0)  # a person had to do something
    since_dead = max(end - outage.dead_at, 0)
    return Micros(min(since_dead, delay.wait_us if delay and delay.wait_us else since_dead))


def state_at(reader: Reader, route: str, seq: int) -> tuple[str, Micros]:
    """The state of a route before a position, and since when; closed since 0 where none turned it.

    Raises:
        Nothing.
    """
    rows = reader.rows(TurnRow, "route = ? AND seq < ?", (route, seq), order="seq DESC", limit=1)
    return (rows[0].state, Micros(rows[0].at)) if rows else ("closed", Micros(0))


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
