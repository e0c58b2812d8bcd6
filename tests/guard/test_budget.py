"""Money at the door, and what happens when the disk takes nothing.

What it is not: the sums; see tests/projections/test_call.py.
"""

import asyncio
import contextlib
from random import Random
from typing import Any

import msgspec
import pytest

from tildawn.errors import Busy, StoreFull
from tildawn.facts.call import BudgetSet
from tildawn.guard.budget import Scope, fits, refusal, scopes_of, strained
from tildawn.guard.call import Door
from tildawn.guard.policy import PRESETS
from tildawn.guard.recover import expire_holds
from tildawn.guard.request import Ended, Remote
from tildawn.guard.retry import RetryPolicy
from tildawn.projections.budget import BudgetRow
from tildawn.units import SECOND, Micros, MicroUsd


DAY = 24 * 3_600 * SECOND
PAID = msgspec.structs.replace(PRESETS["http"], usd_a_day=MicroUsd(9))


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


# -- scopes --------------------------------------------------------------------------------


def policed(s, **said) -> None:
    """Go on behind a door whose routes have these numbers."""
    policy = msgspec.structs.replace(PRESETS["http"], **said)
    s.doors.append(s.door)
    s.door = Door(s.house.ledger, s.clock, Random(0), policies=lambda *_: policy)


def test_a_route_has_a_limit_of_its_own_each_day_and_says_so(play, house) -> None:
    """A setting is no fact, so the limit is judged beside what the day has cost so far."""

    async def scene(s) -> None:
        policed(s, usd_a_day=MicroUsd(50))
        s.world.script = [s.answer(spend=30, spend_source="reported")] * 3
        money = {"reserve": 30, "budgets": ("night",)}
        await s.drive(s.call(**money))
        await s.drive(s.call(path="q", **money))
        said = msgspec.json.decode(s.ear.heard[-1][2])
        assert ("budget-spent", 50, 30) == (
            said["code"], said["limit_micro_usd"], said["spent_micro_usd"]
        )  # fmt: skip
        assert said["scope"].startswith("route:shop:create/20")
        await s.drive(s.call(path="r", **money, route="shop:other"))
        assert "CallSettled" == s.ear.heard[-1][1].kind, "another route has a limit of its own"
        s.clock.advance(Micros(DAY))
        await s.drive(s.call(path="t", **money))
        assert "CallSettled" == s.ear.heard[-1][1].kind, "and so has another day"

    play(scene)
    assert 90 == house.budget("night").spent


def test_a_first_attempt_above_the_limit_of_its_route_is_refused_too(play) -> None:
    """Where nothing was ever booked there is no row to judge."""

    async def scene(s) -> None:
        policed(s, usd_a_day=MicroUsd(50))
        await s.call(reserve=51)
        assert "$0.00005 is empty" in msgspec.json.decode(s.ear.heard[-1][2])["message"]
        assert not s.world.keys

    play(scene)


def test_the_owner_s_word_about_a_scope_goes_before_the_setting(play, house) -> None:
    """``tildawn budget`` lets a route go on today; the settings hold again tomorrow."""

    async def scene(s) -> None:
        policed(s, usd_a_day=MicroUsd(50))
        [*_, day] = scopes_of(
            (), route="shop:create", policy=PAID, now=s.clock.wall(), amount=MicroUsd(1)
        )  # fmt: skip
        house.limit(day.name, 100)
        await s.drive(s.call(reserve=80))
        assert "CallSettled" == s.ear.heard[-1][1].kind

    play(scene)


def test_probes_have_an_hour_s_limit_beside_that_of_the_day() -> None:
    """To see whether a provider is back must not cost what a night of its work does."""
    at = Micros(1_800_000_000 * SECOND)
    found = scopes_of(("probe:r",), route="r", policy=PAID, now=at, amount=MicroUsd(7), probe=True)
    assert found == (
        Scope("probe:r"), Scope("probes:r/2027-01-15T08", MicroUsd(1_000_000)),
        Scope("route:r/2027-01-15", MicroUsd(9)),
    )  # fmt: skip
    assert scopes_of(("n",), route="r", policy=PAID, now=at, amount=MicroUsd(0)) == (Scope("n"),)


