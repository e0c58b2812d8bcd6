"""When a route is taken out of service: the trip rules of the breaker, each with a name.

What it is not: the breaker.  States and probes are facts of `tildawn.facts.route`; these rules
only say whether history is a reason to open, and they never close anything.
"""

from collections.abc import Mapping, Sequence

import msgspec

from tildawn.guard.policy import BreakerPolicy
from tildawn.projections.attempts import BAD, KINDS, Outcome
from tildawn.units import SECOND, Micros


WHOLE = 1_000
"""A full failure, in parts per thousand."""

WEIGHTS: Mapping[str, int] = dict.fromkeys(KINDS, 0) | {
    "timeout": WHOLE, "server": 800, "network": 800, "invalid_answer": 800, "rate": 500,
}  # fmt: skip
"""How much of a failure each kind is.  What is 0 proves that the other side answers; what is not
here says nothing about a route.
Source: the weights of the specification."""

BLOCKING: Mapping[str, str] = {
    "auth": "the other side does not accept our key",
    "quota": "the account at the other side is used up",
}
"""Kinds of which one is enough, in words for people."""


class Trip(msgspec.Struct, frozen=True):
    """A reason to open: the rule, and the numbers behind it in plain words."""

    #: ``timeouts-in-a-row``, ``share``, ``failure-tokens``, ``overdue``, ``auth`` or ``quota``.
    cause: str
    why: str


def tripped(outcomes: Sequence[Outcome], policy: BreakerPolicy, *, now: Micros) -> Trip | None:
    """Whether what the last attempts came to is a reason to open.

    Where several rules hold, the first of timeouts in a row, share and failure tokens is named:
    the shortest story first.

    Args:
        outcomes: those of the present generation, oldest first.
        policy: the numbers.
        now: the instant by the wall clock; outcomes may lie after it when the clock was set back.

    Returns:
        The first rule that holds, or None.

    Raises:
        Nothing.
    """
    # Counted once, and each rule asked only where so many could be enough: this runs after every
    # attempt, and most routes are well most of the time.
    failures = len([one for one in outcomes if one.kind in BAD])
    if not failures:
        return None
    if failures >= policy.in_a_row and (trip := _in_a_row(outcomes, policy, now=now)):
        return trip
    if failures * 100 >= policy.least * policy.share and (
        trip := _share(outcomes, policy, now=now)
    ):
        return trip
    return _tokens(outcomes, policy, now=now) if failures >= policy.tokens else None


def blocks(kind: str) -> Trip | None:
    """Whether one outcome is enough to take a route out of service until a person acts.

    Args:
        kind: one of `tildawn.projections.attempts.KINDS`.

    Returns:
        The reason, or None.

    Raises:
        Nothing.
    """
    said = BLOCKING.get(kind)
    return None if said is None else Trip(kind, f"{said}; a person must act")


def overdue(
    ages: Sequence[Micros],
    *,
    expected: Micros,
    settled: Sequence[Outcome],
    policy: BreakerPolicy,
    now: Micros,
) -> Trip | None:
    """Whether calls in flight take so long that the route is a failure before they end.

    Calls older than expected count as failures, beside what was settled in the same stretch of
    time.  Of 25 attempts that hang for a minute each, the share alone learns after 13 minutes.

    Args:
        ages: how long each attempt in flight has taken so far, microseconds.
        expected: the 95th percentile of the route; 0 where nothing is known, and then nothing
            is overdue.
        settled: the last outcomes, in any order.
        policy: the numbers; ``share`` is the threshold here too.
        now: the instant by the wall clock.

    Returns:
        The reason, or None.

    Raises:
        Nothing.
    """
    late = sum(age > expected for age in ages)
    if expected <= 0 or late < max(policy.overdue_least, 1):
        return None
    recent = [one for one in settled if now - one.at < expected]
    failed = sum(WEIGHTS.get(one.kind, 0) for one in recent) + WHOLE * late
    among = sum(one.kind in WEIGHTS for one in recent) + len(ages)
    if failed * 100 < policy.share * WHOLE * among:
        return None
    why = (
        f"{late} of {len(ages)} calls under way take longer than {_seconds(expected)}, "
        f"with {len(recent)} ended meanwhile"
    )
    return Trip("overdue", why)


