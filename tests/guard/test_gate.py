"""The gate of a route, seen through the door: what is let through, and what a death leaves.

What it is not: the rules one by one; each has a file of its own beside this one.
"""

from typing import Any

import msgspec
import pytest

from tildawn.errors import Busy
from tildawn.facts.route import RouteForced, RouteModeSet
from tildawn.guard.call import Door
from tildawn.guard.policy import PRESETS, RatePolicy, RoutePolicy
from tildawn.guard.request import Answer, Ended, Later, Local
from tildawn.projections.route import health_of
from tildawn.units import SECOND, Micros


ROUTE = "shop:create"


def health(s: Any) -> Any:
    """The route in the memory of the door."""
    return s.door.gate.health(ROUTE, "http")


def on_record(s: Any) -> Any:
    """The route as the ledger has it."""
    with s.house.ledger.read() as reader:
        return health_of(reader, ROUTE)


async def in_step(s: Any) -> None:
    """What is in memory is what is on record."""
    await s.settle()
    with s.house.ledger.read() as reader:
        said = health_of(reader, ROUTE)
    mine = msgspec.structs.replace(health(s).row, probing=said.probing)
    assert said == mine


async def calls(s: Any, count: int, *, first: int = 0, **fields: Any) -> list[Any]:
    """So many calls one after the other, and what the engine is told of each."""
    said = {"timeout": None, "deadline": None, **fields}
    return [await s.drive(s.call(path=f"p{n}", **said)) for n in range(first, first + count)]


async def open_it(s: Any) -> None:
    """Three timeouts in a row."""
    s.world.script = ["hang"] * 3
    fields: Any = {"retry": msgspec.structs.replace(PRESETS["http"].retry, rules={})}
    await calls(s, 3, first=900, **fields)
    assert "open" == health(s).state


def hung(s: Any, policy: RoutePolicy, **said: Any) -> None:
    """Hang a door whose routes have these numbers."""
    s.doors.append(s.door)
    s.door = Door(s.house.ledger, s.clock, s.rng, policies=lambda *_: policy, **said)


def test_three_timeouts_open_a_route_and_nothing_more_is_sent(play) -> None:
    """Whoever asks a dead provider again and again pays with the night."""

    async def scene(s) -> None:
        await open_it(s)
        later = await s.drive(s.call(path="next"))
        assert isinstance(later, Later)
        assert "route-open" == later.why
        assert 3 == len(s.world.keys)
        assert "timeouts-in-a-row" == on_record(s).cause
        await in_step(s)

    play(scene)


def test_five_of_our_own_mistakes_leave_a_route_closed(play) -> None:
    """A provider that refuses what is wrong is well."""

    async def scene(s) -> None:
        s.world.script = [s.fault("bad_request", status=400) for _ in range(5)]
        await calls(s, 5)
        assert "closed" == health(s).state
        await in_step(s)

    play(scene)


def test_callers_who_go_away_never_open_a_route(play) -> None:
    """A run that is cancelled says nothing about the other side."""

    async def scene(s) -> None:
        for n in range(12):
            s.world.script = ["hang"]
            s.world.started.clear()
            task = s.call(path=f"p{n}")
            await s.world.started.wait()
            task.cancel()
            await s.settle()
        assert "closed" == health(s).state
        await in_step(s)

    play(scene)


def test_an_open_route_keeps_its_remaining_wait_through_a_death(play) -> None:
    """A crash loop must not hammer a provider that is down."""

    async def scene(s) -> None:
        await open_it(s)
        due = on_record(s).due
        s.clock.advance(SECOND)
        s.crash()
        later = await s.drive(s.call(path="next"))
        assert isinstance(later, Later)
        assert due <= later.due
        assert "open" == health(s).state
        assert due - s.clock.wall() == health(s).due - s.clock.mono()

    play(scene)


@pytest.mark.parametrize("by", [-3_600 * SECOND, 3_600 * SECOND])
def test_a_clock_that_is_set_neither_frees_nor_freezes_a_route(play, by: int) -> None:
    """Summer time comes in the middle of a night."""

    async def scene(s) -> None:
        await open_it(s)
        s.clock.jump(Micros(s.clock.wall() + by))
        s.crash()
        left = health(s).due - s.clock.mono()
        assert 0 <= left <= 8 * SECOND

    play(scene)


