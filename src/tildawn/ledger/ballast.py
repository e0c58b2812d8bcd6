"""Space set aside, to be given back when the disk is full: enough to end in order.

What it is not: a cure.  It buys the time in which somebody frees some space.
"""

import os
from pathlib import Path

from tildawn.ledger.durable import sync_folder


class Ballast:
    """One file of the house without content that counts; any thread may release it."""

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is touched."""
        self._path = path

    @property
    def size_bytes(self) -> int:
        """How much there is to give back; 0 for none."""
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def lay(self, size_bytes: int) -> None:
        """Set space aside; its blocks are the disk's when this returns.

        A crash leaves none, all of it, or a stray ``.new`` that the next one replaces.

        Raises:
            OSError: there is not so much, or the disk refuses; nothing is kept then.
        """
        fresh = self._path.with_name(f"{self._path.name}.new")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            _reserve(handle, size_bytes)
            os.fsync(handle)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)
        fresh.replace(self._path)
        sync_folder(self._path.parent)

    def release(self) -> bool:
        """Give the space back, when there is some.

        Returns:
            Whether there was.

        Raises:
            Nothing: a disk that does not even remove a file has nothing to give.
        """
        try:
            self._path.unlink()
            sync_folder(self._path.parent)
        except OSError:
            return False
        return True


def _reserve(handle: int, size_bytes: int) -> None:
    # HOLE: macOS has no posix_fallocate; there the zeros are written, which some disks shorten.
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size_bytes)
        return
    block = bytes(1 << 20)
    left = size_bytes
    while left > 0:
        left -= os.write(handle, block[:left])
