"""What the clocks did is on record, and due times follow the wall.

What it is not: about the watchdog, which counts only time in which it could look.
"""

import asyncio
from typing import Any

import pytest

from tildawn.engine.task import task
from tildawn.facts.house import ClockJumped, MachineSlept
from tildawn.runtime.context import Context
from tildawn.units import SECOND, Micros


def incidents(workshop: Any) -> list[tuple[str, int]]:
    """What befell the machine, in order."""
    with workshop.ledger.read() as reader:
        found = [fact.data for _, fact in reader.facts()]
    return [
        (type(one).__name__, one.slept_ms if isinstance(one, MachineSlept) else one.by_ms)
        for one in found
        if isinstance(one, MachineSlept) or (isinstance(one, ClockJumped) and one.by_ms)
    ]


@pytest.mark.parametrize("by", [3_600, -3_600])
def test_a_clock_that_is_set_is_on_record(workshop: Any, by: int) -> None:
    """A timer that fires an hour early or late needs its reason in the report."""

    async def story() -> None:
        await workshop.start()
        await workshop.tick(SECOND)
        workshop.clock.jump(Micros(workshop.clock.wall() + by * SECOND))
        await workshop.tick(SECOND)
        await workshop.tick(SECOND)
        assert [("ClockJumped", by * 1_000)] == incidents(workshop)

    asyncio.run(story())


def test_a_machine_that_slept_is_on_record_and_late_timers_fire_once(workshop: Any) -> None:
    """After a lid was closed for three hours, what was due meanwhile happens now."""

    @task(name="sleeper")
    async def sleeper(ctx: Context) -> str:
        await ctx.sleep(50)
        return "woke"

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(sleeper)
        await workshop.tick(SECOND)
        await workshop.tick(3 * 3_600 * SECOND)
        await workshop.ended(name)
        assert [("MachineSlept", 3 * 3_600_000)] == incidents(workshop)
        assert 1 == workshop.kinds(name).count("TimerFired")

    asyncio.run(story())


def test_a_busy_machine_did_not_sleep(workshop: Any) -> None:
    """A tick that comes seconds late is a slow disk; a night full of naps would hide the real one."""

    async def story() -> None:
        await workshop.start()
        for _ in range(5):
            await workshop.tick(9 * SECOND)
        assert [] == incidents(workshop)

    asyncio.run(story())
