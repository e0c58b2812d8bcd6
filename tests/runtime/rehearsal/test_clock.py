"""Virtual time: what a night rests on that takes hours and is over in a second."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tildawn.runtime.rehearsal.clock import EVENING, VirtualClock, run_virtual
from tildawn.units import SECOND, Micros


HOUR = 3_600 * SECOND


def test_sleepers_wake_in_the_order_in_which_they_are_due() -> None:
    """Whoever is due later must never be served first, however the sleeps were begun."""
    clock, woken = VirtualClock(), list[tuple[str, int]]()

    async def sleeper(name: str, wait: int) -> None:
        await clock.sleep(Micros(wait))
        woken.append((name, clock.mono()))

    async def main() -> None:
        await asyncio.gather(sleeper("b", 2 * HOUR), sleeper("a", HOUR), sleeper("a2", HOUR))

    run_virtual(clock, main())
    assert woken == [("a", HOUR), ("a2", HOUR), ("b", 2 * HOUR)]
    assert clock.wall() == EVENING + 2 * HOUR


def test_time_stands_still_while_anything_can_run() -> None:
    """A callback that is ready happens now, not after the next sleeper."""
    clock, seen = VirtualClock(), list[int]()

    async def busy() -> None:
        for _ in range(100):
            await asyncio.sleep(0)
        seen.append(clock.mono())

    async def main() -> None:
        await asyncio.gather(clock.sleep(SECOND), busy())

    run_virtual(clock, main())
    assert seen == [0]


def test_timeouts_of_asyncio_follow_virtual_time() -> None:
    """A library that brings its own timeout must not wait for the machine's clock."""
    clock = VirtualClock()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3_600):
                await clock.sleep(Micros(2 * HOUR))

    run_virtual(clock, main())
    assert clock.mono() == HOUR


def test_a_thread_that_is_waited_for_takes_no_time_and_hands_on_its_error() -> None:
    """What a thread says must come back in one order, whatever the machine does."""
    clock = VirtualClock()

    def fail() -> None:
        message = "no"
        raise ValueError(message)

    async def main() -> int:
        with pytest.raises(ValueError, match="no"):
            await asyncio.to_thread(fail)
        return await asyncio.to_thread(lambda: 7)

    assert run_virtual(clock, main()) == 7
    assert clock.mono() == 0


def test_a_cancelled_sleeper_holds_nobody_up() -> None:
    """A deadline that was taken back is no reason for time to stop there."""
    clock = VirtualClock()

    async def main() -> None:
        gone = asyncio.create_task(_coroutine(clock.sleep, Micros(HOUR)))
        await asyncio.sleep(0)
        gone.cancel()
        await clock.sleep(SECOND)

    run_virtual(clock, main())
    assert (clock.mono(), clock.next_due()) == (SECOND, None)


def test_waiting_for_what_never_comes_is_an_error_and_no_hang() -> None:
    """A test in virtual time that would hang must say so at once."""

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="nothing will ever come"):
        run_virtual(VirtualClock(), main())


def test_setting_the_wall_clock_wakes_nobody() -> None:
    """Durations are steady; only the time of day jumps."""
    clock = VirtualClock()

    async def main() -> None:
        sleeping = asyncio.create_task(_coroutine(clock.sleep, SECOND))
        await asyncio.sleep(0)
        clock.jump(Micros(HOUR))
        assert not sleeping.done()
        await sleeping

    run_virtual(clock, main())
    assert (clock.mono(), clock.wall()) == (SECOND, EVENING + HOUR + SECOND)


async def _coroutine(sleep: Callable[[Micros], Awaitable[None]], wait: Micros) -> None:
    await sleep(wait)