def test_one_of_twenty_is_let_through_to_find_out(play) -> None:
    """A provider that has just stood up is knocked down again by twenty at once."""

    async def scene(s) -> None:
        await open_it(s)
        s.clock.advance(Micros(10 * SECOND))
        s.world.script = ["hang"] * 20
        s.world.started.clear()
        tasks = [s.call(path=f"p{n}") for n in range(20)]
        await s.world.started.wait()
        await s.settle()
        assert 3 + 1 == len(s.world.keys)
        assert 1 == sum(not task.done() for task in tasks)
        s.world.go_on.set()
        await s.drive(*tasks)

    play(scene)


def test_the_cheapest_call_that_waits_is_the_one_that_finds_out(play) -> None:
    """If it is lost, as little as possible is lost."""

    async def scene(s) -> None:
        await open_it(s)
        for n, cost in enumerate((300, 100, 200)):
            await s.drive(s.call(path=f"p{n}", reserve=cost))
        s.clock.advance(Micros(10 * SECOND))
        assert isinstance(await s.drive(s.call(path="p0", reserve=300)), Later)
        assert isinstance(await s.drive(s.call(path="p1", reserve=100)), Ended)

    play(scene)


def test_three_proven_successes_close_a_route_and_the_clock_alone_never_does(play) -> None:
    """Closing by time sends the whole queue to a provider that is still dead."""

    async def scene(s) -> None:
        await open_it(s)
        s.clock.advance(Micros(3 * 3_600 * SECOND))
        assert "open" == health(s).state
        for n, state in enumerate(("ramp", "ramp", "closed")):
            assert isinstance(await s.drive(s.call(path=f"p{n}")), Ended)
            await s.settle()
            assert state == health(s).state
            assert (1, 2, 4)[n] == health(s).bulkhead.limit
            await in_step(s)
        await calls(s, 1, first=50)
        assert 0 == health(s).bulkhead.limit

    play(scene)


def test_more_than_two_failures_after_recovery_open_it_again(play) -> None:
    """It stood up and fell down: the queue must not follow it."""

    async def scene(s) -> None:
        await open_it(s)
        s.clock.advance(Micros(10 * SECOND))
        once: Any = {"retry": msgspec.structs.replace(PRESETS["http"].retry, rules={})}
        await calls(s, 3)
        assert "closed" == health(s).state
        s.world.script = [s.fault("server", status=500) for _ in range(3)]
        await calls(s, 3, first=10, **once)
        assert ("open", "relapse") == (health(s).state, on_record(s).cause)
        await in_step(s)

    play(scene)


def test_a_failed_test_keeps_it_open_and_waits_longer(play) -> None:
    """Five, ten, twenty seconds: a long outage costs a check a minute."""

    async def scene(s) -> None:
        await open_it(s)
        waits = [on_record(s).wait_ms]
        once: Any = {"retry": msgspec.structs.replace(PRESETS["http"].retry, rules={})}
        for n in range(5):
            s.clock.advance(Micros(100 * SECOND))
            s.world.script = [s.fault("server", status=500)]
            await calls(s, 1, first=n, **once)
            await s.settle()
            waits.append(on_record(s).wait_ms)
            await in_step(s)
        assert [5_000, 10_000, 20_000, 40_000, 60_000, 60_000] == waits

    play(scene)


def test_a_call_outlives_an_outage_that_is_longer_than_its_tries(play) -> None:
    """A batch has the night: what is wrong with the provider is not charged to the call."""

    async def scene(s) -> None:
        s.world.script = ["hang"] * 6
        fields: Any = {"timeout": None, "deadline": None}
        verdict = await s.drive(s.call(**fields))
        while isinstance(verdict, Later):
            s.clock.advance(Micros(max(verdict.due - s.clock.wall(), 0)))
            verdict = await s.drive(s.call(**fields))
        assert isinstance(verdict, Ended)
        assert 7 == len(s.world.keys)
        assert not s.house.row().fault
        await in_step(s)

    play(scene)


def test_a_call_that_kills_its_provider_ends_all_the_same(play) -> None:
    """One poisoned prompt must not keep a route shut for the whole night."""

    async def scene(s) -> None:
        s.world.script = [s.fault("network") for _ in range(50)]
        verdict, entries = await s.drive(s.call()), 0
        while isinstance(verdict, Later) and entries < 40:
            entries += 1
            s.clock.advance(Micros(max(verdict.due - s.clock.wall(), 0)))
            verdict = await s.drive(s.call())
        assert isinstance(verdict, Ended)
        assert "network" == s.house.row().fault
        assert len(s.world.keys) < 12

    play(scene)


