"""One try of something outside, under a time limit that holds whatever the try does.

What it is not: recording.  It says how the try ended; `tildawn.guard.call` puts that on record.

Time that the try spends in our own queue for a connection is not the other side's: it puts off
the end of the try, up to `Attempt.until`, and is no part of `Ran.took`.

The try runs as a task of its own on the host loop.  When its time is over, or its caller goes
away, it is cancelled and waited for during `GRACE`; one that does not end even then is abandoned
by name, and whatever it says later is late.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import msgspec

from tildawn.clock import Clock
from tildawn.guard.deadline import Alarm, Alarms
from tildawn.guard.fault import Seen, cancelled, kept_waiting, seen, timed_out
from tildawn.guard.request import Attempt, queue_time
from tildawn.units import MILLISECOND, SECOND, Micros


GRACE = SECOND
"""How long a cancelled try may take to close its socket or to end its child."""

LOOK = Micros(100 * MILLISECOND)
"""How often a try that waits in our queue is looked at, at the most; it ends that much late."""

T = TypeVar("T")
Work = Callable[[Attempt], Awaitable[T]]


class Ran(msgspec.Struct, Generic[T], frozen=True):
    """How a try ended: with an answer or with a fault; ``task`` is set when it was abandoned.

    ``took`` is how long the other side had, ``queued`` how long the try waited in our own queue.
    """

    answer: T | None
    fault: Seen | None
    took: Micros
    cancelled: bool
    task: asyncio.Task[T] | None = None
    queued: Micros = Micros(0)


class Try(Generic[T]):
    """One try under way."""

    __slots__ = (
        "_alarm", "_alarms", "_attempt", "_began", "_clock", "_given_up", "_kept", "_left", "_limit",
        "_over", "_task", "_waiter", "_work",
    )  # fmt: skip

    def __init__(self, clock: Clock, alarms: Alarms, attempt: Attempt, work: Work[T]) -> None:
        """Prepare a try that is over at ``attempt.deadline``, later by its time in our queue."""
        self._work = work
        self._clock = clock
        self._alarms = alarms
        self._attempt = attempt
        self._began = self._limit = Micros(0)
        #: How long our queue kept it, where all its time went by there.
        self._kept = Micros(0)
        #: The time was over; the caller went away; we did not wait any longer.
        self._over = self._left = self._given_up = False
        self._waiter: asyncio.Future[None] | None = None
        self._task: asyncio.Task[T]
        self._alarm: Alarm

    async def run(self) -> Ran[T]:
        """Do it.

        A cancellation of the caller ends the try and is told by ``cancelled``; it is for the
        caller to put the end on record and then to go on being cancelled.

        Raises:
            Nothing.
        """
        self._began = self._clock.mono()
        self._limit = Micros(max(self._attempt.deadline - self._began, 0))
        self._task = asyncio.get_running_loop().create_task(self._awaited())
        self._alarm = self._alarms.set(self._attempt.deadline, self._ring)
        await self._ended()
        self._alarm.cancel()
        queued = queue_time(self._attempt.wire, self._clock.mono())
        took = Micros(self._clock.mono() - self._began - queued)
        if not self._task.done():
            return Ran(None, self._cut_off(), took, self._left, self._task, queued)
        answer, fault = self._result()
        return Ran(answer, fault, took, self._left, None, queued)

    async def _awaited(self) -> T:
        try:
            return await self._work(self._attempt)
        finally:
            # A callback of the task would say the same, one turn of the loop later.
            self._wake()

    async def _ended(self) -> None:
        while not (self._task.done() or self._given_up):
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            except asyncio.CancelledError:
                # Not swallowed: `Ran.cancelled` hands it on, once the end is on record.
                if self._left:
                    self._given_up = True
                self._left = True
                self._end()

    def _ring(self) -> None:
        now, wire = self._clock.mono(), self._attempt.wire
        left = self._limit - (now - self._began - queue_time(wire, now))
        if left > 0 and now < self._attempt.until:
            wait = left if wire.queues_since is None else max(left, LOOK)
            self._alarm = self._alarms.set(min(now + wait, self._attempt.until), self._ring)
            return
        self._over = True
        if left > 0 and wire.queues_since is not None:
            self._kept = queue_time(wire, now)
        elif left > 0:  # the call was over before this try had all its time
            self._limit = Micros(self._limit - left)
        self._end()

    def _end(self) -> None:
        self._alarm.cancel()
        # One that has not begun yet never gets to say that it is over.
        self._task.add_done_callback(self._wake)
        self._task.cancel()
        self._alarm = self._alarms.set(self._clock.mono() + GRACE, self._give_up)

    def _give_up(self) -> None:
        self._given_up = True
        self._wake()

    def _wake(self, _: object = None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _result(self) -> tuple[T | None, Seen | None]:
        task = self._task
        if not task.cancelled() and task.exception() is None:
            # Even after its time was over: an answer that reached us is never bought twice.
            return task.result(), None
        if self._over or self._left:
            return None, self._cut_off()
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        assert error is not None
        return None, seen(error, sent=self._attempt.wire.sent)

    def _cut_off(self) -> Seen:
        sent = self._attempt.wire.sent
        if not self._over:
            return cancelled(sent=sent)
        if self._kept:
            return kept_waiting(self._kept, sent=sent)
        return timed_out(self._limit, sent=sent)