def timeouts(outcomes: Sequence[Outcome], policy: BreakerPolicy, *, now: Micros) -> int:
    """Timeouts in a row up to now; a silence longer than ``oldest`` ends the row.

    An age for all of them would make a route whose calls take ten minutes immune.

    Args:
        outcomes: those of the present generation, oldest first.
        policy: the numbers.
        now: the instant by the wall clock.

    Raises:
        Nothing.
    """
    row, later = 0, now
    for one in reversed(outcomes):
        if one.kind != "timeout" or later - one.at >= policy.oldest:
            break
        row, later = row + 1, one.at
    return row


def share(outcomes: Sequence[Outcome], policy: BreakerPolicy, *, now: Micros) -> int:
    """Weighted failures among the last attempts that are young enough, however few there are.

    Args:
        outcomes: those of the present generation, oldest first.
        policy: the numbers.
        now: the instant by the wall clock.

    Returns:
        Percent, rounded down; 0 without attempts.

    Raises:
        Nothing.
    """
    weights = _weights(outcomes, policy, now=now)
    return sum(weights) * 100 // (WHOLE * len(weights)) if weights else 0


# -- rules ---------------------------------------------------------------------------------


def _in_a_row(outcomes: Sequence[Outcome], policy: BreakerPolicy, *, now: Micros) -> Trip | None:
    row = timeouts(outcomes, policy, now=now)
    if row < max(policy.in_a_row, 1):
        return None
    return Trip("timeouts-in-a-row", f"{row} timeouts in a row")


def _share(outcomes: Sequence[Outcome], policy: BreakerPolicy, *, now: Micros) -> Trip | None:
    weights = _weights(outcomes, policy, now=now)
    among, total = len(weights), sum(weights)
    if among < max(policy.least, 1) or total * 100 < policy.share * WHOLE * among:
        return None
    failed = sum(value > 0 for value in weights)
    reached = total * 100 // (WHOLE * among)
    why = f"{failed} of the last {among} attempts failed; weighted {reached} %, at most {policy.share} %"
    return Trip("share", why)


def _weights(outcomes: Sequence[Outcome], policy: BreakerPolicy, *, now: Micros) -> list[int]:
    born = now - policy.oldest
    return [
        WEIGHTS[one.kind]
        for one in outcomes[-policy.window :]
        if one.at > born and one.kind in WEIGHTS
    ]


def _tokens(outcomes: Sequence[Outcome], policy: BreakerPolicy, *, now: Micros) -> Trip | None:
    """A bucket of failures from which answers take, and time takes one each ``drain``."""
    level, since = 0, 0
    for one in outcomes:
        level, since = _drained(level, since, policy.drain, at=one.at)
        if one.kind in BAD:
            level += 1
        elif one.kind == "":
            level = max(level - 1, 0)
    level, _ = _drained(level, since, policy.drain, at=now)
    if level < max(policy.tokens, 1):
        return None
    return Trip("failure-tokens", f"{level} failures that no answer and no time made up for")


def _drained(level: int, since: int, drain: int, *, at: int) -> tuple[int, int]:
    """The level at an instant, and the instant from which the next token drains.

    Whole tokens drain, so five failures within a minute are five.  The minutes of an empty
    bucket do not count, nor those by which the clock was set back.
    """
    if at < since or drain <= 0:
        return level, at
    gone = min((at - since) // drain, level)
    return (0, at) if gone == level else (level - gone, since + gone * drain)


def _seconds(time: int) -> str:
    return f"{time / SECOND:g} s"
