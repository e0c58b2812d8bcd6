"""The bulkhead: never more inside than allowed, nobody overtakes, no place is lost.

What it is not: a limit across processes.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.guard.bulkhead import Bulkhead
from tildawn.guard.deadline import Alarms
from tildawn.testing.clock import ManualClock
from tildawn.units import SECOND, Micros


LONG = Micros(3_600 * SECOND)


def played(scene: Callable[[ManualClock, Alarms], Awaitable[None]]) -> None:
    """Play a scene on a loop of its own, with alarms by a clock that stands still."""

    async def play() -> None:
        clock = ManualClock()
        alarms = Alarms(clock)
        try:
            await scene(clock, alarms)
        finally:
            alarms.close()

    asyncio.run(play())


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(6):
        await asyncio.sleep(0)


def test_so_many_are_let_in_and_the_next_when_one_leaves() -> None:
    """The limit of a route is on attempts under way."""

    async def scene(_: ManualClock, alarms: Alarms) -> None:
        rooms = Bulkhead(alarms, limit=2)
        assert await rooms.enter(LONG)
        assert await rooms.enter(LONG)
        third = asyncio.create_task(rooms.enter(LONG))
        await settle()
        assert (2, 1) == (rooms.inside, rooms.waiting)
        assert not third.done()

        rooms.leave()
        assert await third
        assert (2, 0) == (rooms.inside, rooms.waiting)

    played(scene)


def test_without_a_limit_everybody_is_let_in() -> None:
    """And counted, so that a limit that comes later counts them too."""

    async def scene(_: ManualClock, alarms: Alarms) -> None:
        rooms = Bulkhead(alarms)
        assert all([await rooms.enter(Micros(0)) for _ in range(100)])
        assert rooms.inside == 100
        rooms.limit = 1
        assert not await rooms.enter(Micros(0))

    played(scene)


def test_whoever_came_first_is_let_in_first() -> None:
    """A newcomer gets no place that somebody waits for, not even in the same turn."""

    async def scene(_: ManualClock, alarms: Alarms) -> None:
        rooms, order = Bulkhead(alarms, limit=1), list[int]()

        async def visit(name: int) -> None:
            assert await rooms.enter(LONG)
            order.append(name)
            await asyncio.sleep(0)
            rooms.leave()

        assert await rooms.enter(LONG)
        visits = [asyncio.create_task(visit(name)) for name in range(5)]
        await settle()
        rooms.leave()
        visits.append(asyncio.create_task(visit(5)))
        assert not await rooms.enter(Micros(0))
        await asyncio.gather(*visits)
        assert order == [0, 1, 2, 3, 4, 5]
        assert rooms.inside == 0

    played(scene)


def test_waiting_ends_at_its_instant_and_costs_nobody_a_place() -> None:
    """A call that may wait ten seconds goes elsewhere after ten seconds."""

    async def scene(clock: ManualClock, alarms: Alarms) -> None:
        rooms = Bulkhead(alarms, limit=1)
        assert await rooms.enter(LONG)
        short = asyncio.create_task(rooms.enter(Micros(10 * SECOND)))
        long = asyncio.create_task(rooms.enter(Micros(20 * SECOND)))
        await settle()
        clock.advance(Micros(9 * SECOND))
        await settle()
        assert not short.done()
        clock.advance(SECOND)
        assert not await short
        rooms.leave()
        assert await long
        assert (1, 0) == (rooms.inside, rooms.waiting)

    played(scene)


def test_whoever_is_cancelled_while_waiting_is_skipped() -> None:
    """The place goes to the next one, in whichever order the two things happen."""

    async def scene(_: ManualClock, alarms: Alarms) -> None:
        for cancel_first in (True, False):
            rooms = Bulkhead(alarms, limit=1)
            assert await rooms.enter(LONG)
            gone = asyncio.create_task(rooms.enter(LONG))
            stays = asyncio.create_task(rooms.enter(LONG))
            await settle()
            steps = [gone.cancel, rooms.leave]
            for step in steps if cancel_first else reversed(steps):
                step()
            with pytest.raises(asyncio.CancelledError):
                await gone
            assert await stays
            rooms.leave()
            assert (0, 0) == (rooms.inside, rooms.waiting)

    played(scene)


def test_a_higher_limit_lets_waiters_in_and_a_lower_one_puts_nobody_out() -> None:
    """The ramp after an outage: one, two, four, all."""

    async def scene(_: ManualClock, alarms: Alarms) -> None:
        rooms = Bulkhead(alarms, limit=1)
        visits = [asyncio.create_task(rooms.enter(LONG)) for _ in range(10)]
        seen = list[int]()
        for limit in (1, 2, 4, 1, 0):
            rooms.limit = limit
            await settle()
            seen.append(rooms.inside)
        assert seen == [1, 2, 4, 4, 10]
        assert all(await asyncio.gather(*visits))

    played(scene)


def test_a_place_that_is_given_back_twice_is_a_fault_of_ours() -> None:
    """Going on would let in one too many for ever."""

    async def scene(_: ManualClock, alarms: Alarms) -> None:
        rooms = Bulkhead(alarms, limit=1)
        assert await rooms.enter(LONG)
        rooms.leave()
        with pytest.raises(AssertionError):
            rooms.leave()

    played(scene)


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.integers(0, 20)),
        st.tuples(st.just("leave"), st.integers(0, 5)),
        st.tuples(st.just("cancel"), st.integers(0, 10)),
        st.tuples(st.just("limit"), st.integers(0, 4)),
        st.tuples(st.just("time"), st.integers(1, 10)),
        st.tuples(st.just("run"), st.just(0)),
    ),
    max_size=60,
)


class House:
    """Visitors of one bulkhead, and a count of their own of who is inside."""

    def __init__(self, clock: ManualClock, alarms: Alarms) -> None:
        self.clock = clock
        self.rooms = Bulkhead(alarms, limit=2)
        self.entered = 0
        self.left = 0
        self.inside: list[asyncio.Event] = []
        self.visits: list[asyncio.Task[None]] = []
        self.came: list[int] = []

    async def visit(self, name: int, patience: int) -> None:
        until = Micros(self.clock.mono() + patience * SECOND)
        if not await self.rooms.enter(until):
            return
        self.entered += 1
        self.came.append(name)
        go = asyncio.Event()
        self.inside.append(go)
        try:
            await go.wait()
        finally:
            self.inside.remove(go)
            self.left += 1
            self.rooms.leave()

    async def act(self, act: str, number: int) -> None:
        if act == "enter":
            name = len(self.visits)
            self.visits.append(asyncio.create_task(self.visit(name, number)))
        elif act == "leave" and self.inside:
            self.inside[number % len(self.inside)].set()
        elif act == "cancel" and self.visits:
            self.visits[number % len(self.visits)].cancel()
        elif act == "limit":
            self.rooms.limit = number
        elif act == "time":
            self.clock.advance(Micros(number * SECOND))
        elif act == "run":
            await asyncio.sleep(0)


@given(ACTS)
def test_whoever_is_let_in_leaves_and_admissions_balance(acts) -> None:
    """Whoever entered leaves once, nobody waits before an empty room, and all in their order."""

    async def scene(clock: ManualClock, alarms: Alarms) -> None:
        house, highest = House(clock, alarms), 2
        rooms = house.rooms
        for act, number in acts:
            before = rooms.inside
            await house.act(act, number)
            highest = rooms.limit
            assert not highest or rooms.inside <= max(highest, before)
        await settle()
        assert house.entered - house.left == rooms.inside == len(house.inside)
        assert not rooms.waiting or 0 < rooms.limit <= rooms.inside
        assert house.came == sorted(house.came)
        clock.advance(Micros(60 * SECOND))
        await settle()
        assert rooms.waiting == 0
        for go in list(house.inside):
            go.set()
        await asyncio.gather(*house.visits, return_exceptions=True)
        assert (0, 0) == (rooms.inside, house.entered - house.left)

    played(scene)
