"""The limiter: never above burst + rate · t, whatever is asked and whatever the clock does.

What it is not: the queue in which calls wait for it.
"""

from hypothesis import example, given
from hypothesis import strategies as st

from tildawn.guard.limiter import returned, taken, wait
from tildawn.guard.policy import RATES, RatePolicy
from tildawn.units import SECOND, Micros


MINUTE, HOUR = 60 * SECOND, 3_600 * SECOND
NOON = Micros(1_771_070_400 * SECOND)
IMAGES = RATES["image.conservative"]


def rates() -> st.SearchStrategy[RatePolicy]:
    return st.builds(RatePolicy, burst=st.integers(1, 8), every=st.integers(1, MINUTE).map(Micros))


def test_a_burst_goes_at_once_and_then_one_each_minute() -> None:
    """One at a time, with five to catch up."""
    tat, waits = Micros(0), list[int]()
    now = int(NOON)
    for _ in range(8):
        pause = wait(tat, IMAGES, now=Micros(now))
        waits.append(pause)
        now += pause
        tat = taken(tat, IMAGES, now=Micros(now))

    assert [0] * 5 + [MINUTE] * 3 == waits


def test_a_night_of_images_has_485_of_them() -> None:
    """The number that the documentation gives for eight hours."""
    tat, now, sent = Micros(0), int(NOON), 0
    while now <= NOON + 8 * HOUR:
        now += wait(tat, IMAGES, now=Micros(now))
        if now <= NOON + 8 * HOUR:
            tat = taken(tat, IMAGES, now=Micros(now))
            sent += 1

    assert sent == 485


def test_the_wait_is_exact() -> None:
    """Whoever comes a microsecond early is refused, and whoever comes then goes."""
    tat = Micros(0)
    for _ in range(5):
        tat = taken(tat, IMAGES, now=NOON)
    pause = wait(tat, IMAGES, now=NOON)

    assert wait(tat, IMAGES, now=Micros(NOON + pause - 1)) == 1
    assert wait(tat, IMAGES, now=Micros(NOON + pause)) == 0


@given(rates(), st.lists(st.tuples(st.integers(0, 3 * MINUTE), st.integers(0, 12)), max_size=60))
def test_no_window_has_more_than_the_burst_and_the_rate(rate, asked) -> None:
    """The promise to the other side, for every stretch of time between two sendings."""
    tat, now, sent = Micros(0), int(NOON), list[tuple[int, int]]()
    for pause, cost in asked:
        now += pause
        if wait(tat, rate, cost=cost, now=Micros(now)) == 0:
            tat = taken(tat, rate, cost=cost, now=Micros(now))
            sent.append((now, min(cost, rate.burst)))

    for first in range(len(sent)):
        total = 0
        for at, cost in sent[first:]:
            total += cost
            assert total * rate.every <= rate.burst * rate.every + at - sent[first][0]


@given(
    rates(),
    st.lists(
        st.tuples(st.integers(0, 3 * MINUTE), st.integers(0, 2 * HOUR), st.integers(0, 8)),
        max_size=60,
    ),
)
def test_a_clock_that_is_set_back_lets_nothing_more_through(rate, asked) -> None:
    """Measured in true time, whatever the wall clock says, and nobody waits longer than to full."""
    tat, true, behind, sent = Micros(0), 0, 0, list[tuple[int, int]]()
    for pause, jump, cost in asked:
        true += pause
        behind += jump
        now = Micros(NOON + true - behind)
        pause_left = wait(tat, rate, cost=cost, now=now)
        assert pause_left <= rate.burst * rate.every
        if pause_left == 0:
            tat = taken(tat, rate, cost=cost, now=now)
            sent.append((true, min(cost, rate.burst)))

    for first in range(len(sent)):
        total = 0
        for at, cost in sent[first:]:
            total += cost
            assert total * rate.every <= rate.burst * rate.every + at - sent[first][0]


def test_a_clock_that_is_set_ahead_gives_one_burst_and_no_more() -> None:
    """The bucket cannot know that no time has passed; it is full, but not fuller."""
    tat = Micros(0)
    for _ in range(5):
        tat = taken(tat, IMAGES, now=NOON)
    later, sent = Micros(NOON + 24 * HOUR), 0
    while wait(tat, IMAGES, now=later) == 0:
        tat = taken(tat, IMAGES, now=later)
        sent += 1

    assert sent == 5


def test_a_clock_that_was_a_day_ahead_closes_the_route_for_a_minute() -> None:
    """Not for a day."""
    tat = taken(Micros(0), IMAGES, now=Micros(NOON + 24 * HOUR))

    assert wait(tat, IMAGES, now=NOON) == MINUTE


@given(rates(), st.integers(0, 100), st.integers(0, 9 * MINUTE), st.integers(0, 12))
@example(RatePolicy(burst=3, every=SECOND), 2, 0, 1)
def test_what_is_given_back_can_be_taken_again(rate, before, later, cost) -> None:
    """A commit that was refused sent nothing; and giving back never makes more than full."""
    tat = Micros(0)
    for _ in range(before):
        if wait(tat, rate, now=NOON) == 0:
            tat = taken(tat, rate, now=NOON)
    now = Micros(NOON + wait(tat, rate, cost=cost, now=NOON))
    then = Micros(now + later)

    again = returned(taken(tat, rate, cost=cost, now=now), rate, cost=cost, now=then)

    for ask in range(rate.burst + 1):
        assert wait(again, rate, cost=ask, now=then) == wait(tat, rate, cost=ask, now=then)
    assert again >= then


def test_something_above_the_burst_goes_when_the_bucket_is_full() -> None:
    """A prompt above a minute's tokens waits for its turn, not for ever."""
    tat = taken(Micros(0), IMAGES, now=NOON)

    pause = wait(tat, IMAGES, cost=1_000, now=NOON)

    assert pause == MINUTE
    then = Micros(NOON + pause)
    assert wait(tat, IMAGES, cost=1_000, now=then) == 0
    assert wait(taken(tat, IMAGES, cost=1_000, now=then), IMAGES, now=then) == MINUTE
