"""The waits between checks, the hour's money for probes, and the steps of the way up.

What it is not: the asking, and the facts about it.
"""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.guard.policy import PRESETS, RecoveryPolicy
from tildawn.guard.recovery import (
    HOUR,
    at_once,
    next_wait,
    paid_allowed,
    ramp_for,
    relapsed,
)
from tildawn.projections.attempts import PROBES, Probe
from tildawn.projections.route import fresh
from tildawn.units import SECOND, Micros, MicroUsd, usd


POLICY = RecoveryPolicy()
NOON = Micros(1_771_070_400 * SECOND)
PRICE = usd("0.04")


def probes(*ages: int, cost: MicroUsd = PRICE) -> list[Probe]:
    """Probes so many microseconds before noon, at whole seconds as they are kept."""
    return [Probe(Micros((NOON - age) // SECOND * SECOND), cost) for age in ages]


# -- waits ---------------------------------------------------------------------------------


def test_waits_double_from_five_seconds_to_a_minute() -> None:
    """Short outages are over soon; long ones must not be hammered."""
    waits, wait = list[float](), Micros(0)
    for _ in range(6):
        wait, made = next_wait(wait, POLICY, chance=0.5)
        assert made == wait
        waits.append(wait / SECOND)

    assert waits == [5, 10, 20, 40, 60, 60]


@given(st.integers(0, 10 * HOUR), st.floats(0, 1, exclude_max=True))
def test_jitter_is_a_fifth_at_the_most_and_is_not_remembered(previous, chance) -> None:
    """A free check every 48 to 72 seconds; jitter that adds up would leave that."""
    wait, made = next_wait(Micros(previous), POLICY, chance=chance)

    assert wait == next_wait(Micros(previous), POLICY, chance=0.5)[0]
    assert 0.8 * wait - 1 <= made <= 1.2 * wait + 1
    assert wait <= POLICY.longest


def test_jitter_goes_both_ways() -> None:
    """Many routes of one provider must not ask in step."""
    assert next_wait(POLICY.longest, POLICY, chance=0.0)[1] == 48 * SECOND
    assert next_wait(POLICY.longest, POLICY, chance=0.75)[1] == 66 * SECOND


# -- paid probes ---------------------------------------------------------------------------


def test_the_first_probe_may_go_now() -> None:
    """Nothing was paid yet."""
    assert paid_allowed([], POLICY, cost=PRICE, now=NOON) == 0


def test_twenty_five_an_hour_and_the_next_when_the_first_is_an_hour_old() -> None:
    """Instants are kept in whole seconds, and the second is given in favour of the money."""
    free = MicroUsd(0)
    hour = probes(*[(40 - i) * 60 * SECOND for i in range(25)], cost=free)

    assert paid_allowed(hour[1:], POLICY, cost=free, now=NOON) == 0
    assert paid_allowed(hour, POLICY, cost=free, now=NOON) == hour[0].at + HOUR + SECOND


def test_a_dollar_an_hour_and_the_next_when_enough_of_it_is_an_hour_old() -> None:
    """Ten dear probes are as much as the hour allows."""
    dear = usd("0.10")
    ten = probes(*[(40 - i) * 60 * SECOND for i in range(10)], cost=dear)

    assert paid_allowed(ten[1:], POLICY, cost=dear, now=NOON) == 0
    assert paid_allowed(ten, POLICY, cost=dear, now=NOON) == ten[0].at + HOUR + SECOND
    assert paid_allowed(ten, POLICY, cost=usd("0.15"), now=NOON) == ten[1].at + HOUR + SECOND


def test_what_is_an_hour_old_does_not_count() -> None:
    """The hour is the one before the probe, not one of the clock."""
    old = probes(*[HOUR + 2 * SECOND] * 25)

    assert paid_allowed(old, POLICY, cost=PRICE, now=NOON) == 0


def test_a_probe_dearer_than_an_hour_is_never_allowed() -> None:
    """Its instant moves on for as long as the numbers stand."""
    dear = usd("1.01")

    for now in (NOON, Micros(NOON + HOUR)):
        assert paid_allowed([], POLICY, cost=dear, now=now) == now + HOUR


def test_no_policy_has_more_probes_than_are_kept() -> None:
    """What is forgotten cannot be counted."""
    many = msgspec.structs.replace(POLICY, paid_an_hour=1_000)
    kept = probes(*[SECOND] * PROBES, cost=MicroUsd(0))

    assert paid_allowed(kept, many, cost=MicroUsd(0), now=NOON) > NOON


@given(
    st.lists(st.tuples(st.integers(0, 600), st.integers(0, 200_000)), max_size=90),
    st.integers(1, 25),
)
def test_no_hour_has_more_than_its_probes_or_its_money(asked, most) -> None:
    """For every hour of a night, and whoever comes at the instant that was named goes."""
    policy = msgspec.structs.replace(POLICY, paid_an_hour=most)
    kept, sent, now = list[Probe](), list[tuple[int, int]](), int(NOON)
    for pause, cost in asked:
        now += pause * SECOND + pause * 1_001
        allowed = paid_allowed(kept[-PROBES:], policy, cost=MicroUsd(cost), now=Micros(now))
        if allowed:
            assert allowed > now
            assert not paid_allowed(kept[-PROBES:], policy, cost=MicroUsd(cost), now=allowed)
            now = allowed
        kept.append(Probe(Micros(now // SECOND * SECOND), MicroUsd(cost)))
        sent.append((now, cost))

    for first, (start, _) in enumerate(sent):
        hour = [cost for at, cost in sent[first:] if at < start + HOUR]
        assert len(hour) <= most
        assert sum(hour) <= policy.usd_an_hour


@pytest.mark.parametrize("back", [HOUR, 24 * HOUR, 365 * 24 * HOUR])
def test_a_clock_that_was_set_back_stops_no_probes_for_long(back) -> None:
    """A year that was wrong must not end them for a year; nor give the hour's money many times."""
    kept, now, sent = probes(*[SECOND] * 25), int(NOON) - back, 0
    end = now + 3 * HOUR
    while now < end:
        allowed = paid_allowed(kept[-PROBES:], POLICY, cost=PRICE, now=Micros(now))
        now = max(allowed, now)
        kept.append(Probe(Micros(now // SECOND * SECOND), PRICE))
        sent += 1

    assert 25 <= sent <= 3 * 25 + 2


def test_a_clock_that_was_set_back_gives_one_probe_and_not_the_hour_again() -> None:
    """The first one after it says that all before it were earlier, whatever their clock said."""
    before = [Probe(Micros(NOON + 24 * HOUR), PRICE)] * 25
    first = Probe(NOON, PRICE)

    assert paid_allowed(before, POLICY, cost=PRICE, now=NOON) == 0
    assert paid_allowed([*before[1:], first], POLICY, cost=PRICE, now=NOON) == NOON + HOUR + SECOND


# -- the way up ----------------------------------------------------------------------------


def test_one_then_two_then_four_then_all() -> None:
    """A provider that just came back is not met by everybody at once."""
    assert [ramp_for(streak, POLICY) for streak in range(6)] == [1, 1, 2, 4, 0, 0]


@pytest.mark.parametrize(
    ("state", "left", "streak", "own", "lets"),
    [
        ("closed", 0, 0, 0, 0), ("closed", 0, 0, 3, 3), ("closed", 0, 2, 3, 3),
        ("ramp", 0, 0, 0, 1), ("ramp", 0, 3, 0, 4), ("ramp", 0, 3, 3, 3), ("ramp", 0, 2, 9, 2),
        ("closed", 9, 2, 0, 2), ("closed", 9, 8, 0, 0), ("closed", 9, 8, 3, 3),
    ],
)  # fmt: skip
def test_the_lower_of_the_ramp_and_the_limit_of_the_route_holds(
    state, left, streak, own, lets
) -> None:
    """A route that comes back is not let in twice as fast since it has a limit of its own."""
    row = msgspec.structs.replace(fresh("r"), state=state, fresh=left, streak=streak)
    policy = msgspec.structs.replace(PRESETS["chat"], concurrency=own)

    assert lets == at_once(row, policy)


def test_a_third_failure_after_recovery_is_a_relapse() -> None:
    """More than two; the first two may be what was on its way."""
    assert [relapsed(failures, POLICY) for failures in range(5)] == [False] * 3 + [True] * 2
