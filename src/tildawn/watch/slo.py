"""Service levels judged: what burns, how fast, and when nothing is left; said in words.

What it is not: their definition; that is SQL in `tildawn.projections.slo`.  Alert rules are
the table `RULES`, so whoever generates them elsewhere cannot say something else.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from tildawn.ledger.reader import Reader
from tildawn.projections.night import NightRow
from tildawn.projections.run import RunRow
from tildawn.projections.slo import (
    OBJECTIVES,
    Measured,
    Objective,
    excess,
    last_outcomes,
    measure,
)
from tildawn.projections.traffic import DAY, HOUR, MINUTE
from tildawn.units import Micros
from tildawn.watch.words import NBSP, Times, count, length


Severity = Literal["page", "ticket"]

FEW = 10
"""Below so many attempts in the short window shares say nothing, and counts are judged."""

SURE = 0.95
"""How sure it must be that the true share is above the allowed one, where attempts are few."""

IN_A_ROW = 3


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm: the allowance burns so many times too fast, over both windows."""

    slo: str
    severity: Severity
    #: Tenths: 144 is 14.4 times the pace that uses up the allowance exactly.
    burn_tenths: int
    long: Micros
    short: Micros
    #: Least total of the short window, and least number of bad ones in the long one.
    total: int = 0
    bad: int = 1


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm: so much of a day's allowance is gone within a window."""

    slo: str
    severity: Severity
    percent: int
    window: Micros


RULES: tuple[Rule | Spent, ...] = (
    Rule(slo="timeouts", severity="page", burn_tenths=144, long=Micros(HOUR),
         short=Micros(5 * MINUTE), total=FEW),
    Rule(slo="timeouts", severity="page", burn_tenths=60, long=Micros(6 * HOUR),
         short=Micros(30 * MINUTE), total=FEW),
    Rule(slo="timeouts", severity="ticket", burn_tenths=30, long=Micros(DAY),
         short=Micros(2 * HOUR), total=FEW),
    Rule(slo="timeouts", severity="ticket", burn_tenths=10, long=Micros(3 * DAY),
         short=Micros(6 * HOUR), total=FEW),
    Spent(slo="open", severity="page", percent=50, window=Micros(HOUR)),
    Spent(slo="open", severity="page", percent=100, window=Micros(DAY)),
    Spent(slo="open", severity="ticket", percent=25, window=Micros(DAY)),
    Rule(slo="fallback", severity="page", burn_tenths=144, long=Micros(HOUR),
         short=Micros(5 * MINUTE), bad=3),
    Rule(slo="fallback", severity="ticket", burn_tenths=10, long=Micros(3 * DAY),
         short=Micros(3 * DAY)),
    Rule(slo="pictures", severity="ticket", burn_tenths=0, long=Micros(DAY), short=Micros(DAY)),
)  # fmt: skip
"""Source: multi-window burn rates for the levels of the specification; at 5 % allowed, a burn of
14.4 is 72 % timeouts, 6 is 30 %, 3 is 15 %."""


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that holds now, and the numbers behind it."""

    severity: Severity
    words: str


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """One service level of one route within a window; instants and times are microseconds."""

    slo: str
    promise: str
    route: str
    since: int
    until: int
    unit: str
    bad: int
    total: int
    #: How much bad was allowed in this window.
    allowed: int
    kept: bool
    #: Of time out of service: the part that was our own delay.
    excess: int
    #: When nothing is left at the pace of the last hour: 0 for never, ``until`` when it is so now.
    empty_at: int
    alarms: tuple[Alarm, ...]


def levels(reader: Reader, *, until: Micros, since: Micros, route: str = "") -> tuple[Level, ...]:
    """Every service level of every route that has anything to measure.

    Args:
        reader: one read transaction.
        until: the end of the window, and the instant at which alarms are judged.
        since: its beginning.
        route: only this one; all when empty.

    Returns:
        By level, then by route.

    Raises:
        Nothing.
    """
    delays = {one.route: one.bad for one in excess(reader, since=since, until=until, route=route)}
    return tuple(
        _level(reader, objective, one, since=since, until=until, delay=delays.get(one.route, 0))
        for objective in OBJECTIVES
        for one in measure(reader, objective, since=since, until=until, route=route)
    )


def _level(
    reader: Reader, objective: Objective, one: Measured, *, since: Micros, until: Micros, delay: int
) -> Level:
    allowed = allowed_of(objective, one.total)
    return Level(
        slo=objective.name,
        promise=objective.promise,
        route=one.route,
        since=since,
        until=until,
        unit=objective.unit,
        bad=one.bad,
        total=one.total,
        allowed=allowed,
        kept=one.bad == 0 or one.bad < allowed,
        excess=delay if objective.unit == "time" else 0,
        empty_at=_empty_at(reader, objective, one.route, until),
        alarms=tuple(_alarms(reader, objective, one.route, until)),
    )


def allowed_of(objective: Objective, total: int) -> int:
    """How much bad a window may hold; of time always that of a whole day.

    Raises:
        Nothing.
    """
    if objective.unit == "time":
        total = max(total, DAY)
        # Exactly two minutes a day, and not what parts per million make of it.
        return total * 120 // 86_400
    return -(-total * objective.allowed_ppm // 1_000_000)


def _empty_at(reader: Reader, objective: Objective, route: str, now: Micros) -> int:
    """When the day's allowance is gone if the last hour goes on; what comes in anew is counted."""
    day = _one(reader, objective, route, now - DAY, now)
    hour = _one(reader, objective, route, now - HOUR, now)
    left = objective.allowed_ppm * day.total - 1_000_000 * day.bad
    if day.bad and left <= 0:
        return now
    loses = 1_000_000 * hour.bad - objective.allowed_ppm * hour.total
    lasts = left * HOUR // loses if loses > 0 else 0
    # What lasts for a day is new by then.
    return now + lasts if 0 < lasts < DAY else 0


