"""The bulkhead: so many attempts of a route at once, in the order in which they came.

What it is not: on record.  It is about what one process has under way; after a crash nothing is,
and what is unknown is the business of `tildawn.guard.recover`.
"""

import asyncio
from collections import deque

from tildawn.guard.deadline import Alarms
from tildawn.units import Micros


class Bulkhead:
    """One of a route; belongs to one event loop.

    Whoever was let in leaves, and only one time.  A place that comes free is handed over in the
    same step in which it comes free, so nobody overtakes and no wake-up is lost.
    """

    __slots__ = ("_alarms", "_inside", "_limit", "_queue")

    def __init__(self, alarms: Alarms, *, limit: int = 0) -> None:
        """Take the alarms of the loop, and how many may be inside at once, 0 for no limit."""
        self._alarms = alarms
        self._limit = limit
        self._inside = 0
        #: Futures are answered only here: True for a place, False for the end of patience.
        self._queue: deque[asyncio.Future[bool]] = deque()

    @property
    def inside(self) -> int:
        """How many are inside, with those who have been let in but do not run yet.

        Raises:
            Nothing.
        """
        return self._inside

    @property
    def waiting(self) -> int:
        """How many wait.

        Raises:
            Nothing.
        """
        return len(self._queue)

    @property
    def is_full(self) -> bool:
        """Whether somebody who came now would have to wait.

        Raises:
            Nothing.
        """
        return bool(self._queue) or 0 < self._limit <= self._inside

    @property
    def limit(self) -> int:
        """How many may be inside at once, 0 for no limit.

        Raises:
            Nothing.
        """
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        """Change it; a higher one lets waiters in, a lower one puts nobody out."""
        self._limit = limit
        self._admit()

    async def enter(self, until: Micros) -> bool:
        """Wait for a place, after all who came before.

        Cancelling the caller while it waits costs nobody a place.

        Args:
            until: steady time at which to wait no longer, microseconds of `Clock.mono`; in the
                past means that only a place that is free now will do.

        Returns:
            Whether there is a place; then, and only then, `leave` is owed.

        Raises:
            Nothing.
        """
        if self._free():
            self._inside += 1
            return True
        place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        alarm = self._alarms.set(until, lambda: self._give_up(place))
        try:
            return await place
        except asyncio.CancelledError:
            self._withdraw(place)
            raise
        finally:
            alarm.cancel()

    def leave(self) -> None:
        """Give a place back.

        Raises:
            AssertionError: nobody is inside; a place was given back twice.
        """
        assert self._inside > 0, "a place was given back twice"
        self._inside -= 1
        self._admit()

    def _free(self) -> bool:
        return self._limit <= 0 or self._inside < self._limit

    def _admit(self) -> None:
        while self._queue and self._free():
            place = self._queue.popleft()
            if not place.done():  # cancelled in this very turn of the loop
                self._inside += 1
                place.set_result(True)

    def _give_up(self, place: asyncio.Future[bool]) -> None:
        if not place.done():
            self._queue.remove(place)
            place.set_result(False)

    def _withdraw(self, place: asyncio.Future[bool]) -> None:
        """The caller was cancelled, perhaps after it had been let in."""
        if place in self._queue:
            self._queue.remove(place)
        elif place.done() and not place.cancelled() and place.result():
            self.leave()