def test_all_attempts_of_a_call_share_what_its_step_allows(play, house) -> None:
    """A call that is lost again and again would else be bought again for ever."""

    async def scene(s) -> None:
        s.world.script = [s.fault("network"), s.fault("network"), b"1"]
        await s.drive(s.call(reserve=30, most=MicroUsd(60)))
        said = msgspec.json.decode(s.ear.heard[-1][2])
        assert 2 == len(s.world.keys)
        assert ("budget-spent", 60) == (said["code"], said["reserved_micro_usd"])
        assert said["scope"].startswith("call/")

    play(scene)


def test_tokens_have_limits_where_money_has_none(play, house) -> None:
    """A subscription costs nothing more until its tokens are gone."""

    async def scene(s) -> None:
        policed(s, unknown_price="free")
        house.say(BudgetSet(scope="night", limit_tokens=100), run="")
        asked: dict[str, Any] = {"budgets": ("night",), "reserve": None, "reserve_tokens": 60}
        s.world.script = [s.answer(tokens_in=20, tokens_out=20), b"2", b"3"]
        for path in ("p", "q", "r"):
            await s.drive(s.call(path=path, **asked))
        assert ["CallSettled", "CallSettled", "CallRefused"] == [x[1].kind for x in s.ear.heard]
        assert "100 tokens has 100 used" in msgspec.json.decode(s.ear.heard[-1][2])["message"]
        await s.drive(s.call(path="local", **(asked | {"reserve": 0})))
        assert "CallSettled" == s.ear.heard[-1][1].kind, "a model that is free is not stopped"

    play(scene)


@pytest.mark.parametrize(("rule", "reserved"), [("assume 0.00004", 40), ("free", 0)])
def test_a_route_may_say_what_an_unknown_price_is(play, house, rule, reserved) -> None:
    """Refused unless its owner has said otherwise, and then counted as he said."""

    async def scene(s) -> None:
        policed(s, unknown_price=rule)
        await s.drive(s.call(reserve=None, budgets=("night",)))
        assert "CallSettled" == s.ear.heard[-1][1].kind
        assert reserved == house.facts()[0].data.reserve_micro_usd

    house.limit("night", 100)
    play(scene)
    assert (reserved, reserved) == (house.budget("night").spent, house.budget("night").assumed)


def test_four_fifths_of_any_scope_strain_the_money() -> None:
    """From there on a cheaper answer is preferred, and flagged."""
    night, day = Scope("night"), Scope("route:r/d", MicroUsd(1_000))
    half = row("night", cap=100, spent=50)
    assert not strained((night, day), (half, None))
    assert not strained((night, day), (half, row("route:r/d", spent=700, held=99)))
    assert strained((night, day), (half, row("route:r/d", spent=700, held=100)))
    assert strained((night,), (row("night", cap=100, spent=50, reserved=30),))
    assert strained((night,), (row("night", cap=100, stopped=1),))
    assert strained((night,), (row("night", cap_tokens=10, tokens=8),))
    assert not strained((night,), (row("night", spent=10**9),)), "without a limit nothing is short"


def test_a_bill_above_its_price_stops_a_limit_that_is_a_setting_too() -> None:
    """A price that is wrong is wrong for every scope."""
    assert not fits(row("route:r/d", stopped=1), 1, cap=100)
    assert fits(row("route:r/d", stopped=1), 1), "without a limit there is nothing to stop"
    stopped = refusal(row("route:r/d", stopped=1, overrun=5), MicroUsd(1))
    assert "is stopped: a bill was $0.000005 above" in stopped.message


@pytest.mark.parametrize(("bill", "then"), [(9, "CallSettled"), (11, "CallRefused")])
def test_only_a_bill_above_its_worst_case_stops_the_day_of_a_route(play, bill, then) -> None:
    """Reservations are estimates: one that was too low is no wrong price, and the day goes on."""

    async def scene(s) -> None:
        policed(s, usd_a_day=MicroUsd(100))
        s.world.script = [s.answer(spend=bill, spend_source="reported"), b"2"]
        await s.call(reserve=2, worst=10)
        await s.call(path="q", reserve=2, worst=10)
        assert then == s.ear.heard[-1][1].kind

    play(scene)


