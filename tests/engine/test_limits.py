"""What a task may not do, and what keeps runs out of each other's way.

What it is not: the limits of calls; those are the guard's.
"""

import asyncio
import json
from typing import Any

import pytest

from tildawn.engine.queue import NEXT_QUEUE
from tildawn.engine.task import task
from tildawn.errors import BadTask, Bypassed, CallFailed
from tildawn.runtime.context import Context


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({1, 2}, "set"),
        (float("nan"), "NaN"),
        ("x" * 10_000_000, "10,000,002 bytes"),
        (lambda: 1, "function"),
    ],
)
def test_a_result_that_cannot_be_recorded_fails_its_run_by_name(
    workshop: Any, value: Any, said: str
) -> None:
    """Nothing is recorded that would read differently later."""

    @task(name="odd")
    async def odd(ctx: Context):
        return value

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(odd)
        await workshop.ended(name, "failed")

        assert "odd" in workshop.why(name)
        assert said in workshop.why(name)

    asyncio.run(story())


def test_types_that_cannot_be_recorded_are_refused_at_declaration() -> None:
    """The morning is too late to learn that a result was a set."""

    async def takes_set(ctx: Context, x: set[int]) -> int:
        return 1

    async def takes_any(ctx: Context, x: Any) -> int:
        return 1

    def not_async(ctx: Context) -> int:
        return 1

    wrong: list[Any] = [takes_set, takes_any, not_async]
    for function in wrong:
        with pytest.raises(BadTask):
            task(function)


def test_runs_with_one_key_run_one_at_a_time(workshop: Any) -> None:
    """Keyed serial work, such as one shop at a time."""
    going: list[str] = []
    most: list[int] = []
    gates = {name: asyncio.Event() for name in "abc"}

    async def work(name: str) -> str:
        going.append(name)
        most.append(len(going))
        await gates[name].wait()
        going.remove(name)
        return name

    @task(name="serial", limit_key=lambda name: "shop")
    async def serial(ctx: Context, name: str) -> str:
        return await ctx.step(work, name)

    async def story() -> None:
        await workshop.start()
        names = [await workshop.enqueue(serial, letter) for letter in "abc"]
        for letter in "abc":
            await workshop.until(lambda letter=letter: going == [letter])
            gates[letter].set()
            await workshop.settle(2)
        for name in names:
            await workshop.ended(name)

        assert 1 == max(most)

    asyncio.run(story())


def test_higher_priority_starts_first(workshop: Any) -> None:
    """Must before should before could."""
    order: list[int] = []

    async def note(n: int) -> int:
        order.append(n)
        return n

    @task(name="noted")
    async def noted(ctx: Context, n: int) -> int:
        return await ctx.step(note, n)

    async def story() -> None:
        workshop.tasks.add(noted)
        names = [await workshop.enqueue(noted, n, priority=n) for n in (1, 3, 2)]
        await workshop.start()
        for name in names:
            await workshop.ended(name)

        assert [3, 2, 1] == order

    asyncio.run(story())


def test_task_code_may_not_reach_around_its_loop(workshop: Any) -> None:
    """Threads and order-less combinators are refused when they are used."""

    @task(name="reaching")
    async def reaching(ctx: Context) -> list[str]:
        found: list[str] = []
        branch = asyncio.ensure_future(ctx.sleep(1))
        for attempt in (
            lambda: asyncio.to_thread(print),
            lambda: asyncio.wait({branch}),
            lambda: asyncio.wait_for(branch, 2),
        ):
            try:
                await attempt()
            except Bypassed:
                found.append("refused")
        branch.cancel()
        return found

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(reaching)
        await workshop.ended(name)

        assert ["refused"] * 3 == json.loads(workshop.result(name))

    asyncio.run(story())


def test_a_run_killed_with_its_process_three_times_alone_is_quarantined(
    workshop: Any, counted: Any
) -> None:
    """Poison does not kill the whole night."""

    @task(name="poison")
    async def poison(ctx: Context) -> str:
        return await ctx.step(counted.hang, "x")

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(poison)
        for _ in range(3):
            await workshop.settle()
            workshop.ledger.unclean = True
            await workshop.crash()
        row = await workshop.ended(name, "held")

        assert "quarantined" == row.why
        assert 3 == row.sole_deaths

    asyncio.run(story())


def test_error_classes_of_calls_are_ours() -> None:
    """Task code catches one tree of errors, live and on replay."""
    assert issubclass(CallFailed, Exception)


def test_a_held_run_in_a_queue_of_its_own_goes_on_after_a_restart(
    workshop: Any, counted: Any
) -> None:
    """The answer was recorded and nothing happened: the new engine had never heard of the queue."""

    @task(name="alone", queue="photos")
    async def alone(ctx: Context) -> str:
        return await ctx.step(counted.work, "a")

    async def story() -> None:
        name = await workshop.enqueue(alone)
        await workshop.owner.pause(name)
        await workshop.start()
        await workshop.reopen()
        assert await workshop.owner.resume(name)
        await workshop.ended(name)

    asyncio.run(story())


def test_looking_for_queues_walks_along_the_index(workshop: Any) -> None:
    """Every dispatch asks, so a long backlog must not be read for it."""
    with workshop.ledger.read() as reader:
        plan = reader.query(f"EXPLAIN QUERY PLAN {NEXT_QUEUE}", ("",))
    assert "run_queued (queue>?)" in str(plan), plan


@pytest.mark.parametrize("where", ["task", "step"])
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_code_that_wants_to_end_the_process_ends_only_its_own_attempt(
    workshop: Any, where: str, kind: type[BaseException]
) -> None:
    """A worker that one task can switch off works for nobody."""

    async def leave() -> int:
        raise kind(3)

    @task(name="leaving")
    async def leaving(ctx: Context) -> int:
        if where == "task":
            raise kind(3)
        return await ctx.step(leave)

    @task(name="staying")
    async def staying(ctx: Context) -> int:
        return 1

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(leaving)
        await workshop.ended(name, "scheduled")
        other = await workshop.enqueue(staying)
        await workshop.ended(other)

        assert kind.__name__ in workshop.why(name)

    asyncio.run(story())
