"""A clock that stands still until a test moves it.

What it is not: a simulator of the event loop.  It wakes sleepers in the order in which they are
due; what they then do, they do when the test next awaits something.
"""

import asyncio
import heapq
from itertools import count

from tildawn.units import Micros


MORNING, START = Micros(1_771_052_400_000_000), Micros(0)
"""2026-02-14T07:00:00Z, an instant that looks like one in a report; and no steady time yet."""


class ManualClock:
    """Time as an argument; belongs to one event loop."""

    def __init__(self, wall: Micros = MORNING, mono: Micros = START) -> None:
        """Start at an instant and at a steady reading, both in microseconds."""
        self._wall = wall
        self._mono = mono
        self._order = count()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._came = asyncio.Event()

    def wall(self) -> Micros:
        """See `Clock.wall`."""
        return self._wall

    def mono(self) -> Micros:
        """See `Clock.mono`."""
        return self._mono

    async def sleep(self, wait: Micros) -> None:
        """See `Clock.sleep`; lasts until `advance` has gone far enough."""
        if wait <= 0:
            return
        woken = asyncio.get_running_loop().create_future()
        sleeper = (self._mono + wait, next(self._order), woken)
        heapq.heappush(self._sleepers, sleeper)
        self._came.set()
        try:
            await woken
        finally:
            if sleeper in self._sleepers:  # cancelled
                self._sleepers.remove(sleeper)
                heapq.heapify(self._sleepers)

    def advance(self, wait: Micros) -> None:
        """Let time pass and wake who is due, earliest first.

        Args:
            wait: in microseconds, >= 0.

        Raises:
            ValueError: steady time does not go back.
        """
        if wait < 0:
            message = "steady time does not go back; use jump for the wall clock"
            raise ValueError(message)
        self._wall = Micros(self._wall + wait)
        self._mono = Micros(self._mono + wait)
        while self._sleepers and self._sleepers[0][0] <= self._mono:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)

    def jump(self, wall: Micros) -> None:
        """Set the wall clock, as somebody sets the machine's; nobody wakes.

        Raises:
            Nothing.
        """
        self._wall = wall

    def next_due(self) -> Micros | None:
        """How long until the first sleeper is due, or None if nobody sleeps.

        Raises:
            Nothing.
        """
        return Micros(self._sleepers[0][0] - self._mono) if self._sleepers else None

    async def sleepers(self, at_least: int = 1) -> None:
        """Wait, in real time, until so many sleep.

        Raises:
            Nothing.
        """
        while len(self._sleepers) < at_least:
            self._came.clear()
            await self._came.wait()
