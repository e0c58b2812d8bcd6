"""The gate of a route, seen through the door: what is let through, and what a death leaves.

What it is not: the rules one by one; each has a file of its own beside this one.
"""

from typing import Any

import msgspec
import pytest

from tildawn.guard.policy import PRESETS
from tildawn.guard.request import Ended, Later
from tildawn.units import SECOND, Micros


ROUTE = "shop:create"


def test_three_timeouts_open_a_route_and_nothing_more_is_sent(play) -> None:
    """Whoever asks a dead provider again and again pays with the night."""

    async def scene(s) -> None:
        await s.open_route()
        later = await s.drive(s.call(path="next"))
        assert isinstance(later, Later)
        assert "route-open" == later.why
        assert 3 == len(s.world.keys)
        assert "timeouts-in-a-row" == s.on_record().cause
        await s.in_step()

    play(scene)


def test_five_of_our_own_mistakes_leave_a_route_closed(play) -> None:
    """A provider that refuses what is wrong is well."""

    async def scene(s) -> None:
        s.world.script = [s.fault("bad_request", status=400) for _ in range(5)]
        await s.calls(5)
        assert "closed" == s.health().state
        await s.in_step()

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
        assert "closed" == s.health().state
        await s.in_step()

    play(scene)


def test_many_at_once_are_not_overdue_because_our_disk_is_slow(play) -> None:
    """A route that answers in no time, asked by two hundred, was taken out of service for it."""

    async def scene(s) -> None:
        await s.calls(25)
        tasks = [s.call(path=f"q{n}") for n in range(30)]
        s.clock.advance(Micros(SECOND // 2))  # while their dispatches are on the way to the disk
        await s.drive(*tasks)
        assert [Ended] * 30 == [type(task.result()) for task in tasks]

    play(scene)


def test_attempts_that_take_too_long_together_close_the_route_before_they_end(play) -> None:
    """A provider that hangs is seen before the first of its calls has timed out."""

    async def scene(s) -> None:
        await s.calls(25)
        s.world.script = ["swallow"] * 6
        fields: Any = {"timeout": None, "deadline": None}
        tasks = [s.call(path=f"q{n}", **fields) for n in range(6)]
        await s.settle()
        s.clock.advance(Micros(5 * SECOND))
        later = await s.drive(s.call(path="next", **fields))
        assert isinstance(later, Later)
        assert "overdue" == s.on_record().cause
        s.world.go_on.set()
        await s.drive(*tasks)
        await s.settle()
        assert "closed" == s.health().state, "they were answered after all"
        await s.in_step()

    play(scene)


def test_an_open_route_keeps_its_remaining_wait_through_a_death(play) -> None:
    """A crash loop must not hammer a provider that is down."""

    async def scene(s) -> None:
        await s.open_route()
        due = s.on_record().due
        s.clock.advance(SECOND)
        s.crash()
        later = await s.drive(s.call(path="next"))
        assert isinstance(later, Later)
        assert due <= later.due
        assert "open" == s.health().state
        assert due - s.clock.wall() == s.health().due - s.clock.mono()

    play(scene)


@pytest.mark.parametrize("by", [-3_600 * SECOND, 3_600 * SECOND])
def test_a_clock_that_is_set_neither_frees_nor_freezes_a_route(play, by: int) -> None:
    """Summer time comes in the middle of a night."""

    async def scene(s) -> None:
        await s.open_route()
        s.clock.jump(Micros(s.clock.wall() + by))
        s.crash()
        left = s.health().due - s.clock.mono()
        assert 0 <= left <= 8 * SECOND

    play(scene)


def test_one_of_twenty_is_let_through_to_find_out(play) -> None:
    """A provider that has just stood up is knocked down again by twenty at once."""

    async def scene(s) -> None:
        await s.open_route()
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
        await s.open_route()
        for n, cost in enumerate((300, 100, 200)):
            await s.drive(s.call(path=f"p{n}", reserve=cost))
        s.clock.advance(Micros(10 * SECOND))
        assert isinstance(await s.drive(s.call(path="p0", reserve=300)), Later)
        assert isinstance(await s.drive(s.call(path="p1", reserve=100)), Ended)

    play(scene)


def test_three_proven_successes_close_a_route_and_the_clock_alone_never_does(play) -> None:
    """Closing by time sends the whole queue to a provider that is still dead."""

    async def scene(s) -> None:
        await s.open_route()
        s.clock.advance(Micros(3 * 3_600 * SECOND))
        assert "open" == s.health().state
        for n, state in enumerate(("ramp", "ramp", "closed")):
            assert isinstance(await s.drive(s.call(path=f"p{n}")), Ended)
            await s.settle()
            assert state == s.health().state
            assert (1, 2, 4)[n] == s.health().bulkhead.limit
            await s.in_step()
        await s.calls(1, first=50)
        assert 0 == s.health().bulkhead.limit

    play(scene)


def test_more_than_two_failures_after_recovery_open_it_again(play) -> None:
    """It stood up and fell down: the queue must not follow it."""

    async def scene(s) -> None:
        await s.open_route()
        s.clock.advance(Micros(10 * SECOND))
        once: Any = {"retry": msgspec.structs.replace(PRESETS["http"].retry, rules={})}
        await s.calls(3)
        assert "closed" == s.health().state
        s.world.script = [s.fault("server", status=500) for _ in range(3)]
        await s.calls(3, first=10, **once)
        assert ("open", "relapse") == (s.health().state, s.on_record().cause)
        await s.in_step()

    play(scene)


def test_a_failed_test_keeps_it_open_and_waits_longer(play) -> None:
    """Five, ten, twenty seconds: a long outage costs a check a minute."""

    async def scene(s) -> None:
        await s.open_route()
        waits = [s.on_record().wait_ms]
        once: Any = {"retry": msgspec.structs.replace(PRESETS["http"].retry, rules={})}
        for n in range(5):
            s.clock.advance(Micros(100 * SECOND))
            s.world.script = [s.fault("server", status=500)]
            await s.calls(1, first=n, **once)
            await s.settle()
            waits.append(s.on_record().wait_ms)
            await s.in_step()
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
        await s.in_step()

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
        await s.open_route()
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
        await s.open_route()
        s.world.go_on.set()
        assert isinstance(await s.drive(slow), Ended)
        await s.settle()
        assert "open" == s.health().state
        await s.in_step()

    play(scene)


def test_a_wrong_key_blocks_a_route_until_a_person_has_done_something(play) -> None:
    """Asking again with the same key helps nobody, at any price."""

    async def scene(s) -> None:
        s.world.script = [s.fault("auth", status=401)]
        await s.calls(1)
        assert "blocked" == s.health().state
        s.clock.advance(Micros(8 * 3_600 * SECOND))
        [later] = await s.calls(1, first=1)
        assert "route-blocked" == later.why
        assert 1 == len(s.world.keys)
        await s.in_step()

        # A new process may have a new key: one attempt finds out.
        s.crash()
        s.world.script = [s.fault("auth", status=401)]
        told = await s.calls(2, first=2)
        assert [Later, Later] == [type(one) for one in told]
        assert 2 == len(s.world.keys)
        s.crash()
        assert isinstance((await s.calls(1, first=5))[0], Ended)
        await s.settle()
        assert "ramp" == s.health().state

    play(scene)


def test_a_wait_that_is_asked_for_parks_the_route_for_everybody(play) -> None:
    """The other side said when: nobody knocks before, and no try is spent."""

    async def scene(s) -> None:
        s.world.script = [s.fault("rate", status=429, retry_after=60 * SECOND)]
        told = await s.calls(3)
        assert [Later, Later, Later] == [type(one) for one in told]
        assert 1 == len(s.world.keys)
        assert ["rate", "asked-wait", "asked-wait"] == [one.why for one in told]
        assert "closed" == s.health().state
        await s.in_step()

    play(scene)
