"""What dead processes leave: doubts of ended runs, and children that may still live.

What it is not: the next entry of a call; see test_doubt.py.
"""

import asyncio

import pytest

from tildawn.errors import StaleWriter
from tildawn.facts.run import RunFailed
from tildawn.guard.recover import doubt_ended, prove_gone
from tildawn.guard.request import Ended, Later
from tildawn.projections.tally import children, under_way
from tildawn.units import Micros


def test_a_call_of_an_ended_run_is_doubted_and_its_money_held(play, house) -> None:
    """Nobody will come back for it, and the sums of the night must close."""

    async def scene(s) -> None:
        await s.lose(budgets=("night",), reserve=40)
        assert 0 == await doubt_ended(house.ledger), "the run goes on, so its next entry does it"
        house.say(RunFailed(error=""))
        assert 0 == await doubt_ended(house.ledger, spare={(house.row().run, "p")})
        assert 1 == await doubt_ended(house.ledger)
        assert 0 == await doubt_ended(house.ledger)

    house.limit("night", 100)
    play(scene)
    budget = house.budget("night")
    assert (40, 0, 0) == (budget.held, budget.spent, budget.reserved)
    assert ("unknown", "run-ended") == (house.row().state, house.facts()[1].data.why)


def started(s, *, pid: int = 4_711):
    """A perform that starts a child and then hangs."""

    async def perform(attempt):
        s.world.keys.append(attempt.key)
        await attempt.child_started(pid, "boot/1")
        s.world.started.set()
        return await s.world._hang()

    return perform


def test_no_attempt_leaves_while_a_child_of_the_last_may_live(play, house) -> None:
    """Two children of one step would write the same file."""
    asked, gone = [], False

    async def killer(pid, start):
        asked.append((pid, start))
        return gone

    async def scene(s) -> None:
        nonlocal gone
        s.world.perform = started(s)
        lost = s.call()
        await s.world.started.wait()
        assert () == await prove_gone(house.ledger, killer, spare=s.door.inside())
        s.crash()

        later = await s.drive(s.call())
        assert isinstance(later, Later)
        assert "child-process" == later.why
        [stubborn] = await prove_gone(house.ledger, killer)
        assert (4_711, "boot/1") == (stubborn.pid, stubborn.started) == asked[0]
        assert isinstance(await s.drive(s.call()), Later)

        gone = True
        assert () == await prove_gone(house.ledger, killer)
        with house.ledger.read() as reader:
            assert [] == children(reader)
        del s.world.perform
        assert isinstance(await s.drive(s.call()), Ended)
        lost.cancel()
        await asyncio.wait([lost])

    play(scene)
    assert "ChildProcessGone" in house.kinds()


def test_a_child_that_ends_with_its_attempt_is_forgotten(play, house) -> None:
    """Nearly all do; recovery must not ask the system about thousands of them."""

    async def scene(s) -> None:
        async def perform(attempt):
            await attempt.child_started(1, "x")
            return s.answer()

        s.world.perform = perform
        assert isinstance(await s.drive(s.call()), Ended)
        with house.ledger.read() as reader:
            assert ([], []) == (children(reader), under_way(reader))

    play(scene)
    assert 0 == house.row().child


def test_a_child_of_a_zombie_is_not_allowed_to_begin(play, house) -> None:
    """The last moment at which a stale attempt can be stopped is before its child does anything."""
    refused = []

    async def scene(s) -> None:
        async def perform(attempt):
            house.begin()
            try:
                await attempt.child_started(1, "x")
            except StaleWriter as error:
                refused.append(error)
                raise
            raise AssertionError

        s.world.perform = perform
        await s.drive(s.call())

    play(scene)
    assert 1 == len(refused)
    with house.ledger.read() as reader:
        assert [] == children(reader)


def test_an_abandoned_attempt_with_a_child_is_not_followed_by_another(play, house) -> None:
    """It swallowed its end, so its child lives until somebody proves otherwise."""

    async def scene(s) -> None:
        async def perform(attempt):
            await attempt.child_started(7, "x")
            return await s.world._swallow()

        s.world.perform = perform
        later = await s.drive(s.call(timeout=Micros(1_000_000)))
        assert isinstance(later, Later)
        assert "child-process" == later.why
        with house.ledger.read() as reader:
            assert [7] == [child.pid for child in children(reader)]
        s.world.go_on.set()
        await s.settle()

    play(scene)


@pytest.mark.parametrize("swallowed", [False, True])
def test_closing_the_door_leaves_no_task_behind(play, house, swallowed) -> None:
    """A worker that is asked to leave must be able to."""

    async def scene(s) -> None:
        s.world.script = ["swallow" if swallowed else "hang"]
        await s.drive(s.call(timeout=Micros(1_000_000), deadline=Micros(1_000_000)))
        assert swallowed == bool(s.door.abandoned())
        s.world.go_on.set()
        await s.settle()
        await s.door.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not [task for task in others if not task.done() and not task.cancelling()]

    play(scene)