def test_who_failed_at_testing_lets_the_next_one_try(play) -> None:
    """The cheapest may be the one that cannot be answered."""

    async def scene(s) -> None:
        await open_it(s)
        for n in (1, 2):
            await s.drive(s.call(path=f"p{n}", reserve=100 * n))
        s.clock.advance(Micros(10 * SECOND))
        s.world.script = [s.fault("server", status=500)]
        assert isinstance(await s.drive(s.call(path="p1", reserve=100)), Later)
        await s.drive(s.call(path="p2", reserve=200))
        s.clock.advance(Micros(15 * SECOND))
        assert isinstance(await s.drive(s.call(path="p1", reserve=100)), Later)
        assert isinstance(await s.drive(s.call(path="p2", reserve=200)), Ended)

    play(scene)


def test_answers_to_what_was_sent_before_it_opened_change_nothing(play) -> None:
    """A slow success from before the outage says nothing about now."""

    async def scene(s) -> None:
        s.world.script = ["swallow"]
        s.world.started.clear()
        slow = s.call(path="slow", timeout=Micros(59 * SECOND))
        await s.world.started.wait()
        await open_it(s)
        s.world.go_on.set()
        assert isinstance(await s.drive(slow), Ended)
        await s.settle()
        assert "open" == health(s).state
        await in_step(s)

    play(scene)


def test_a_wrong_key_blocks_a_route_until_a_person_has_done_something(play) -> None:
    """Asking again with the same key helps nobody, at any price."""

    async def scene(s) -> None:
        s.world.script = [s.fault("auth", status=401)]
        await calls(s, 1)
        assert "blocked" == health(s).state
        s.clock.advance(Micros(8 * 3_600 * SECOND))
        [later] = await calls(s, 1, first=1)
        assert "route-blocked" == later.why
        assert 1 == len(s.world.keys)
        await in_step(s)

        # A new process may have a new key: one attempt finds out.
        s.crash()
        s.world.script = [s.fault("auth", status=401)]
        told = await calls(s, 2, first=2)
        assert [Ended, Later] == [type(one) for one in told]
        s.crash()
        assert isinstance((await calls(s, 1, first=5))[0], Ended)
        await s.settle()
        assert "ramp" == health(s).state

    play(scene)


def test_a_wait_that_is_asked_for_parks_the_route_for_everybody(play) -> None:
    """The other side said when: nobody knocks before, and no try is spent."""

    async def scene(s) -> None:
        s.world.script = [s.fault("rate", status=429, retry_after=60 * SECOND)]
        told = await calls(s, 3)
        assert [Later, Later, Later] == [type(one) for one in told]
        assert 1 == len(s.world.keys)
        assert ["rate", "asked-wait", "asked-wait"] == [one.why for one in told]
        assert "closed" == health(s).state
        await in_step(s)

    play(scene)


def test_a_limiter_sends_its_burst_and_then_one_at_a_time_also_after_a_death(play) -> None:
    """A limit that a restart forgets is no limit."""
    policy = msgspec.structs.replace(
        PRESETS["http"], requests=RatePolicy(burst=2, every=Micros(60 * SECOND))
    )

    async def scene(s) -> None:
        hung(s, policy)
        told = await calls(s, 3)
        assert [Ended, Ended, Later] == [type(one) for one in told]
        assert "limit" == told[2].why
        s.crash()
        hung(s, policy)
        assert isinstance((await calls(s, 1, first=5))[0], Later)
        s.clock.advance(Micros(60 * SECOND))
        assert isinstance((await calls(s, 1, first=6))[0], Ended)
        await in_step(s)

    play(scene)


def test_a_refused_reservation_gives_the_limiter_its_token_back(play, house) -> None:
    """What was not sent must not keep others from being sent."""
    policy = msgspec.structs.replace(
        PRESETS["http"], requests=RatePolicy(burst=1, every=Micros(60 * SECOND))
    )
    house.limit("night", 10)

    async def scene(s) -> None:
        hung(s, policy)
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
        told = await calls(s, 6, **once)
        assert [Ended] * 6 == [type(one) for one in told]
        assert 6 == len(s.world.keys)
        assert "closed" == health(s).state

    play(scene)


