"""The limiter: so many at once and one more every so often, kept as one instant (GCRA).

What it is not: a queue, or a state.  ``tat``, the theoretical arrival time, is the instant by
the wall clock at which the bucket is full again; 0 is a full one.  It is kept with the route,
so a house that was killed has not forgotten what it sent.

Source: the generic cell rate algorithm, ITU-T I.371.
"""

from tildawn.guard.policy import RatePolicy
from tildawn.units import Micros


def wait(tat: Micros, rate: RatePolicy, *, cost: int = 1, now: Micros) -> Micros:
    """How long until something may go.

    Args:
        tat: what `taken` gave last, 0 at first.
        rate: the numbers; a burst below 1 counts as 1.
        cost: tokens that it takes, >= 0.  More than the burst count as the burst: it goes when
            the bucket is full and leaves it empty, and the rate above that is not held back.
        now: the instant by the wall clock.

    Returns:
        Microseconds, 0 where it may go now; at most the time in which the bucket fills.

    Raises:
        Nothing.
    """
    full = _full(rate)
    left = _known(tat, full, now) + _price(cost, rate, full) - now - full
    return Micros(max(0, left))


def taken(tat: Micros, rate: RatePolicy, *, cost: int = 1, now: Micros) -> Micros:
    """The instant to keep after something went; ask `wait` first.

    Args:
        tat: what was kept.
        rate: the numbers.
        cost: as for `wait`.
        now: the instant by the wall clock.

    Returns:
        The new instant; at most the time of a full bucket ahead of now.

    Raises:
        Nothing.
    """
    full = _full(rate)
    then, most = _known(tat, full, now) + _price(cost, rate, full), now + full
    return Micros(min(most, then))


def returned(tat: Micros, rate: RatePolicy, *, cost: int = 1, now: Micros) -> Micros:
    """The instant to keep after what had been taken was not used.

    Args:
        tat: what is kept; others may have taken meanwhile.
        rate: the numbers.
        cost: what had been taken.
        now: the instant by the wall clock.

    Returns:
        The new instant, at least now: a bucket does not grow beyond full.

    Raises:
        Nothing.
    """
    full = _full(rate)
    return Micros(max(_known(tat, full, now) - _price(cost, rate, full), now))


def _full(rate: RatePolicy) -> int:
    return (max(1, rate.burst)) * rate.every


def _known(tat: int, full: int, now: int) -> int:
    """What is kept, read at an instant: never before it, nor further ahead than an empty bucket.

    A clock that was set back by a day must not close a route for a day.
    """
    # Comparisons, as every call comes by here; min and max cost three times as much.
    if tat <= now:
        return now
    return min(now + full, tat)


def _price(cost: int, rate: RatePolicy, full: int) -> int:
    if cost == 1:
        return rate.every
    return min(max(cost, 0) * rate.every, full)
