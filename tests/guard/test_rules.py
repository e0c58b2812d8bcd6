"""The pure rules: what a fault is, when it is tried again, whether there is money, alarms.

What it is not: the door that applies them; see test_call.py.
"""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.errors import BadValue, Effect
from tildawn.guard import budget
from tildawn.guard.deadline import SWEEP_LEAST, Alarms
from tildawn.guard.fault import KINDS, InvalidAnswer, Seen, seen
from tildawn.guard.retry import RULES, RetryPolicy, in_budget, wait_before
from tildawn.projections.budget import BudgetRow
from tildawn.providers.fault import Fault, FaultKind
from tildawn.testing.clock import ManualClock
from tildawn.units import SECOND, Micros, MicroUsd


def failure(kind: str, **said) -> Seen:
    return Seen(kind=kind, detail="", effect=Effect.NONE, **said)


# -- faults --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(set(FaultKind) - {FaultKind.CANCELLED}))
def test_every_kind_that_a_provider_knows_is_known_here(kind) -> None:
    """The two are strangers and meet by their attributes alone; a new name would stop nights."""
    assert kind in KINDS
    assert str(kind) == seen(Fault(kind, "x", sent=True), sent=True).kind


@pytest.mark.parametrize(
    ("sent", "status", "effect"),
    [
        (False, None, "none"),
        (False, 500, "none"),
        (True, None, "unknown"),
        (True, 500, "unknown"),
        (True, 400, "none"),
        (True, 429, "none"),
        (True, 408, "unknown"),
        (True, 409, "unknown"),
    ],
)
def test_what_a_failure_did_in_the_world_follows_from_what_is_known(sent, status, effect) -> None:
    """Only an unsent or a refused request surely did nothing; providers say the same."""
    fault = Fault(FaultKind.SERVER, "x", sent=sent, status=status)

    assert Effect(effect) == seen(fault, sent=True).effect
    assert fault.effect == seen(fault, sent=True).effect


@pytest.mark.parametrize(
    ("status", "effect"), [(None, "unknown"), (422, "none"), (408, "unknown"), (409, "unknown")]
)
def test_a_fault_that_does_not_name_its_effect_is_judged_by_its_status(status, effect) -> None:
    """Any exception with the attributes is a fault; a conflict may speak of our own first try."""

    class Other(Exception):
        kind, detail, sent, retry_after = "server", "x", True, None

        def __init__(self) -> None:
            self.status = status

    assert Effect(effect) == seen(Other(), sent=False).effect


def test_an_exception_without_attributes_is_unknown() -> None:
    """Guessing a class for it would hide what nobody has understood."""
    assert ("unknown", Effect.UNKNOWN) == (
        (one := seen(KeyError("x"), sent=True)).kind, one.effect
    )  # fmt: skip
    assert Effect.NONE == seen(KeyError("x"), sent=False).effect
    assert "unknown" == seen(asyncio.CancelledError(), sent=True).kind


def test_a_rule_of_ours_that_says_no_is_a_bad_request() -> None:
    """A template that cannot be filled is no riddle, and trying again is no help."""
    one = seen(BadValue("no such field", hint="check the plan"), sent=False)

    assert ("bad_request", "check the plan", Effect.NONE) == (one.kind, one.hint, one.effect)
    assert "invalid_answer" == seen(InvalidAnswer("empty"), sent=True).kind


# -- retries -------------------------------------------------------------------------------