def test_shadow_sends_everything_and_says_what_it_would_have_done(play) -> None:
    """A policy earns its power by being watched."""
    policy = msgspec.structs.replace(PRESETS["http"], mode="shadow")

    async def scene(s) -> None:
        hung(s, policy)
        await open_it(s)
        told = await calls(s, 1)
        assert isinstance(told[0], Ended)
        would = [x.data.would for x in s.house.facts() if x.kind == "CallDispatched"]
        assert "route-open" in would[-1]
        await in_step(s)

    play(scene)


def test_the_owners_word_is_heard_within_a_second_and_expires(play) -> None:
    """At 3 a.m. a person must be able to shut a route, and to forget it."""

    async def scene(s) -> None:
        await calls(s, 1)
        until = s.clock.wall() + 60 * SECOND
        ledger = s.house.ledger
        reason = ledger.payload(b'"the bill"')
        fact = RouteForced(route=ROUTE, state="open", until=until, reason=reason.digest)
        await ledger.append([ledger.draft(fact, payloads=(reason,))])
        s.clock.advance(SECOND)
        [later] = await calls(s, 1, first=1)
        assert isinstance(later, Later)
        assert until == later.due
        s.clock.advance(Micros(60 * SECOND))
        assert isinstance((await calls(s, 1, first=2))[0], Ended)

    play(scene)


def test_the_owner_can_rest_all_routes_at_once(play) -> None:
    """The kill switch of the guard itself, without a restart."""

    async def scene(s) -> None:
        await open_it(s)
        ledger = s.house.ledger
        reason = ledger.payload(b'"it is us"')
        until = s.clock.wall() + 600 * SECOND
        fact = RouteModeSet(route="*", mode="off", until=until, reason=reason.digest)
        await ledger.append([ledger.draft(fact, payloads=(reason,))])
        s.clock.advance(SECOND)
        assert isinstance((await calls(s, 1))[0], Ended)

    play(scene)


def test_a_step_with_little_time_says_nothing_about_its_route(play) -> None:
    """Three attempts of 100 ms each prove no outage to everybody else."""

    async def scene(s) -> None:
        s.world.script = ["hang"] * 5
        once: Any = {"retry": msgspec.structs.replace(PRESETS["http"].retry, rules={})}
        await calls(s, 5, timeout=Micros(SECOND // 10), **once)
        assert "closed" == health(s).state
        assert 0 == len(health(s).ring)
        await in_step(s)

    play(scene)


def test_a_test_that_is_given_up_while_it_waits_lets_the_next_one_try(play) -> None:
    """A leave that nobody gives back shuts a route until the process ends."""
    policy = msgspec.structs.replace(
        PRESETS["http"], requests=RatePolicy(burst=4, every=Micros(20 * SECOND))
    )

    async def scene(s) -> None:
        hung(s, policy)
        await open_it(s)
        health(s).turn = Micros(s.clock.wall() + 80 * SECOND)
        s.clock.advance(Micros(12 * SECOND))
        waiting = s.call(path="gone")
        await s.settle()
        assert health(s).testing
        waiting.cancel()
        await s.settle()
        assert not health(s).testing
        s.clock.advance(Micros(60 * SECOND))
        assert isinstance((await calls(s, 1))[0], Ended)

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
        await open_it(s)
        s.clock.advance(Micros(10 * SECOND))
        s.world.script = ["hang"]
        assert isinstance((await calls(s, 1, **watched))[0], Ended)
        s.crash()
        s.clock.advance(Micros(100 * SECOND))
        assert isinstance((await calls(s, 1, first=5))[0], Ended)
        await s.settle()
        assert "ramp" == health(s).state

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
        await calls(s, 3, retry=msgspec.structs.replace(PRESETS["http"].retry, rules={}))
        del s.house.ledger.submit
        assert 3 == len(s.ear.heard)
        assert "closed" == health(s).state

    play(scene)


def test_no_traffic_is_no_failure(play) -> None:
    """A house that has just been founded is healthy."""

    async def scene(s) -> None:
        assert "closed" == on_record(s).state
        s.clock.advance(Micros(48 * 3_600 * SECOND))
        assert "closed" == health(s).state

    play(scene)


def test_a_call_that_waits_on_record_needs_no_leave_to_be_held(play) -> None:
    """An open route must not hide from its owner that a payment may have happened."""

    async def scene(s) -> None:
        s.world.script = ["hang"]
        s.world.started.clear()
        s.call(path="pay", repeat="never")
        await s.world.started.wait()
        s.crash()
        await open_it(s)
        told = await s.drive(s.call(path="pay", repeat="never"))
        assert "Hold" == type(told).__name__

    play(scene)