def _one(reader: Reader, objective: Objective, route: str, since: int, until: int) -> Measured:
    found = measure(reader, objective, since=Micros(since), until=Micros(until), route=route)
    return found[0] if found else Measured(route=route, bad=0, total=0)


# -- alarms --------------------------------------------------------------------------------


def _alarms(reader: Reader, objective: Objective, route: str, now: Micros) -> Iterator[Alarm]:
    for rule in RULES:
        if rule.slo != objective.name:
            continue
        long = rule.window if isinstance(rule, Spent) else rule.long
        seen = _one(reader, objective, route, now - long, now)
        if isinstance(rule, Spent):
            if seen.bad * 100 >= rule.percent * allowed_of(objective, DAY):
                yield Alarm(severity=rule.severity, words=_spent(rule, seen))
            continue
        brief = _one(reader, objective, route, now - rule.short, now)
        if burns(rule, seen, brief, allowed_ppm=objective.allowed_ppm):
            yield Alarm(severity=rule.severity, words=_burning(rule, seen))
    if objective.name == "timeouts":
        yield from _few(reader, objective, route, now)


def burns(rule: Rule, long: Measured, short: Measured, *, allowed_ppm: int) -> bool:
    """Whether the allowance burns too fast over both windows.

    Args:
        rule: the windows and the pace.
        long: what the long window holds.
        short: what the short window holds: whether it still goes on.
        allowed_ppm: the share that is allowed.

    Raises:
        Nothing.
    """
    if short.total < max(rule.total, 1) or long.bad < rule.bad:
        return False
    limit = rule.burn_tenths * allowed_ppm
    return all(one.bad and one.bad * 10_000_000 >= limit * one.total for one in (long, short))


def _few(reader: Reader, objective: Objective, route: str, now: Micros) -> Iterator[Alarm]:
    """Few attempts in the last minutes: counts say what shares cannot."""
    if _one(reader, objective, route, now - 5 * MINUTE, now).total >= FEW:
        return
    last = last_outcomes(reader, route)[-IN_A_ROW:]
    fresh = all(one.kind == "timeout" and one.at > now - HOUR for one in last)
    if len(last) == IN_A_ROW and fresh:
        yield Alarm(severity="page", words=f"the last {IN_A_ROW} attempts all ran into their limit")
    hour = _one(reader, objective, route, now - HOUR, now)
    if hour.total and hour.bad >= least_alarming(hour.total):
        words = f"{hour.bad} of {count(hour.total, 'attempt')} in an hour cannot be chance"
        yield Alarm(severity="page", words=words)


