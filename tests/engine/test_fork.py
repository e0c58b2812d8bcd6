"""A fork is offered only where there is a record to go back to.

What it is not: the fork itself; test_runs.py has the owner choose.
"""

import asyncio
from typing import Any

import pytest

from tildawn.engine.task import task
from tildawn.errors import Misused
from tildawn.facts.call import CallDispatched
from tildawn.runtime.context import Context


def test_a_call_that_the_code_no_longer_asks_for_offers_no_fork(workshop: Any) -> None:
    """It has no answer on record to go back to: a fork would meet the same difference again."""

    @task(name="forgets")
    async def forgets(ctx: Context) -> str:
        return await ctx.event("never")

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(forgets)
        await workshop.settle()
        sent = CallDispatched(
            name="buy", route="shop", attempt=1, key="k", args="a", repeat="never", deadline=0,
            timeout_ms=1,
        )  # fmt: skip
        await workshop.ledger.append([workshop.ledger.draft(sent, run=name, path="0:buy#1")])
        await workshop.crash()
        row = await workshop.ended(name, "held")

        assert ("replay-mismatch", "restart\nabandon") == (row.why, row.choices)
        assert "0:buy#1 was sent and has no answer" in workshop.why(name)
        with pytest.raises(Misused, match=r"restart \| abandon"):
            await workshop.owner.answer(name, "fork")
        assert await workshop.owner.answer(name, "abandon")
        assert "cancelled" == workshop.row(name).state

    asyncio.run(story())


def test_a_step_that_the_code_no_longer_asks_for_offers_a_fork(workshop: Any, counted: Any) -> None:
    """The other side of the rule: here is a record, and behind it the new code goes on."""
    first = True

    @task(name="shifts")
    async def shifts(ctx: Context) -> str:
        if first:
            await ctx.step(counted.work, "a")
        return await ctx.event("never")

    async def story() -> None:
        nonlocal first
        await workshop.start()
        name = await workshop.enqueue(shifts)
        await workshop.settle()
        first = False
        await workshop.crash()

        assert "fork\nrestart\nabandon" == (await workshop.ended(name, "held")).choices

    asyncio.run(story())
