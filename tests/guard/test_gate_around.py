"""What stands around the breaker at the gate: limiters, modes, the owner's words, served tests.

What it is not: the breaker itself; see `test_gate.py`.
"""

from typing import Any

import msgspec

from tildawn.errors import Busy
from tildawn.facts.route import RouteForced, RouteModeSet
from tildawn.guard.policy import PRESETS, RatePolicy
from tildawn.guard.request import Answer, Ended, Later, Local
from tildawn.units import SECOND, Micros


ROUTE = "shop:create"


def test_a_limiter_sends_its_burst_and_then_one_at_a_time_also_after_a_death(play) -> None:
    """A limit that a restart forgets is no limit."""
    policy = msgspec.structs.replace(
        PRESETS["http"], requests=RatePolicy(burst=2, every=Micros(60 * SECOND))
    )

    async def scene(s) -> None:
        s.hang(policy)
        told = await s.calls(3)
        assert [Ended, Ended, Later] == [type(one) for one in told]
        assert "limit" == told[2].why
        s.crash()
        s.hang(policy)
        assert isinstance((await s.calls(1, first=5))[0], Later)
        s.clock.advance(Micros(60 * SECOND))
        assert isinstance((await s.calls(1, first=6))[0], Ended)
        await s.in_step()

    play(scene)


def test_a_refused_reservation_gives_the_limiter_its_token_back(play, house) -> None:
    """What was not sent must not keep others from being sent."""
    policy = msgspec.structs.replace(
        PRESETS["http"], requests=RatePolicy(burst=1, every=Micros(60 * SECOND))
    )
    house.limit("night", 10)

    async def scene(s) -> None:
        s.hang(policy)
        await s.drive(s.call(path="dear", reserve=20, budgets=("night",)))
        assert [] == s.world.keys
        assert isinstance(await s.drive(s.call(path="cheap", reserve=5, budgets=("night",))), Ended)

    play(scene)


def test_off_rests_all_rules_and_keeps_the_ceiling(play) -> None:
    """Switching the guard off must not bring back the hang."""

    async def scene(s) -> None:
        s.without_breaker()
        s.world.script = ["hang"] * 6
        once: Any = {"retry": msgspec.structs.replace(PRESETS["http"].retry, rules={})}
        told = await s.calls(6, **once)
        assert [Ended] * 6 == [type(one) for one in told]
        assert 6 == len(s.world.keys)
        assert "closed" == s.health().state

    play(scene)


def test_shadow_sends_everything_and_says_what_it_would_have_done(play) -> None:
    """A policy earns its power by being watched."""
    policy = msgspec.structs.replace(PRESETS["http"], mode="shadow")

    async def scene(s) -> None:
        s.hang(policy)
        await s.open_route()
        told = await s.calls(1)
        assert isinstance(told[0], Ended)
        would = [x.data.would for x in s.house.facts() if x.kind == "CallDispatched"]
        assert "route-open" in would[-1]
        await s.in_step()

    play(scene)


def test_the_owners_word_is_heard_within_a_second_and_expires(play) -> None:
    """At 3 a.m. a person must be able to shut a route, and to forget it."""

    async def scene(s) -> None:
        await s.calls(1)
        until = s.clock.wall() + 60 * SECOND
        ledger = s.house.ledger
        reason = ledger.payload(b'"the bill"')
        fact = RouteForced(route=ROUTE, state="open", until=until, reason=reason.digest)
        await ledger.append([ledger.draft(fact, payloads=(reason,))])
        s.clock.advance(SECOND)
        [later] = await s.calls(1, first=1)
        assert isinstance(later, Later)
        assert until == later.due
        s.clock.advance(Micros(60 * SECOND))
        assert isinstance((await s.calls(1, first=2))[0], Ended)

    play(scene)


