"""Money at the door, and what happens when the disk takes nothing.

What it is not: the sums; see tests/projections/test_call.py.
"""

import msgspec
import pytest

from tildawn.errors import Busy, StoreFull
from tildawn.guard.request import Ended
from tildawn.units import SECOND


def test_calls_at_once_cannot_spend_the_same_money(play, house) -> None:
    """Look first and book later, and ten calls in flight spend ten times what is left."""

    async def scene(s) -> None:
        s.world.script = [s.answer(spend=30, spend_source="reported")] * 10
        money = {"budgets": ("run", "night"), "reserve": 30}
        calls = [s.call(path=f"p{n}", **money) for n in range(10)]
        await s.drive(*calls)
        assert 3 == len(s.world.keys)
        refused = [x for _, fact, x in s.ear.heard if fact.kind == "CallRefused"]
        assert 7 == len(refused)
        said = msgspec.json.decode(refused[-1])
        assert ("budget-spent", "night", 100, False) == (
            said["code"], said["scope"], said["limit_micro_usd"], said["retryable"]
        )  # fmt: skip

    house.limit("night", 100)
    play(scene)
    assert (90, 0) == (house.budget("night").spent, house.budget("night").reserved)


def test_a_stopped_scope_refuses_what_costs_and_lets_pass_what_does_not(play, house) -> None:
    """A bill above its price means that the price list is wrong; a local model has no price."""

    async def scene(s) -> None:
        s.world.script = [s.answer(spend=8, spend_source="reported"), b"2"]
        assert isinstance(await s.call(budgets=("night",), reserve=5), Ended)
        await s.call(path="q", budgets=("night",), reserve=1)
        assert "CallRefused" == s.ear.heard[-1][1].kind
        await s.call(path="r", budgets=("night",), reserve=0)
        assert b"2" == s.ear.heard[-1][2]

    house.limit("night", 100)
    play(scene)


def test_a_retry_that_the_budget_refuses_ends_the_call(play, house) -> None:
    """What is held for the first attempt is spent, as far as anybody knows."""

    async def scene(s) -> None:
        s.world.script = [s.fault("network")]
        assert isinstance(await s.drive(s.call(budgets=("night",), reserve=60)), Ended)
        assert "CallRefused" == s.ear.heard[-1][1].kind
        assert 1 == len(s.world.keys)

    house.limit("night", 100)
    play(scene)
    row = house.row()
    assert ("settled", "budget-spent", 0, 60) == (row.state, row.fault, row.spend, row.held)
    assert "unknown" == row.effect, "the refusal says nothing about the attempt before it"


def test_an_unknown_price_is_refused_when_nobody_watches(play, house) -> None:
    """By the time the bill is seen, a night of them has been ordered."""

    async def scene(s) -> None:
        assert isinstance(await s.call(reserve=None, model="new"), Ended)
        data, text = s.ear.only
        assert "not-permitted" == data.why
        assert "the price of new" in msgspec.json.decode(text)["message"]
        assert not s.world.keys
        assert isinstance(await s.call(path="q", reserve=None, unattended=False), Ended)
        assert 1 == len(s.world.keys)

    play(scene)


def test_a_price_that_became_unknown_does_not_hide_what_was_sent(play, house) -> None:
    """The lost attempt is doubted first; then the door says no to another."""

    async def scene(s) -> None:
        await s.lose(reserve=5, budgets=("night",))
        assert isinstance(await s.drive(s.call(reserve=None, budgets=("night",))), Ended)

    house.limit("night", 5)
    play(scene)
    assert ["CallDispatched", "CallDoubted", "CallRefused"] == house.kinds()[:3]
    assert (0, 5) == (house.budget("night").reserved, house.budget("night").held)


# -- a sick disk ---------------------------------------------------------------------------


def test_an_answer_waits_for_a_full_disk(play, house) -> None:
    """It was paid for; to drop it because the disk is full for a minute buys it twice."""

    async def scene(s) -> None:
        async def perform(_attempt):
            house.ledger.trouble = [StoreFull(), StoreFull(), Busy(), StoreFull()]
            return s.answer()

        s.world.perform = perform
        began = s.clock.mono()
        assert isinstance(await s.drive(s.call()), Ended)
        assert (1 + 2 + 4) * SECOND <= s.clock.mono() - began

    play(scene)
    assert ["CallDispatched", "CallSettled"] == house.kinds()


def test_nothing_leaves_when_the_disk_takes_no_dispatch(play, house) -> None:
    """What is not on record did not happen, so it must not happen."""

    async def scene(s) -> None:
        house.ledger.trouble = [Busy(), StoreFull()]
        with pytest.raises(StoreFull):
            await s.drive(s.call())
        assert not s.world.keys
        assert isinstance(await s.drive(s.call()), Ended)

    play(scene)
