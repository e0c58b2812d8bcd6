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
    ahead = _known(tat, rate, now) + _price(cost, rate) - now
    return Micros(max(ahead - _full(rate), 0))


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
    then = _known(tat, rate, now) + _price(cost, rate)
    return Micros(min(then, now + _full(rate)))


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
    return Micros(max(_known(tat, rate, now) - _price(cost, rate), now))


def _known(tat: int, rate: RatePolicy, now: int) -> int:
    """What is kept, read at an instant: never before it, nor further ahead than an empty bucket.

    A clock that was set back by a day must not close a route for a day.
    """
    return min(max(tat, now), now + _full(rate))


def _full(rate: RatePolicy) -> int:
    return max(rate.burst, 1) * rate.every


def _price(cost: int, rate: RatePolicy) -> int:
    return min(max(cost, 0), max(rate.burst, 1)) * rate.every
