"""Two limits of a stream: until its first piece, and between two pieces.

What it is not: the limit of the whole answer; that is the attempt's, and holds however lively
the stream is.  Time in our own queue for a connection counts for none of them.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Literal, TypeVar

from tildawn.clock import Clock
from tildawn.guard.attempt import LOOK
from tildawn.guard.deadline import Alarm, Alarms
from tildawn.guard.policy import IDLE
from tildawn.guard.request import Sent, Wire, queue_time
from tildawn.units import Micros


T = TypeVar("T")


class StreamTimeout(Exception):
    """A stream was silent for too long; ``limit`` says when: before its first piece or later."""

    def __init__(self, limit: Literal["first", "idle"], waited: Micros, *, sent: bool) -> None:
        """Say which limit it was and how long it is."""
        what = "first piece" if limit == "first" else "further piece"
        self.limit = limit
        self.kind = "timeout"
        self.detail = f"no {what} of the stream within {waited / 1_000_000:g} s"
        self.sent = sent
        self.status: int | None = None
        self.retry_after: int | None = None
        super().__init__(self.detail)


async def limited(
    pieces: AsyncGenerator[T],
    *,
    clock: Clock,
    first: Micros | None,
    idle: Micros | None = None,
    wire: Wire | None = None,
) -> AsyncGenerator[T]:
    """The pieces as they come, as long as they come.

    Time that the consumer takes between two pieces does not count.  Whatever ends it, ``pieces``
    is closed, and with it its socket, before the end goes on.

    Args:
        pieces: what to listen to; nobody else may.
        clock: of this event loop.
        first: longest wait for the first piece, time in our queue left out; None for no limit.
        idle: longest wait for each other piece; None for `IDLE`.
        wire: of the attempt; without one the request counts as sent.

    Yields:
        Each piece, unchanged.

    Raises:
        StreamTimeout: one of the limits is over.
    """
    watch = _Watch(clock, wire or Sent())
    try:
        found = await watch.next(pieces, "first", first)
        while found:
            yield found[0]
            found = await watch.next(pieces, "idle", idle or IDLE)
    finally:
        watch.close()
        await pieces.aclose()


class _Watch:
    """Ends a wait for a piece when it was long enough; one alarm serves many pieces."""

    def __init__(self, clock: Clock, wire: Wire) -> None:
        self._clock = clock
        self._wire = wire
        self._alarms = Alarms(clock)
        self._alarm: Alarm | None = None
        self._began = self._queued = Micros(0)
        self._limit: Micros | None = None
        self._step: asyncio.Task[object] | None = None
        self._over = False

    async def next(
        self, pieces: AsyncGenerator[T], name: Literal["first", "idle"], limit: Micros | None
    ) -> tuple[T] | None:
        """The next piece, within its limit; None at the end."""
        self._begin(limit)
        # A task of its own, so that our end of it is never mixed up with the caller's.
        step = self._step = asyncio.create_task(_one(pieces))
        left = False
        while not step.done():
            try:
                await asyncio.wait({step})
            except asyncio.CancelledError:  # not swallowed: raised again once the socket is closed
                left = True
                step.cancel()
        self._step = None
        if step.cancelled() and self._over and not left:
            assert limit is not None
            raise StreamTimeout(name, limit, sent=self._wire.sent)
        if left:
            _ = step.cancelled() or step.exception()  # heard, so that nobody complains
            raise asyncio.CancelledError
        return step.result()

    def _begin(self, limit: Micros | None) -> None:
        self._began, self._limit = self._clock.mono(), limit
        self._queued = queue_time(self._wire, self._began)
        if limit is not None and (self._alarm is None or self._alarm.at > self._began + limit):
            self._set(self._began + limit)

    def _set(self, at: int) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._alarms.set(at, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._step is None or self._limit is None:
            return  # between two pieces; the next wait sets it again
        now = self._clock.mono()
        waited = now - self._began - (queue_time(self._wire, now) - self._queued)
        if waited < self._limit:
            # While our queue goes on the end moves away with every look at it.
            rest = self._limit - waited
            self._set(now + (rest if self._wire.queues_since is None else max(rest, LOOK)))
            return
        self._over = True
        self._step.cancel()

    def close(self) -> None:
        """Ring no more."""
        self._alarms.close()


async def _one(pieces: AsyncGenerator[T]) -> tuple[T] | None:
    try:
        return (await anext(pieces),)
    except StopAsyncIteration:
        return None
