"""Virtual time: a clock that jumps to the next thing that is due when nothing else can happen.

What it is not: fast forward.  Time moves only while no callback is ready, no commit is under way
and no thread works, so a night takes as long as its work, and comes out the same every time.

What a host loop would do in other threads is done on the spot: a thread that is waited for
anyway takes no virtual time, and whatever it says comes back in one order only.  Appends to the
ledger are waited for in the same way, by `tildawn.runtime.rehearsal.house`.
"""

import asyncio
import heapq
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from itertools import count
from typing import Any, TypeVar, TypeVarTuple, Unpack

from tildawn.units import SECOND, Micros


T = TypeVar("T")
Ts = TypeVarTuple("Ts")

EVENING = Micros(1_771_020_000_000_000)
"""2026-02-13T22:00:00Z: an evening on which a night may begin."""


class VirtualClock:
    """Time as an argument; `VirtualLoop` moves it."""

    def __init__(self, wall: Micros = EVENING) -> None:
        """Start at an instant of the wall clock, in microseconds since 1970."""
        self._wall = wall
        self._mono = 0
        self._order = count()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def wall(self) -> Micros:
        """See `Clock.wall`."""
        return Micros(self._wall + self._mono)

    def mono(self) -> Micros:
        """See `Clock.mono`."""
        return Micros(self._mono)

    async def sleep(self, wait: Micros) -> None:
        """See `Clock.sleep`."""
        if wait <= 0:
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._mono + wait, next(self._order), woken))
        await woken

    def jump(self, by: Micros) -> None:
        """Set the wall clock forth or back, as somebody sets the machine's; nobody wakes.

        Raises:
            Nothing.
        """
        self._wall = Micros(self._wall + by)

    def next_due(self) -> Micros | None:
        """How long until the first sleeper is due, or None if nobody sleeps.

        Raises:
            Nothing.
        """
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)  # cancelled
        return Micros(self._sleepers[0][0] - self._mono) if self._sleepers else None

    def advance(self, wait: Micros) -> None:
        """Let time pass and wake who is due, earliest first, then first come first served.

        Raises:
            Nothing.
        """
        self._mono += max(wait, 0)
        while self._sleepers and self._sleepers[0][0] <= self._mono:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)


class _Selector(selectors.DefaultSelector):
    """Where a loop would sleep, virtual time jumps.

    A loop that has callbacks to run asks without a wait; one that asks to wait has none, so
    whatever is due next is what happens next.
    """

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        dues = [self._clock.next_due()]
        if timeout is not None:
            # What asyncio itself has timed, such as a timeout of somebody else's library.
            dues.append(Micros(-int(-timeout * SECOND // 1)))
        due = min((one for one in dues if one is not None), default=None)
        if due is None:
            message = "everybody waits, and nothing will ever come"
            raise RuntimeError(message)
        self._clock.advance(Micros(max(due, 1)))
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time."""

    def __init__(self, clock: VirtualClock) -> None:
        """Take the clock that this loop moves."""
        super().__init__(_Selector(clock))
        self._virtual = clock

    def time(self) -> float:
        """Steady virtual time in seconds."""
        return self._virtual.mono() / SECOND

    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[Unpack[Ts]], T],
        *args: *Ts,
    ) -> "asyncio.Future[T]":
        """Do on the spot what a thread would do: it takes no virtual time."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - handed on, as a thread would
            future.set_exception(error)
        return future


def run_virtual(clock: VirtualClock, main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on virtual time.

    Raises:
        RuntimeError: it waits for what will never come.
        BaseException: what it raises.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        return runner.run(main)
