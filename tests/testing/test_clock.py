"""The manual clock: what tests of waiting may rely on."""

import asyncio

import pytest

from tildawn.testing.clock import ManualClock
from tildawn.units import Micros


pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_sleepers_wake_in_the_order_in_which_they_are_due() -> None:
    """A test of timers must not depend on the order in which they were set."""
    clock, woken = ManualClock(), list[int]()

    async def sleeper(wait: int) -> None:
        await clock.sleep(Micros(wait))
        woken.append(wait)

    tasks = [asyncio.create_task(sleeper(wait)) for wait in (30, 10, 20, 40)]
    await clock.sleepers(4)
    clock.advance(Micros(30))
    await asyncio.gather(*tasks[:3])
    assert woken == [10, 20, 30]
    assert clock.next_due() == 10
    tasks[3].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert clock.next_due() is None


async def test_a_jump_of_the_wall_clock_wakes_nobody() -> None:
    """Somebody setting the machine's clock is no time passing."""
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(Micros(10)))
    await clock.sleepers()
    clock.jump(Micros(clock.wall() + 3_600_000_000))
    assert (clock.mono(), clock.next_due()) == (0, 10)
    clock.advance(Micros(10))
    await task
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(Micros(-1))
