"""What a run that waits, is paused or is asked to stop promises.

What it is not: about results; those are in ``test_runs``.
"""

import asyncio
import json
from typing import Any

import pytest

from tildawn.engine.task import task
from tildawn.runtime.context import Context
from tildawn.units import SECOND, Micros


def test_a_cancelled_run_cleans_up_and_ends_as_cancelled(workshop: Any, counted: Any) -> None:
    """The request is delivered on the run's own loop; cleaning up may take steps."""

    @task(name="cleaning")
    async def cleaning(ctx: Context) -> str:
        try:
            await ctx.sleep(30)
        finally:
            await ctx.step(counted.work, "clean")
        return "never"

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(cleaning)
        await workshop.settle()
        assert await workshop.owner.cancel(name, "not needed")
        await workshop.ended(name, "cancelled")

        assert ["clean"] == counted.calls
        assert not await workshop.owner.cancel(name)

    asyncio.run(story())


def test_cancelling_a_parent_cancels_its_children(workshop: Any) -> None:
    """Nothing goes on behind the back of a run that was stopped."""

    @task(name="slow")
    async def slow(ctx: Context) -> int:
        await ctx.sleep("8h")
        return 1

    @task(name="parent")
    async def parent(ctx: Context) -> int:
        return await ctx.child(slow)

    async def story() -> None:
        workshop.tasks.add(slow)
        await workshop.start()
        name = await workshop.enqueue(parent)
        await workshop.settle(12)
        with workshop.ledger.read() as reader:
            child = reader.query("SELECT run FROM run WHERE parent = ?", (name,))[0][0]
        assert await workshop.owner.cancel(name)
        await workshop.ended(name, "cancelled")
        await workshop.ended(child, "cancelled")

    asyncio.run(story())


def test_a_run_that_waits_long_leaves_memory_and_comes_back(workshop: Any, counted: Any) -> None:
    """A sleeping run costs a row, not a coroutine."""

    @task(name="sleepy")
    async def sleepy(ctx: Context) -> str:
        await ctx.step(counted.work, "before")
        await ctx.sleep("8h")
        return await ctx.step(counted.work, "after")

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(sleepy)
        row = await workshop.ended(name, "waiting")
        await workshop.settle()

        assert 1 == row.parked
        assert {} == workshop.engine.residents
        await workshop.reopen()
        await workshop.tick(8 * 3600 * SECOND)
        await workshop.ended(name)
        assert ["before", "after"] == counted.calls

    asyncio.run(story())


def test_an_event_wakes_a_parked_run_and_is_not_lost_when_it_comes_first(workshop: Any) -> None:
    """Events that come before anybody waits for them still count."""

    @task(name="listening")
    async def listening(ctx: Context) -> list[int]:
        first = await ctx.event("go")
        await ctx.sleep("8h")
        return [first, await ctx.event("go")]

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(listening)
        await workshop.settle()
        await workshop.owner.emit(name, "go", 1)
        await workshop.ended(name, "waiting")
        await workshop.settle()
        await workshop.owner.emit(name, "go", 2)
        await workshop.settle()
        await workshop.crash()
        await workshop.tick(9 * 3600 * SECOND)
        await workshop.ended(name)

        assert [1, 2] == json.loads(workshop.result(name))

    asyncio.run(story())


def test_pause_stops_a_run_and_resume_lets_it_go_on(workshop: Any, counted: Any) -> None:
    """A paused run holds no memory and repeats no recorded step."""

    @task(name="pausable")
    async def pausable(ctx: Context) -> str:
        await ctx.step(counted.work, "a")
        await ctx.sleep(5)
        return await ctx.step(counted.work, "b")

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(pausable)
        await workshop.settle()
        assert await workshop.owner.pause(name)
        await workshop.tick(20 * SECOND)
        assert "held" == workshop.row(name).state
        assert ["a"] == counted.calls
        assert await workshop.owner.resume(name)
        await workshop.ended(name)
        assert ["a", "b"] == counted.calls

    asyncio.run(story())


def test_a_timeout_is_durable_and_a_finished_one_leaves_nothing(
    workshop: Any, counted: Any
) -> None:
    """asyncio.timeout works and survives a crash in the middle."""

    @task(name="limited")
    async def limited(ctx: Context) -> str:
        async with asyncio.timeout(5):
            await ctx.step(counted.work, "quick")
        try:
            async with asyncio.timeout(20):
                await ctx.event("never")
        except TimeoutError:
            return "late"
        return "early"

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(limited)
        await workshop.settle()
        await workshop.tick(10 * SECOND)
        await workshop.crash()
        await workshop.settle()
        await workshop.tick(11 * SECOND)
        await workshop.ended(name)

        assert "late" == json.loads(workshop.result(name))
        assert 1 == workshop.kinds(name).count("TimerFired")

    asyncio.run(story())


