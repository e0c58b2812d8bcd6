"""The clock: the only place where time enters.

What it is not: a scheduler.  Everything that needs the time, or needs to wait, takes a
`Clock` as an argument; tests pass `tildawn.testing.ManualClock`.
"""

import asyncio
import time
from typing import Protocol

from tildawn.units import Micros


class Clock(Protocol):
    """Time, and waiting.

    ``wall`` may jump in either direction when somebody sets the machine's clock;
    ``mono`` never goes back and does not count while the process does not exist.
    """

    def wall(self) -> Micros:
        """The instant now, in microseconds since 1970-01-01 UTC."""
        ...

    def mono(self) -> Micros:
        """A steady reading in microseconds, for durations and deadlines; it counts while the machine sleeps where the system offers such a clock."""
        ...

    async def sleep(self, wait: Micros) -> None:
        """Wait at least ``wait`` microseconds of steady time; returns at once when ``wait`` <= 0."""
        ...


class SystemClock:
    """The machine's own clock."""

    def wall(self) -> Micros:
        """The instant now, in microseconds since 1970-01-01 UTC."""
        return Micros(time.time_ns() // 1_000)

    def mono(self) -> Micros:
        """Steady microseconds; on Linux they go on while the machine sleeps."""
        if _BOOTTIME is not None:
            return Micros(time.clock_gettime_ns(_BOOTTIME) // 1_000)
        return Micros(time.monotonic_ns() // 1_000)

    async def sleep(self, wait: Micros) -> None:
        """Wait; see `Clock.sleep`."""
        await asyncio.sleep(max(wait, 0) / 1_000_000)


_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)