@given(
    kind=st.sampled_from(sorted(RULES)),
    tries=st.integers(1, 6),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_waits_double_and_swing_by_a_fifth(kind, tries, chance) -> None:
    """Everybody who failed together must not come back together."""
    rule = RULES[kind]
    wait = wait_before(RetryPolicy(), failure(kind), tries, chance)

    if tries >= rule.tries:
        assert wait is None
    else:
        assert wait is not None
        middle = rule.first * 2 ** (tries - 1)
        assert 0.8 * middle <= wait <= 1.2 * middle


@given(asked=st.integers(1, 10**12), chance=st.floats(0, 1, exclude_max=True))
def test_what_the_other_side_asks_for_is_a_floor_up_to_an_hour(asked, chance) -> None:
    """Earlier prolongs the ban; and a header must not park a call until the next century."""
    wait = wait_before(RetryPolicy(), failure("rate", retry_after=Micros(asked)), 1, chance)

    assert wait is not None
    assert min(asked, 3_600 * SECOND) <= wait <= 1.2 * 3_600 * SECOND


@given(calls=st.integers(0, 10_000), retries=st.integers(0, 10_000))
def test_a_fifth_of_the_calls_may_be_retries_and_three_always(calls, retries) -> None:
    """With fewer than fifteen calls a share alone would allow next to nothing."""
    assert (retries < max(3, calls // 5)) == in_budget(RetryPolicy(), calls=calls, retries=retries)


# -- money ---------------------------------------------------------------------------------


def scope(**said) -> BudgetRow:
    fields = {"cap": 100, "reserved": 0, "spent": 0, "assumed": 0, "overrun": 0, "stopped": 0}
    return BudgetRow(scope="night", stopped_at=-1, set_at=0, **(fields | said))


@pytest.mark.parametrize(
    ("row", "amount", "fits"),
    [
        (None, 10**9, True),
        (scope(cap=None), 10**9, True),
        (scope(), 100, True),
        (scope(), 101, False),
        (scope(reserved=60), 40, True),
        (scope(reserved=60), 41, False),
        (scope(spent=30, reserved=30), 41, False),
        (scope(stopped=1), 1, False),
    ],
)
def test_a_scope_promises_what_it_has_not_spent_or_promised(row, amount, fits) -> None:
    """Looking at the spent money alone lets everybody in flight spend the rest at once."""
    assert fits == budget.fits(row, amount)


def test_a_call_without_a_price_asks_no_budget() -> None:
    """A local model goes on working when the money is gone."""
    assert [] == budget.reservation(("night",), MicroUsd(0))
    assert ["night", "run"] == [x.key[0] for x in budget.reservation(("night", "run"), MicroUsd(1))]


def test_the_refusal_says_the_amounts_and_what_to_type() -> None:
    """The morning report quotes it."""
    error = budget.refusal(scope(spent=30_000, reserved=500_000, cap=1_000_000), MicroUsd(600_000))

    assert "$1.00 has $0.03 spent and $0.50 promised; this call may cost $0.60" in error.message
    assert "tildawn budget night" in (error.hint or "")
    assert "stopped" in budget.refusal(scope(stopped=1, overrun=5), MicroUsd(1)).message


# -- alarms --------------------------------------------------------------------------------


def test_alarms_ring_in_their_order_and_never_before_their_time() -> None:
    """Hundreds of calls share one sleeper; it must wake for the earliest of them."""

    async def scene() -> None:
        clock, rung = ManualClock(), []
        alarms = Alarms(clock)
        for at in (50, 20, 90, 20, 10):
            alarms.set(at, lambda at=at: rung.append((at, clock.mono())))
        await clock.sleepers()
        alarms.set(5, lambda: rung.append((5, clock.mono())))
        kept = alarms.set(30, lambda: rung.append("never"))
        kept.cancel()
        kept.cancel()
        while len(rung) < 6:
            for _ in range(5):
                await asyncio.sleep(0)
            clock.advance(clock.next_due() or Micros(0))
        assert [(at, at) for at in (5, 10, 20, 20, 50, 90)] == rung
        alarms.close()

    asyncio.run(scene())


def test_alarms_taken_back_do_not_pile_up() -> None:
    """Nearly every alarm is taken back; a night of them must not stay in memory."""

    async def scene() -> None:
        clock = ManualClock()
        alarms = Alarms(clock)
        for _ in range(10_000):
            alarms.set(60 * SECOND, lambda: None).cancel()
        assert len(alarms._heap) <= 2 * SWEEP_LEAST
        rung = []
        alarms.set(60 * SECOND, lambda: rung.append(1))
        await clock.sleepers()
        clock.advance(Micros(60 * SECOND))
        for _ in range(5):
            await asyncio.sleep(0)
        assert [1] == rung
        alarms.close()

    asyncio.run(scene())