def surely_above(bad: int, total: int) -> float:
    """How likely it is that more than 5 % of attempts run into their limit.

    Args:
        bad: how many did, 0 to ``total``.
        total: of how many.

    Returns:
        The posterior probability, 0 to 1, after a prior of Beta(1, 19), whose mean is 5 %.

    Raises:
        Nothing.

    Source: the regularised incomplete beta function of whole numbers is a binomial sum.
    """
    n, share = 19 + total, 0.05
    return sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(bad + 1))


def least_alarming(total: int) -> int:
    """How many timeouts of so many attempts are an alarm: 3 of 5, 4 of 10.

    Args:
        total: attempts, >= 1.

    Returns:
        The least number for which `surely_above` is above `SURE`; above ``total`` for none.

    Raises:
        Nothing.
    """
    return next((bad for bad in range(1, total + 1) if surely_above(bad, total) > SURE), total + 1)


def night_alarm(reader: Reader, night: NightRow, *, now: Micros) -> Alarm | None:
    """Whether half of what a night may lose to timeouts is gone in the first quarter of it.

    A night's allowance is 5 % of the attempts that its plan comes to, if each run that has not
    begun makes as many as those that have.

    Raises:
        Nothing.
    """
    since = Micros(night.opened_at or night.accepted_at)
    seen = measure(reader, OBJECTIVES[0], since=since, until=now)
    bad, tries = sum(one.bad for one in seen), sum(one.total for one in seen)
    begun = reader.count(RunRow, "night = ? AND started_at > 0 AND parent = ''", (night.night,))
    ended = reader.count(RunRow, "night = ? AND ended_at > 0 AND parent = ''", (night.night,))
    if not begun or ended * 4 > night.planned or bad < IN_A_ROW:
        return None
    planned = max(tries * night.planned // begun, tries)
    if bad * 40 < planned:
        return None
    words = (
        f"half of what the night may lose to timeouts is gone in its first quarter:"
        f" {bad} of about {planned} attempts"
    )
    return Alarm(severity="ticket", words=words)


# -- words ---------------------------------------------------------------------------------


def _spent(rule: Spent, seen: Measured) -> str:
    return f"out of service for {length(seen.bad)} within {length(rule.window)}"


def _burning(rule: Rule, seen: Measured) -> str:
    return f"{seen.bad} of {seen.total} within {length(rule.long)}"


def sentences(level: Level, times: Times) -> tuple[str, ...]:
    """A level as a person reads it: what was measured, then how long what is left will do.

    Args:
        level: any.
        times: the zone for clock times.

    Raises:
        Nothing.
    """
    return (_measured(level), *_left(level, times), *_loud(level.alarms))


def _measured(level: Level) -> str:
    if level.unit == "time":
        own = f", {length(level.excess)} of it our own delay" if level.excess else ""
        return f"Out of service for {length(level.bad)}{own}; allowed are {length(level.allowed)}."
    what = {
        "attempts": "ran into their time limit", "fallbacks": "took 2 s or more",
        "pictures": "could not be used",
    }[level.unit]  # fmt: skip
    noun = level.unit[:-1] if level.total == 1 else level.unit
    return f"{level.bad} of {level.total} {noun} {what}{_percent(level)}."


def _percent(level: Level) -> str:
    if not level.bad:
        return ""
    return f", {level.bad * 100 / level.total:.1f}{NBSP}%"


def _left(level: Level, times: Times) -> Iterator[str]:
    if level.empty_at == level.until:
        yield "The day's allowance is used up."
    elif level.empty_at:
        left = length(level.empty_at - level.until)
        yield (
            f"At the pace of the last hour the day's allowance is used up in {left},"
            f" at {times.clock(level.empty_at)}."
        )


def _loud(alarms: Iterable[Alarm]) -> Iterator[str]:
    """The first of the louder ones: the others say the same with other windows."""
    found = sorted(alarms, key=lambda alarm: alarm.severity != "page")
    if found:
        word = "Look at it now" if found[0].severity == "page" else "Look at it by day"
        yield f"{word}: {found[0].words}."
