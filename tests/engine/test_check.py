"""A stored history is replayed against the code, in the order it had and in others.

What it is not: a proof that code follows the rules; it tries some orders.
"""

import asyncio
import random
from typing import Any

import pytest

from tildawn.engine.task import TaskDef, task
from tildawn.errors import UnknownName
from tildawn.runtime.context import Context
from tildawn.testing import replay_check
from tildawn.units import SECOND, Micros


def test_code_that_follows_the_rules_agrees_with_every_history_it_made(workshop: Any) -> None:
    """A check that cries wolf is switched off."""

    async def story() -> None:
        world = workshop.world(random.Random(3))
        shapes: list[TaskDef[..., Any]] = world.shapes()
        for shape in shapes:
            workshop.tasks.add(shape)
        await workshop.start()
        runs = [(await workshop.enqueue(shape), shape) for shape in shapes[:-1]]
        await finish(workshop, world, [run for run, _ in runs])
        before = workshop.ledger.head()
        for run, shape in runs:
            report = replay_check(workshop.ledger, run, shape, shuffles=5)
            assert report.agrees, (shape.name, report.mismatch)
        kid = next(row for row in children(workshop))
        report = replay_check(workshop.ledger, kid, shapes[-1])
        assert report.agrees
        assert () == report.warnings
        assert before == workshop.ledger.head(), "a check appended something"

    asyncio.run(story())


async def finish(workshop: Any, world: Any, runs: list[str]) -> None:
    """Let everything end, in an order that chance chooses."""
    for turn in range(2_000):
        if all(workshop.row(run).state == "done" for run in runs):
            return
        world.let_one_end()
        for run in runs:
            if turn < 2 and workshop.row(run).task == "listened":
                await workshop.owner.emit(run, "word", f"word {turn}")
        workshop.clock.advance(Micros(SECOND // 2))
        await workshop.settle(1)
    raise AssertionError


def children(workshop: Any) -> list[str]:
    """The runs that have a parent."""
    with workshop.ledger.read() as reader:
        return [str(row[0]) for row in reader.query("SELECT run FROM run WHERE parent <> ''", ())]


async def done(workshop: Any, task: TaskDef[..., Any]) -> str:
    """Run a task to its end; the name of the run."""
    await workshop.start()
    run = await workshop.enqueue(task)
    await workshop.ended(run)
    return run


async def echo(what: str) -> str:
    """A step."""
    return what


def test_branches_that_share_nothing_can_be_told_in_any_order(workshop: Any) -> None:
    """Results in the order of the branches, not of their ends, are always the same."""

    async def two(ctx: Context, who: str) -> list[str]:
        return [await ctx.step(echo, f"{who}{number}") for number in range(2)]

    @task(name="apart")
    async def apart(ctx: Context) -> list[list[str]]:
        return await ctx.gather(two(ctx, "a"), two(ctx, "b"), two(ctx, "c"))

    async def story() -> None:
        report = replay_check(workshop.ledger, await done(workshop, apart), apart, shuffles=30)
        assert report.agrees
        assert () == report.warnings
        assert 30 == report.shuffles

    asyncio.run(story())


def test_a_shared_list_that_feeds_arguments_is_a_warning_that_shows_the_order(
    workshop: Any,
) -> None:
    """It replays well in the order of the ledger, and two runs of it can differ."""

    @task(name="sharing")
    async def sharing(ctx: Context) -> list[str]:
        shared: list[str] = []

        async def branch(who: str) -> None:
            shared.append(await ctx.step(echo, who))
            await ctx.step(echo, "-".join(shared))

        await ctx.gather(branch("a"), branch("b"))
        return []

    async def story() -> None:
        report = replay_check(workshop.ledger, await done(workshop, sharing), sharing)
        assert report.agrees
        assert 1 <= len(report.warnings)
        assert "order-sensitive code" in report.warnings[0]
        assert "/2:echo#1 told before /1:echo#1" in report.warnings[0]
        assert "other arguments" in report.warnings[0]

    asyncio.run(story())


def test_a_result_that_depends_on_the_order_is_a_warning(workshop: Any) -> None:
    """The steps agree, the answer does not."""

    @task(name="collecting")
    async def collecting(ctx: Context) -> list[str]:
        found: list[str] = []

        async def branch(who: str) -> None:
            found.append(await ctx.step(echo, who))

        await ctx.gather(branch("a"), branch("b"))
        return found

    async def story() -> None:
        report = replay_check(workshop.ledger, await done(workshop, collecting), collecting)
        assert report.agrees
        assert "another result" in report.warnings[0]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("other", "other arguments"),
        ("less", "the code has ended"),
        ("more", "the code asks for :echo#2"),
        ("result", "another result"),
    ],
)
def test_changed_code_is_a_mismatch_and_says_how(workshop: Any, asked: str, said: str) -> None:
    """What the check finds in a test would be a held run in the night."""
    change = ""

    @task(name="changing")
    async def changing(ctx: Context) -> str:
        if change != "less":
            await ctx.step(echo, "z" if change == "other" else "a")
        if change == "more":
            await ctx.step(echo, "b")
        return change if change == "result" else ""

    async def story() -> None:
        nonlocal change
        run = await done(workshop, changing)
        assert replay_check(workshop.ledger, run, changing).agrees
        change = asked
        report = replay_check(workshop.ledger, run, changing)
        assert not report.agrees
        assert said in report.mismatch

    asyncio.run(story())


def test_a_check_appends_nothing_and_does_no_step(workshop: Any, counted: Any) -> None:
    """It may look at a house that works."""

    @task(name="looked-at")
    async def looked_at(ctx: Context) -> str:
        await ctx.sleep(1)
        return await ctx.step(counted.work, "a")

    async def story() -> None:
        await workshop.start()
        run = await workshop.enqueue(looked_at)
        await workshop.settle()
        waiting = replay_check(workshop.ledger, run, looked_at)
        await workshop.tick(2 * SECOND)
        await workshop.ended(run)
        kinds = workshop.kinds(run)
        assert waiting.agrees
        assert replay_check(workshop.ledger, run, looked_at).agrees
        assert kinds == workshop.kinds(run)
        assert ["a"] == counted.calls
        with pytest.raises(UnknownName):
            replay_check(workshop.ledger, "nobody", looked_at)

    asyncio.run(story())


def test_settings_pinned_at_acceptance_reach_the_task_and_its_replays(workshop: Any) -> None:
    """A run that waited while the settings changed goes on as it was accepted."""

    @task(name="set")
    async def set_(ctx: Context) -> str:
        await ctx.sleep(1)
        return str(ctx.config.get("tone", "none"))

    async def story() -> None:
        await workshop.start()
        run = await workshop.enqueue(set_, config={"tone": "warm"})
        await workshop.settle()
        await workshop.crash()
        await workshop.tick(2 * SECOND)
        await workshop.ended(run)
        assert b'"warm"' == workshop.result(run)
        assert replay_check(workshop.ledger, run, set_).agrees

    asyncio.run(story())