def test_a_child_result_reaches_a_parked_parent(workshop: Any, counted: Any) -> None:
    """The end of the child and the word to the parent are one append."""

    @task(name="kid")
    async def kid(ctx: Context, n: int) -> int:
        await ctx.sleep("2h")
        await ctx.step(counted.work, f"kid{n}")
        return n * 2

    @task(name="mum")
    async def mum(ctx: Context) -> list[int]:
        return await ctx.gather(ctx.child(kid, 1), ctx.child(kid, 2))

    async def story() -> None:
        workshop.tasks.add(kid)
        await workshop.start()
        name = await workshop.enqueue(mum)
        await workshop.settle(12)
        await workshop.tick(2 * SECOND)
        await workshop.tick(100 * SECOND)
        assert {} == workshop.engine.residents
        await workshop.crash()
        await workshop.tick(2 * 3600 * SECOND)
        await workshop.ended(name)

        assert [2, 4] == json.loads(workshop.result(name))
        assert 2 == len(counted.calls)

    asyncio.run(story())


@pytest.mark.parametrize("seconds", [1, 60])
def test_a_wait_that_ends_just_as_it_is_shown_does_not_strand_its_run(
    workshop: Any, counted: Any, seconds: int
) -> None:
    """A run that slept for a second stayed "waiting" for ever: its end was no legal move."""

    @task(name="brief")
    async def brief(ctx: Context) -> str:
        await ctx.sleep(seconds)
        return await ctx.step(counted.work, "a")

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(brief)
        await workshop.settle()
        await workshop.tick(seconds * SECOND)
        await workshop.ended(name)

    asyncio.run(story())


def test_an_event_that_comes_just_as_its_wait_is_shown_does_not_strand_the_run(
    workshop: Any,
) -> None:
    """The event is on record before the word that the run waits, and the run goes on to its end."""

    @task(name="told")
    async def told(ctx: Context) -> int:
        return await ctx.event("go")

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(told)
        await workshop.settle()
        emitting = asyncio.ensure_future(workshop.owner.emit(name, "go", 7))
        await asyncio.sleep(0)  # The event is on its way, and nothing of it has come back.
        workshop.clock.advance(Micros(2 * SECOND))
        assert await emitting
        await workshop.ended(name)

    asyncio.run(story())


@pytest.mark.parametrize(("choice", "state"), [("cancel", "cancelled"), ("resume", "running")])
def test_a_run_that_swallows_its_cancellation_is_held_by_name(
    workshop: Any, counted: Any, choice: str, state: str
) -> None:
    """Who asked for a stop is not left to believe that it happened."""

    @task(name="deaf")
    async def deaf(ctx: Context) -> str:
        for _ in range(100):
            try:
                await ctx.sleep("8h")
            except asyncio.CancelledError:
                await ctx.step(counted.work, "ignored")
        return "never"

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(deaf, key="x")
        await workshop.ended(name, "waiting")
        assert await workshop.owner.cancel(name)
        await workshop.until(lambda: counted.calls == ["ignored"])
        await workshop.tick(29 * SECOND)
        assert workshop.row(name).state in {"running", "waiting"}
        await workshop.tick(2 * SECOND)
        row = await workshop.ended(name, "held")

        assert "cancel-ignored" == row.why
        assert "deaf" in json.loads(workshop.why(name))["message"]
        assert {} == workshop.engine.residents
        assert await workshop.owner.answer(name, choice)
        await workshop.ended(name, state)

    asyncio.run(story())


def test_a_run_that_cleans_up_in_time_is_cancelled_and_not_held(workshop: Any) -> None:
    """Cleaning up may take a while; that is what the half minute is for."""

    @task(name="tidy")
    async def tidy(ctx: Context) -> str:
        try:
            await ctx.event("never")
        finally:
            await ctx.sleep(20)
        return "never"

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(tidy)
        await workshop.settle()
        assert await workshop.owner.cancel(name)
        await workshop.settle()
        await workshop.tick(21 * SECOND)
        await workshop.ended(name, "cancelled")
        await workshop.tick(20 * SECOND)
        assert "cancelled" == workshop.row(name).state

    asyncio.run(story())
