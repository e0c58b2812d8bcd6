"""What a run promises, one sentence a test.

What it is not: random; the random part is in ``test_interleavings``.
"""

import asyncio
import json
from typing import Any

import pytest

from tildawn.engine.task import Retry, task
from tildawn.errors import Misused, StepFailed
from tildawn.facts.step import StepRecorded
from tildawn.ledger.entry import Unmet
from tildawn.runtime.context import Context, step
from tildawn.units import SECOND, Micros


def test_a_recorded_step_never_runs_again(workshop: Any, counted: Any) -> None:
    """The first promise: what is on record is told, not done."""

    @task(name="two")
    async def two(ctx: Context) -> list[str]:
        first = await ctx.step(counted.work, "a")
        await ctx.sleep(10)
        return [first, await ctx.step(counted.work, "b")]

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(two)
        await workshop.settle()
        await workshop.crash()
        await workshop.settle()
        await workshop.tick(11 * SECOND)
        await workshop.ended(name)

        assert ["a", "b"] == counted.calls
        assert ["A", "B"] == json.loads(workshop.result(name))
        assert 2 == workshop.row(name).attempt

    asyncio.run(story())


def test_a_step_in_flight_at_a_crash_runs_again_once(workshop: Any, counted: Any) -> None:
    """At most one rerun for each branch in flight."""
    hang = True

    async def maybe(what: str) -> str:
        return await (counted.hang(what) if hang else counted.work(what))

    @task(name="one")
    async def one(ctx: Context) -> str:
        return await ctx.step(maybe, "x")

    async def story() -> None:
        nonlocal hang
        await workshop.start()
        name = await workshop.enqueue(one)
        await workshop.settle()
        hang = False
        await workshop.crash()
        await workshop.ended(name)

        assert ["x", "x"] == counted.calls

    asyncio.run(story())


def test_a_run_accepted_twice_under_one_key_is_one_run(workshop: Any) -> None:
    """A client that repeats itself after a lost answer gets the same run."""

    @task(name="noop")
    async def noop(ctx: Context, n: int) -> int:
        return n

    async def story() -> None:
        await workshop.start()
        first = await workshop.enqueue(noop, 1, key="order-17")
        second = await workshop.enqueue(noop, 1, key="order-17")
        other = await workshop.enqueue(noop, 1, key="order-18")

        assert first == second
        assert first != other

    asyncio.run(story())


def test_code_that_asks_for_something_else_is_held_and_never_guesses(
    workshop: Any, counted: Any
) -> None:
    """A replay that disagrees shows the difference; it does not loop and does not run on."""
    renamed = False

    async def other(what: str) -> str:
        return what

    @task(name="changing")
    async def changing(ctx: Context) -> list[str]:
        first = await ctx.step(other if renamed else counted.work, "a")
        await ctx.sleep(10)
        return [first, await ctx.step(counted.work, "b")]

    async def story() -> None:
        nonlocal renamed
        await workshop.start()
        name = await workshop.enqueue(changing)
        await workshop.settle()
        renamed = True
        await workshop.crash()
        row = await workshop.ended(name, "held")

        assert "replay-mismatch" == row.why
        assert ":work#1" in workshop.why(name)
        assert ":other#1" in workshop.why(name)
        assert ["a"] == counted.calls

    asyncio.run(story())


def test_changed_arguments_are_noticed(workshop: Any, counted: Any) -> None:
    """Temporal replays changed arguments in silence; we hold the run."""
    what = "a"

    @task(name="arguments")
    async def arguments(ctx: Context) -> str:
        found = await ctx.step(counted.work, what)
        await ctx.sleep(10)
        return found

    async def story() -> None:
        nonlocal what
        await workshop.start()
        name = await workshop.enqueue(arguments)
        await workshop.settle()
        what = "z"
        await workshop.crash()
        row = await workshop.ended(name, "held")

        assert "replay-mismatch" == row.why
        assert "other arguments" in workshop.why(name)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("choice", "calls", "state"),
    [
        ("fork", ["a", "b", "b"], "done"),
        ("restart", ["a", "b", "a", "b"], "done"),
        ("abandon", ["a", "b"], "cancelled"),
    ],
)
def test_the_owner_chooses_how_a_changed_run_goes_on(
    workshop: Any, counted: Any, choice: str, calls: list[str], state: str
) -> None:
    """Fork keeps what matches, restart keeps nothing, abandon ends it."""
    extra = ""

    @task(name="choosing")
    async def choosing(ctx: Context) -> list[str]:
        found = [await ctx.step(counted.work, "a")]
        found.append(await ctx.step(step(counted.work, name=f"work{extra}"), "b"))
        await ctx.sleep(10)
        return found

    async def story() -> None:
        nonlocal extra
        await workshop.start()
        name = await workshop.enqueue(choosing)
        await workshop.settle()
        extra = "2"
        await workshop.crash()
        await workshop.ended(name, "held")
        assert await workshop.owner.answer(name, choice)
        await workshop.settle()
        await workshop.tick(11 * SECOND)
        await workshop.ended(name, state)

        assert calls == counted.calls

    asyncio.run(story())


