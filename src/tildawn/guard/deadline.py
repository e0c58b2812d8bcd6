"""Alarms by the clock: cheap to set, cheaper to take back.

What it is not: a durable timer.  An alarm lives in memory, for as long as a call is under way;
what must survive a crash is a due time in the queue of the engine.
"""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

from tildawn.clock import Clock
from tildawn.units import Micros


SWEEP_LEAST = 64
"""Taken-back alarms that are kept at the least before the heap is swept."""


class Alarm:
    """One alarm; ``cancel`` takes it back."""

    __slots__ = ("_alarms", "at", "ring")

    def __init__(self, alarms: "Alarms", at: int, ring: Callable[[], None]) -> None:
        """Use `Alarms.set`."""
        self._alarms = alarms
        self.at = at
        self.ring: Callable[[], None] | None = ring

    def cancel(self) -> None:
        """Do not ring; harmless afterwards.

        Raises:
            Nothing.
        """
        if self.ring is not None:
            self.ring = None
            self._alarms.taken_back()


class Alarms:
    """Alarms of one event loop, kept by one sleeper whatever their number.

    Setting one costs a push on a heap.  ``asyncio.timeout`` for each call costs as much as all
    other rules together, and knows nothing of a clock that is an argument.
    """

    def __init__(self, clock: Clock) -> None:
        """Take the clock whose steady time the alarms follow."""
        self._clock = clock
        self._heap: list[tuple[int, int, Alarm]] = []
        self._order = count()
        self._idle = 0
        self._until = 0
        self._keeper: asyncio.Task[None] | None = None

    def set(self, at: int, ring: Callable[[], None]) -> Alarm:
        """Ring when steady time reaches an instant.

        Args:
            at: microseconds of `Clock.mono`; in the past means as soon as the loop runs.
            ring: called once, on the loop.

        Returns:
            The alarm.

        Raises:
            Nothing.
        """
        alarm = Alarm(self, at, ring)
        heapq.heappush(self._heap, (at, next(self._order), alarm))
        if self._keeper is None or self._keeper.done():
            self._keep(at)
        elif at < self._until:
            self._keeper.cancel()
            self._keep(at)
        return alarm

    def taken_back(self) -> None:
        """Count an alarm that was taken back, and sweep when most are.

        Raises:
            Nothing.
        """
        self._idle += 1
        if self._idle > SWEEP_LEAST and self._idle * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].ring is not None]
            heapq.heapify(self._heap)
            self._idle = 0

    def close(self) -> None:
        """Ring no more.

        Raises:
            Nothing.
        """
        self._heap.clear()
        if self._keeper is not None:
            self._keeper.cancel()

    def _keep(self, until: int) -> None:
        self._until = until
        self._keeper = asyncio.get_running_loop().create_task(self._wait(), name="tildawn-alarms")

    async def _wait(self) -> None:
        while self._next() is not None:
            await self._clock.sleep(Micros(self._until - self._clock.mono()))
            self._ring_due()

    def _next(self) -> int | None:
        """The next instant to wake at; drops what was taken back before it."""
        while self._heap and self._heap[0][2].ring is None:
            heapq.heappop(self._heap)
            self._idle -= 1
        if not self._heap:
            return None
        self._until = self._heap[0][0]
        return self._until

    def _ring_due(self) -> None:
        now = self._clock.mono()
        while self._heap and self._heap[0][0] <= now:
            _, _, alarm = heapq.heappop(self._heap)
            ring, alarm.ring = alarm.ring, None
            if ring is None:
                self._idle -= 1
            else:
                ring()
