"""Who is held to blame when the process died: see `tildawn.engine.recover`.

What it is not: real deaths; the crash grid kills processes.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tildawn.engine.task import TaskDef, task
from tildawn.runtime.context import Context


class Lives:
    """Steps that pass in some lives of the process and hang in the others."""

    def __init__(self, passes: Callable[[int], bool]) -> None:
        """Take whether the next step passes in a life, the first of which is 0."""
        self.life = 0
        self._passed: set[int] = set()
        self._passes = passes

    async def step(self, _number: int) -> str:
        """Pass once in a life that lets a step pass; hang in any other, and after that."""
        if self.life in self._passed or not self._passes(self.life):
            await asyncio.Event().wait()
        self._passed.add(self.life)
        return "passed"

    def task(self, name: str) -> TaskDef[..., Any]:
        """A task of many such steps."""

        @task(name=name)
        async def walk(ctx: Context) -> int:
            for number in range(20):
                await ctx.step(self.step, number)
            return 20

        return walk


def told(workshop: Any, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a story and leave no step behind."""

    async def whole() -> None:
        try:
            await story()
        finally:
            await workshop.engine.stop()

    asyncio.run(whole())


async def dies(workshop: Any, *lives: Lives) -> None:
    """The process dies by a kill, and another takes its place."""
    await workshop.settle()
    workshop.ledger.unclean = True
    await workshop.crash()
    for one in lives:
        one.life += 1


def test_a_run_that_was_stuck_beside_one_that_got_on_is_not_blamed_alone(workshop: Any) -> None:
    """The other one may have killed the process just as well, with the step after."""
    stuck, moving = Lives(lambda _: False), Lives(lambda _: True)

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(stuck.task("stuck"))
        await workshop.enqueue(moving.task("moving"))
        await dies(workshop, stuck, moving)

        assert (1, 0) == (workshop.row(name).deaths, workshop.row(name).sole_deaths)

        for _ in range(2):
            await dies(workshop, stuck, moving)
        assert "held" != workshop.row(name).state
        assert 2 == workshop.row(name).sole_deaths, "the only suspect of the last two"

        await dies(workshop, stuck, moving)
        assert "quarantined" == workshop.row(name).why, "poison is found beside others too"

    told(workshop, story)


def test_progress_clears_a_run_of_the_deaths_before_it(workshop: Any) -> None:
    """A long run on a machine that is switched off every evening is no poison."""
    lives = Lives(lambda life: life % 3 == 2)

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(lives.task("slow"))
        for _ in range(9):
            await dies(workshop, lives)

            assert "held" != workshop.row(name).state, workshop.why(name)

    told(workshop, story)


def test_a_run_that_waits_is_not_to_blame(workshop: Any) -> None:
    """It does nothing; three power cuts during a long wait must not hold it."""

    @task(name="sleeper")
    async def sleeper(ctx: Context) -> str:
        await ctx.sleep(50)
        return "woke"

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(sleeper)
        for _ in range(5):
            await workshop.settle()
            await workshop.tick(2_000_000)
            assert "waiting" == workshop.row(name).state
            await dies(workshop)
        await workshop.tick(60_000_000)

        assert "done" == (await workshop.ended(name)).state

    told(workshop, story)
