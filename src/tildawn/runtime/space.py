"""The space of a house's disk: how much there is, what a night needs, and what is set aside.

What it is not: the refusal of an append on a full disk; that is the ledger's.
"""

import os
from pathlib import Path

import msgspec

from tildawn.facts.storage import BallastLaid, StorageExhausted
from tildawn.ledger.layout import Layout
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.reader import Reader
from tildawn.projections.run import RunRow
from tildawn.projections.storage import ballast_of


LOW_BYTES = 100_000_000
"""With less, no new work begins. Source: the specification, "check >= 100 MB"."""

INODES_LOW = 10_000

RUNS_KNOWN = 20
"""Runs after which the house's own bytes for each are believed."""

RUN_BYTES = 2_000_000
"""What a run is taken to leave before that: one picture."""


class Space(msgspec.Struct, frozen=True, kw_only=True):
    """What a disk has left: bytes, and names for files; ``inodes`` None where it has no limit."""

    free_bytes: int
    inodes: int | None

    @property
    def low(self) -> bool:
        """Whether nothing new should begin."""
        return self.free_bytes < LOW_BYTES or (self.inodes is not None and self.inodes < 100)  # noqa: PLR2004 - names for the files of what is under way


def space_of(folder: Path) -> Space:
    """What the disk of a folder, or of the nearest one above it that exists, has left for us.

    Raises:
        OSError: it cannot be asked.
    """
    place = next((one for one in (folder, *folder.absolute().parents) if one.is_dir()), Path("/"))
    said = os.statvfs(place)
    return Space(
        free_bytes=said.f_bavail * said.f_frsize, inodes=said.f_favail if said.f_files else None
    )


def forecast(reader: Reader, folder: Path, *, runs: int) -> int:
    """How many bytes so many runs will leave, from what those before them left.

    Args:
        reader: of the house.
        folder: of the house.
        runs: that will begin.

    Raises:
        OSError: its files cannot be looked at.
    """
    before = reader.count(RunRow, "parent = ''")
    if before < RUNS_KNOWN:
        return runs * RUN_BYTES
    layout = Layout(folder)
    kept = layout.database.stat().st_size
    kept += sum(one.stat().st_size for one in layout.blobs.glob("??/*"))
    return runs * kept // before


class Room:
    """What a house sets aside of its disk, seen to turn by turn."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        """Take the house's folder and how much to set aside; 0 for nothing."""
        self._folder = folder
        self._size = size_bytes

    def keep(self, ledger: Ledger) -> None:
        """Put on record that the disk was full, and set space aside once there is enough; blocks.

        A crash in between leaves the file without its fact, or a fact without its file; the next
        turn sees to it.

        Raises:
            OSError: the disk refuses.
            StoreFull: the disk is full, with nothing left to give.
            TildawnError: the house cannot be written.
        """
        with ledger.read() as reader:
            laid = ballast_of(reader)
        free = space_of(self._folder).free_bytes
        if laid and not ledger.ballast.size_bytes:
            gone = StorageExhausted(released_bytes=laid, free_bytes=free)
            ledger.append_now([ledger.draft(gone)])
            return
        if not ledger.ballast.size_bytes:
            if not self._size or free < LOW_BYTES + 2 * self._size:
                return  # what is left is worth more as it is
            ledger.ballast.lay(self._size)
        if not laid:
            kept = ledger.ballast.size_bytes
            said = BallastLaid(size_bytes=kept, free_bytes=space_of(self._folder).free_bytes)
            ledger.append_now([ledger.draft(said)])
