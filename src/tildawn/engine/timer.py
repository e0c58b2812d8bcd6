"""Due times of this process: one heap, one waiting host task.

What it is not: durable.  What is due is derived from the ledger; this only wakes on time.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable

from tildawn.clock import Clock
from tildawn.units import SECOND, Micros


CHECK = SECOND
"""Longest wait between two looks at the wall clock, so that a jump of it is seen in time."""


class Timers:
    """Calls back when the wall clock reaches an instant."""

    def __init__(self, clock: Clock, ticked: Callable[[], None] | None = None) -> None:
        """Make an empty set of timers; ``ticked`` is called at every look at the clock."""
        self._clock = clock
        self._heap: list[tuple[Micros, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._gone: set[int] = set()
        self._changed = asyncio.Event()
        self._ticked = ticked

    def now(self) -> Micros:
        """The wall clock that dues are compared with."""
        return self._clock.wall()

    def add(self, due: Micros, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back at ``due`` or as soon as possible after it.

        Returns:
            A function that forgets the timer; calling it twice or late is harmless.
        """
        number = next(self._numbers)
        heapq.heappush(self._heap, (due, number, callback))
        if self._heap[0][1] == number:
            self._changed.set()

        def forget() -> None:
            self._gone.add(number)

        return forget

    async def serve(self) -> None:
        """Call back for ever; a cancelled loop leaves nothing behind."""
        while True:
            self._fire()
            if self._ticked is not None:
                self._ticked()
            wait = CHECK
            if self._heap:
                wait = Micros(min(max(self._heap[0][0] - self._clock.wall(), 0), CHECK))
            await self._wait(wait)

    async def _wait(self, wait: Micros) -> None:
        self._changed.clear()
        sleeper = asyncio.ensure_future(self._clock.sleep(wait))
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({sleeper, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()
            changed.cancel()

    def _fire(self) -> None:
        now = self._clock.wall()
        while self._heap and self._heap[0][0] <= now:
            _due, number, callback = heapq.heappop(self._heap)
            if number in self._gone:
                self._gone.discard(number)
            else:
                callback()
        if not self._heap:
            self._gone.clear()
