"""Runs that sleep: however many there are, they cost rows and no memory, and wake when due.

What it is not: a measurement; how late they wake is measured by the benchmarks.
"""

import asyncio
from typing import Any

import pytest

from tildawn.engine.owner import Options, accept
from tildawn.engine.task import task
from tildawn.facts.run import RunStarted, RunWaited
from tildawn.runtime.context import Context
from tildawn.units import SECOND, Micros


DUE = 50
CHUNK = 1_000


async def sleepers(workshop: Any, count: int) -> None:
    """Park ``count`` runs, of which the first `DUE` are due after an hour, the others never."""

    @task(name="napping")
    async def napping(ctx: Context, until: int) -> int:
        await ctx.sleep(3_600 if until else 36_000_000)
        return until

    workshop.tasks.add(napping)
    ledger, hour = workshop.ledger, Micros(3_600 * SECOND)
    for start in range(0, count, CHUNK):
        entries: list[Any] = []
        for number in range(start, min(start + CHUNK, count)):
            soon = number < DUE
            text = b'{"until":1}' if soon else b'{"until":0}'
            entry = accept(ledger, workshop.ids, napping, text, Options())
            wake = workshop.clock.wall() + (hour if soon else 10_000 * hour)
            waited = RunWaited(on="timer", until=wake, parked=True)
            entries += [
                entry,
                ledger.draft(RunStarted(attempt=1), run=entry.fact.run),
                ledger.draft(waited, run=entry.fact.run),
            ]
        await ledger.append(entries)

    await workshop.start()
    await workshop.settle()
    assert {} == workshop.engine.residents
    workshop.clock.advance(hour)
    await workshop.until(lambda: counted(workshop, "done") == DUE)
    assert count - DUE == counted(workshop, "waiting")
    assert {} == workshop.engine.residents


def counted(workshop: Any, state: str) -> int:
    """How many runs are in a state."""
    with workshop.ledger.read() as reader:
        return reader.query("SELECT count(*) FROM run WHERE state = ?", (state,))[0][0]


def test_sleeping_runs_hold_no_memory_and_wake_when_due(workshop: Any) -> None:
    """Ten thousand in every run of the tests."""
    asyncio.run(sleepers(workshop, 10_000))


@pytest.mark.chaos
def test_a_million_sleeping_runs_hold_no_memory_and_wake_when_due(workshop: Any) -> None:
    """A million in the long campaign."""
    asyncio.run(sleepers(workshop, 1_000_000))