def row(scope: str, **said) -> BudgetRow:
    fields: dict[str, Any] = {
        "cap": None,
        "reserved": 0,
        "spent": 0,
        "assumed": 0,
        "overrun": 0,
        "stopped": 0,
    }
    return BudgetRow(scope=scope, stopped_at=-1, set_at=-1, **(fields | said))


def cheaper(s, *answers) -> tuple[Any, Remote]:
    """Another model, a tenth of the price, with a script of its own."""
    world = type(s.world)(script=list(answers))
    return world, Remote(
        name="cheap", route="cheap:model", model="cheap", perform=world.perform,
        reserve=MicroUsd(3),
    )  # fmt: skip


def test_from_four_fifths_on_a_cheaper_model_goes_first_and_is_flagged(play, house) -> None:
    """The rest of the money lasts longer, and the report says whose answer it is."""

    async def scene(s) -> None:
        other, remote = cheaper(s, b'"cheap"', b'"cheap"')
        asked: dict[str, Any] = {"budgets": ("night",), "reserve": 30, "remotes": (remote,)}
        s.world.script = [s.answer(spend=30, spend_source="reported")] * 3
        for path in ("p", "q", "r", "t"):
            await s.drive(s.call(path=path, **asked))
        assert (3, 1) == (len(s.world.keys), len(other.keys))
        assert b'"cheap"' == s.ear.heard[-1][2]

    house.limit("night", 110)
    play(scene)
    assert ("cheap", "budget", "cheap:model") == (
        house.row("t").tier, house.row("t").instead, house.row("t").route
    )  # fmt: skip


def test_the_primary_is_asked_when_what_went_before_it_does_not_serve(play, house) -> None:
    """Cheaper is preferred, not required; a task is not failed to save a cent."""

    async def scene(s) -> None:
        other, remote = cheaper(s, s.fault("quota", status=402))
        await s.drive(s.call(budgets=("night",), reserve=30, remotes=(remote,)))
        assert (1, 1) == (len(s.world.keys), len(other.keys))
        assert b'"done"' == s.ear.heard[-1][2]

    house.limit("night", 100)
    house.say(BudgetSet(scope="night", limit_tokens=0), run="")
    play(scene)
    assert ("", "") == (house.row().tier, house.row().instead)


# -- holds ---------------------------------------------------------------------------------


def test_what_is_held_is_booked_after_a_day_and_not_before(play, house) -> None:
    """A bill that has not come in a day will not come; until then nobody may spend the money."""

    async def scene(s) -> None:
        s.world.script = [s.fault("server"), b"1"]
        await s.drive(s.call(reserve=40, budgets=("night",)))
        assert 0 == await expire_holds(house.ledger, Micros(s.clock.wall() + DAY - 60 * SECOND))
        assert (40, 40) == (house.budget("night").held, house.budget("night").assumed)
        assert 1 == await expire_holds(house.ledger, Micros(s.clock.wall() + DAY))
        assert 0 == await expire_holds(house.ledger, Micros(s.clock.wall() + DAY))

    play(scene)
    assert (0, 80, 80) == (
        house.budget("night").held, house.budget("night").spent, house.budget("night").assumed
    )  # fmt: skip


@pytest.mark.parametrize(("status", "held"), [(422, 0), (500, 40)])
def test_a_late_no_frees_what_is_held_for_it(play, house, status, held) -> None:
    """What was refused is not billed; what broke over there may be."""

    async def scene(s) -> None:
        async def perform(_attempt) -> None:
            while not s.world.go_on.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await s.world.go_on.wait()
            raise s.fault(kind="bad_request", status=status)

        s.world.perform = perform
        await s.drive(s.call(reserve=40, budgets=("night",), retry=RetryPolicy(rules={})))
        assert 40 == house.budget("night").held
        s.world.go_on.set()
        await s.drive(asyncio.create_task(asyncio.sleep(0)))
        await s.door.close()

    house.limit("night", 100)
    play(scene)
    assert (held, held) == (house.budget("night").held, house.row().held)
