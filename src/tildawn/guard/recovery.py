"""How the guard finds out that the other side is back: waits, money for it, and the way up.

What it is not: the asking; that is `tildawn.guard.probe`.
"""

from collections.abc import Iterator, Sequence

from tildawn.guard.policy import RecoveryPolicy, RoutePolicy
from tildawn.projections.attempts import PROBES, Probe
from tildawn.projections.route import HealthRow
from tildawn.units import SECOND, Micros, MicroUsd


HOUR = 3_600 * SECOND


def next_wait(previous: Micros, policy: RecoveryPolicy, *, chance: float) -> tuple[Micros, Micros]:
    """How long until the other side is asked for the next time.

    Args:
        previous: the wait before the last time, without its jitter; 0 for the first.
        policy: the numbers.
        chance: a number drawn evenly from [0, 1).

    Returns:
        The wait to remember, and the one to make: it differs by the jitter in either direction,
        so that many routes do not ask in step.

    Raises:
        Nothing.
    """
    plain = min(previous * 2 if previous > 0 else policy.first, policy.longest)
    swing = policy.jitter_ppm / 1_000_000
    return Micros(plain), Micros(round(plain * (1 + swing * (2 * chance - 1))))


def paid_allowed(
    probes: Sequence[Probe], policy: RecoveryPolicy, *, cost: MicroUsd, now: Micros
) -> Micros:
    """When a probe may be paid for.

    Args:
        probes: those that were paid for lately, oldest first.
        policy: how many an hour, and how much money an hour.
        cost: the most that the probe may cost, micro-USD.
        now: the instant by the wall clock.

    Returns:
        0 for now; else the first instant at which the hour before it leaves room.  A probe that
        alone costs more than an hour may cost is never allowed: the instant is an hour ahead,
        and again then.

    Raises:
        Nothing.
    """
    held = sorted(one for one in _leave(probes, now) if one[0] > now)
    left = min(policy.paid_an_hour, PROBES) - len(held)
    money = policy.usd_an_hour - cost - sum(paid for _, paid in held)
    allowed = 0
    for at, paid in held:
        if left > 0 and money >= 0:
            break
        allowed, left, money = at, left + 1, money + paid
    return Micros(allowed if left > 0 and money >= 0 else now + HOUR)


def _leave(probes: Sequence[Probe], now: Micros) -> Iterator[tuple[int, int]]:
    """The instant at which each probe is an hour old, and what it cost; newest first.

    Instants are kept in whole seconds, so a probe may have been sent up to a second later.  One
    that seems later than its successor was sent before the clock was set back, and at least as
    long ago as that.  One that is over an hour ahead of now is forgotten, until a successor says
    more: a clock that was a year wrong must not end probes for a year.
    """
    later: int | None = None
    for one in reversed(probes):
        at = one.at if later is None else min(one.at, later)
        if at <= now + HOUR:
            later = at
            yield at + SECOND + HOUR, one.cost


def ramp_for(streak: int, policy: RecoveryPolicy) -> int:
    """How many attempts may be under way at once while a route comes back.

    Args:
        streak: attempts proven good in a row since it did.
        policy: the steps.

    Returns:
        Attempts at once, 0 for no limit of the breaker's.

    Raises:
        Nothing.
    """
    step = max(streak, 1) - 1
    return policy.ramp[step] if step < len(policy.ramp) else 0


def at_once(row: HealthRow, policy: RoutePolicy) -> int:
    """How many attempts of a route in service may be under way at once.

    Args:
        row: the route; what `ramp_for` lets in holds while it comes back and shortly after.
        policy: its numbers.

    Returns:
        Attempts at once, the lower of the two limits; 0 for none.

    Raises:
        Nothing.
    """
    coming = row.state == "ramp" or row.fresh
    ramp, most = ramp_for(row.streak, policy.recovery) if coming else 0, policy.concurrency
    return min(ramp, most) if ramp and most else ramp or most


def relapsed(relapses: int, policy: RecoveryPolicy) -> bool:
    """Whether so many attempts failed soon after recovery that there was none.

    Args:
        relapses: failures since the other side was proven to be back.
        policy: how many are borne.

    Returns:
        Whether to open again.

    Raises:
        Nothing.
    """
    return relapses > policy.relapses