def test_the_owner_can_rest_all_routes_at_once(play) -> None:
    """The kill switch of the guard itself, without a restart."""

    async def scene(s) -> None:
        await s.open_route()
        ledger = s.house.ledger
        reason = ledger.payload(b'"it is us"')
        until = s.clock.wall() + 600 * SECOND
        fact = RouteModeSet(route="*", mode="off", until=until, reason=reason.digest)
        await ledger.append([ledger.draft(fact, payloads=(reason,))])
        s.clock.advance(SECOND)
        assert isinstance((await s.calls(1))[0], Ended)

    play(scene)


def test_a_step_with_little_time_says_nothing_about_its_route(play) -> None:
    """Three attempts of 100 ms each prove no outage to everybody else."""

    async def scene(s) -> None:
        s.world.script = ["hang"] * 5
        once: Any = {"retry": msgspec.structs.replace(PRESETS["http"].retry, rules={})}
        await s.calls(5, timeout=Micros(SECOND // 10), **once)
        assert "closed" == s.health().state
        assert 0 == len(s.health().ring)
        await s.in_step()

    play(scene)


def test_a_test_that_is_given_up_while_it_waits_lets_the_next_one_try(play) -> None:
    """A leave that nobody gives back shuts a route until the process ends."""
    policy = msgspec.structs.replace(
        PRESETS["http"], requests=RatePolicy(burst=4, every=Micros(20 * SECOND))
    )

    async def scene(s) -> None:
        s.hang(policy)
        await s.open_route()
        s.health().turn = Micros(s.clock.wall() + 80 * SECOND)
        s.clock.advance(Micros(12 * SECOND))
        waiting = s.call(path="gone")
        await s.settle()
        assert s.health().testing
        waiting.cancel()
        await s.settle()
        assert not s.health().testing
        s.clock.advance(Micros(60 * SECOND))
        assert isinstance((await s.calls(1))[0], Ended)

    play(scene)


def test_a_test_in_whose_place_something_was_served_binds_nobody_after_a_death(play) -> None:
    """A gallery that was switched off in the middle must find its provider again."""
    answer = Answer(value=b'"here"')

    async def here(_need: Any) -> Answer:
        return answer

    watched: Any = {
        "patience": "interactive",
        "locals": (Local(name="exact", find=here, limit=SECOND, sure=True),),
    }

    async def scene(s) -> None:
        await s.open_route()
        s.clock.advance(Micros(10 * SECOND))
        s.world.script = ["hang"]
        assert isinstance((await s.calls(1, **watched))[0], Ended)
        s.crash()
        s.clock.advance(Micros(100 * SECOND))
        assert isinstance((await s.calls(1, first=5))[0], Ended)
        await s.settle()
        assert "ramp" == s.health().state

    play(scene)


def test_a_ledger_without_room_for_news_of_a_route_still_ends_the_call(play) -> None:
    """What the guard would like to note must not keep a run waiting for ever."""

    async def scene(s) -> None:
        submit = s.house.ledger.submit

        def crowded(entries: Any, **said: Any) -> None:
            if entries[0].fact.kind.startswith("Route"):
                raise Busy
            submit(entries, **said)

        s.house.ledger.submit = crowded
        s.world.script = ["hang"] * 3
        await s.calls(3, retry=msgspec.structs.replace(PRESETS["http"].retry, rules={}))
        del s.house.ledger.submit
        assert 3 == len(s.ear.heard)
        assert "closed" == s.health().state

    play(scene)


def test_no_traffic_is_no_failure(play) -> None:
    """A house that has just been founded is healthy."""

    async def scene(s) -> None:
        assert "closed" == s.on_record().state
        s.clock.advance(Micros(48 * 3_600 * SECOND))
        assert "closed" == s.health().state

    play(scene)


def test_a_call_that_waits_on_record_needs_no_leave_to_be_held(play) -> None:
    """An open route must not hide from its owner that a payment may have happened."""

    async def scene(s) -> None:
        s.world.script = ["hang"]
        s.world.started.clear()
        s.call(path="pay", repeat="never")
        await s.world.started.wait()
        s.crash()
        await s.open_route()
        told = await s.drive(s.call(path="pay", repeat="never"))
        assert "Hold" == type(told).__name__

    play(scene)
