"""What a run promises, one sentence a test.

What it is not: random; the random part is in ``test_interleavings``.
"""

import asyncio
import json
from typing import Any

import pytest

from tildawn.engine.task import Retry, task
from tildawn.errors import BadTask, Bypassed, CallFailed, Misused, StepFailed
from tildawn.runtime.context import Context, step
from tildawn.units import SECOND, Micros


def run(work: Any) -> None:
    """Run an async test body."""
    asyncio.run(work)


class Counted:
    """Counts how often a step's body ran."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.gates: dict[Any, asyncio.Event] = {}

    async def work(self, what: str) -> str:
        """Run at once."""
        self.calls.append(what)
        return what.upper()

    async def hang(self, what: str) -> str:
        """Run until cancelled."""
        self.calls.append(what)
        await asyncio.Event().wait()
        return what


def test_a_recorded_step_never_runs_again(workshop: Any) -> None:
    """The first promise: what is on record is told, not done."""
    counted = Counted()

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

    run(story())


def test_a_step_in_flight_at_a_crash_runs_again_once(workshop: Any) -> None:
    """At most one rerun for each branch in flight."""
    counted = Counted()
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

    run(story())


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

    run(story())


def test_code_that_asks_for_something_else_is_held_and_never_guesses(workshop: Any) -> None:
    """A replay that disagrees shows the difference; it does not loop and does not run on."""
    counted = Counted()
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

    run(story())


def test_changed_arguments_are_noticed(workshop: Any) -> None:
    """Temporal replays changed arguments in silence; we hold the run."""
    counted = Counted()
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

    run(story())


@pytest.mark.parametrize(
    ("choice", "calls", "state"),
    [
        ("fork", ["a", "b", "b"], "done"),
        ("restart", ["a", "b", "a", "b"], "done"),
        ("abandon", ["a", "b"], "cancelled"),
    ],
)
def test_the_owner_chooses_how_a_changed_run_goes_on(
    workshop: Any, choice: str, calls: list[str], state: str
) -> None:
    """Fork keeps what matches, restart keeps nothing, abandon ends it."""
    counted = Counted()
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

    run(story())


def test_a_failed_run_tries_again_and_keeps_what_succeeded(workshop: Any) -> None:
    """A retry goes back to the failed step only; steps after it in other branches stay."""
    counted = Counted()
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

    run(story())


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

    run(story())


def test_an_error_that_the_task_handles_is_told_again_on_replay(workshop: Any) -> None:
    """A caught failure is a decision of the run, so it is on record like a result."""
    counted = Counted()

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

    run(story())


def test_a_cancelled_run_cleans_up_and_ends_as_cancelled(workshop: Any) -> None:
    """The request is delivered on the run's own loop; cleaning up may take steps."""
    counted = Counted()

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

    run(story())


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

    run(story())


def test_a_run_that_waits_long_leaves_memory_and_comes_back(workshop: Any) -> None:
    """A sleeping run costs a row, not a coroutine."""
    counted = Counted()

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

    run(story())


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

    run(story())


def test_a_version_marker_keeps_old_runs_on_the_old_side(workshop: Any) -> None:
    """A run that went by before the change stays where it was; a new one takes the new side."""
    counted = Counted()
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

    run(story())


def test_repeat_begins_again_with_a_fresh_history(workshop: Any) -> None:
    """An endless loop has a bounded history."""
    counted = Counted()

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

    run(story())


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

    run(story())


def test_types_that_cannot_be_recorded_are_refused_at_declaration() -> None:
    """The morning is too late to learn that a result was a set."""

    async def takes_set(ctx: Context, x: set[int]) -> int:
        return 1

    async def takes_any(ctx: Context, x: Any) -> int:
        return 1

    def not_async(ctx: Context) -> int:
        return 1

    for function in (takes_set, takes_any, not_async):
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

    run(story())


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

    run(story())


def test_pause_stops_a_run_and_resume_lets_it_go_on(workshop: Any) -> None:
    """A paused run holds no memory and repeats no recorded step."""
    counted = Counted()

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

    run(story())


def test_a_timeout_is_durable_and_a_finished_one_leaves_nothing(workshop: Any) -> None:
    """asyncio.timeout works and survives a crash in the middle."""
    counted = Counted()

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

    run(story())


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

    run(story())


def test_a_child_result_reaches_a_parked_parent(workshop: Any) -> None:
    """The end of the child and the word to the parent are one append."""
    counted = Counted()

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

    run(story())


def test_a_run_killed_with_its_process_three_times_alone_is_quarantined(workshop: Any) -> None:
    """Poison does not kill the whole night."""

    @task(name="poison")
    async def poison(ctx: Context) -> str:
        counted = Counted()
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

    run(story())


def test_error_classes_of_calls_are_ours() -> None:
    """Task code catches one tree of errors, live and on replay."""
    assert issubclass(CallFailed, Exception)
