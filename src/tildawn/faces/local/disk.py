"""Tells whoever watches that the disk of the house is full, and when there is room again.

What it is not: a limit.  The ledger refuses by itself what it cannot record, and goes on by
itself when there is room; without a word it would look as if nothing happened.
"""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tildawn.clock import Clock
from tildawn.units import SECOND, Micros


FULL_BELOW = 1_000_000
"""Free bytes below which the disk counts as full: less than the write-ahead log takes at once."""

LOOK_EVERY = Micros(5 * SECOND)


class Room:
    """What was told last about the room on a disk."""

    def __init__(self) -> None:
        """There is room, as far as anybody was told."""
        self._full = False

    def news(self, folder: Path, free: int) -> str:
        """What is to be told now; empty when nothing has changed.

        Args:
            folder: the house.
            free: bytes that are free on its disk.

        Raises:
            Nothing.
        """
        full = free < FULL_BELOW
        if full == self._full:
            return ""
        self._full = full
        if full:
            return (
                f"the disk of {folder} is full: {free // 1_000} kB are free. Nothing can be"
                " recorded, so nothing goes on until there is room\n"
                "Next: free some space; the work resumes by itself"
            )
        return f"there is room again on the disk of {folder}; the work goes on"


@asynccontextmanager
async def watching(
    folder: Path, *, clock: Clock, tell: Callable[[str], None]
) -> AsyncGenerator[None]:
    """Look at the disk of a house now and then while the block lasts.

    Args:
        folder: the house.
        clock: for the time between two looks.
        tell: takes a sentence.

    Raises:
        Nothing.
    """
    task = asyncio.ensure_future(_watch(folder, clock, tell))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch(folder: Path, clock: Clock, tell: Callable[[str], None]) -> None:
    room = Room()
    while True:
        with suppress(OSError):  # a disk that cannot be asked is told of by whoever writes to it
            said = room.news(folder, shutil.disk_usage(folder).free)
            if said:
                tell(f"tildawn: {said}")
        await clock.sleep(LOOK_EVERY)