def test_a_failed_run_tries_again_and_keeps_what_succeeded(workshop: Any, counted: Any) -> None:
    """A retry goes back to the failed step only; steps after it in other branches stay."""
    failures = 2

    async def flaky(what: str) -> str:
        nonlocal failures
        counted.calls.append(what)
        if failures:
            failures -= 1
            message = "not yet"
            raise ValueError(message)
        return what

    @task(name="flaky", retry=Retry(attempts=3, first=Micros(2 * SECOND)))
    async def flaky_task(ctx: Context) -> list[str]:
        first = await ctx.step(counted.work, "a")
        return [first, await ctx.step(flaky, "f")]

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(flaky_task)
        await workshop.ended(name, "scheduled")
        await workshop.tick(3 * SECOND)
        await workshop.ended(name, "scheduled")
        await workshop.tick(5 * SECOND)
        await workshop.ended(name)

        assert ["a", "f", "f", "f"] == counted.calls
        assert 2 == workshop.row(name).failures

    asyncio.run(story())


def test_after_three_failed_attempts_the_owner_is_asked(workshop: Any) -> None:
    """Not a fourth try, and not a silent end."""

    async def never() -> str:
        message = "no luck"
        raise ValueError(message)

    @task(name="unlucky")
    async def unlucky(ctx: Context) -> str:
        return await ctx.step(never)

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(unlucky)
        for wait in (3, 5):
            await workshop.ended(name, "scheduled")
            await workshop.tick(wait * SECOND)
        row = await workshop.ended(name, "held")

        assert "failed-3-times" == row.why
        assert "no luck" in workshop.why(name)
        with pytest.raises(Misused):
            await workshop.owner.answer(name, "applied")
        assert await workshop.owner.answer(name, "fail")
        assert "failed" == workshop.row(name).state

    asyncio.run(story())


def test_an_error_that_the_task_handles_is_told_again_on_replay(
    workshop: Any, counted: Any
) -> None:
    """A caught failure is a decision of the run, so it is on record like a result."""

    async def bad() -> str:
        counted.calls.append("bad")
        message = "boom"
        raise KeyError(message)

    @task(name="catching")
    async def catching(ctx: Context) -> str:
        try:
            await ctx.step(bad)
        except StepFailed as error:
            found = str(error.fields["type"])
        else:
            found = "none"
        await ctx.sleep(10)
        return found

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(catching)
        await workshop.settle()
        await workshop.crash()
        await workshop.settle()
        await workshop.tick(11 * SECOND)
        await workshop.ended(name)

        assert ["bad"] == counted.calls
        assert "KeyError" == json.loads(workshop.result(name))

    asyncio.run(story())


def test_a_version_marker_keeps_old_runs_on_the_old_side(workshop: Any, counted: Any) -> None:
    """A run that went by before the change stays where it was; a new one takes the new side."""
    new = False

    @task(name="versioned")
    async def versioned(ctx: Context) -> list[str]:
        found: list[str] = []
        if new and await ctx.version("shiny") >= 1:
            found.append(await ctx.step(counted.work, "shiny"))
        found.append(await ctx.step(counted.work, "old"))
        await ctx.sleep(10)
        return found

    async def story() -> None:
        nonlocal new
        await workshop.start()
        before = await workshop.enqueue(versioned)
        await workshop.settle()
        new = True
        await workshop.crash()
        after = await workshop.enqueue(versioned)
        await workshop.settle()
        await workshop.crash()
        await workshop.settle()
        await workshop.tick(11 * SECOND)
        await workshop.ended(before)
        await workshop.ended(after)

        assert ["OLD"] == json.loads(workshop.result(before))
        assert ["SHINY", "OLD"] == json.loads(workshop.result(after))

    asyncio.run(story())


def test_repeat_begins_again_with_a_fresh_history(workshop: Any, counted: Any) -> None:
    """An endless loop has a bounded history."""

    @task(name="looping")
    async def looping(ctx: Context, n: int) -> int:
        await ctx.step(counted.work, str(n))
        if n < 3:
            ctx.repeat(n + 1)
        return n

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(looping, 1)
        await workshop.ended(name)

        assert ["1", "2", "3"] == counted.calls
        assert 2 == workshop.row(name).generation

    asyncio.run(story())


def test_what_a_zombie_of_an_old_attempt_records_is_refused(workshop: Any, counted: Any) -> None:
    """A coroutine or thread that outlived its attempt must not answer for the new one."""

    @task(name="doubled")
    async def doubled(ctx: Context) -> str:
        return await ctx.step(counted.hang, "a")

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(doubled)
        await workshop.settle()
        zombie = workshop.engine.residents[name].work
        await workshop.crash()
        await workshop.settle()
        out = workshop.ledger.payload(b'"of a zombie"')
        said = zombie.draft(StepRecorded(args="x", out=out.digest), ":hang#1", (out,))
        answer = await workshop.ledger.append([said], expect=[zombie.fence])

        assert isinstance(answer, Unmet)
        assert "stale-attempt" == answer.why
        assert 2 == workshop.row(name).attempt
        assert "StepRecorded" not in workshop.kinds(name)

    asyncio.run(story())
