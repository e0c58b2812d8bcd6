"""Content-addressed files for what is too long for a row.

What it is not: a cache.  A blob that a fact names is kept; the others go after a day.
"""

import os
import re
import threading
from collections.abc import Callable, Container
from hashlib import sha256
from pathlib import Path

from tildawn.clock import Clock
from tildawn.errors import LedgerBroken, UnknownName
from tildawn.ledger.durable import sync_folder, write_durably
from tildawn.ledger.secret import secret_in
from tildawn.units import Micros


GRACE = Micros(24 * 3_600 * 1_000_000)
"""How long a blob may wait for the fact that names it. Source: docs/spec/ledger.md."""

ASIDE = "damaged"
"""Folder beside the blobs for files that a repair has replaced; nothing removes them."""

_NAME = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """A folder of files named by the SHA-256 of their content."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """Use a folder, which is made with the first blob."""
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        #: Says in words what secret some bytes hold, empty for none; asked before they are kept.
        self.look: Callable[[bytes], str] | None = None

    def put(self, content: bytes) -> str:
        """Keep the content; it is durable when this returns.

        Returns:
            Its name: SHA-256 as 64 hexadecimal digits.

        Raises:
            OSError: the disk refuses.
            SecretFound: it holds a secret; nothing was kept.
        """
        if self.look is not None and (what := self.look(content)):
            where = "a file of the house"
            raise secret_in(where, what)
        name = sha256(content).hexdigest()
        path = self.path(name)
        with self._lock:
            if not self._holds(path, content):
                self._aside(path)
                if not path.parent.is_dir():
                    path.parent.mkdir(parents=True, mode=0o700)
                    sync_folder(path.parent.parent)
                    sync_folder(path.parent.parent.parent)
                write_durably(path, content)
            # Its day of grace begins anew, also for a blob that was there.
            seconds = self._clock.wall() / 1_000_000
            os.utime(path, (seconds, seconds))
        return name

    def get(self, name: str) -> bytes:
        """The content of a blob; see `read_blob`.

        Raises:
            UnknownName: there is no such blob.
            LedgerBroken: its content is not what its name says.
        """
        return read_blob(self._folder, name)

    def set_aside(self, name: str) -> bool:
        """Move a blob that does not hold what its name says out of the way; it is kept.

        Returns:
            Whether there was one.

        Raises:
            OSError: the disk refuses.
            UnknownName: the name is not 64 lower-case hexadecimal digits.
        """
        with self._lock:
            return self._aside(self.path(name))

    def remove(self, name: str) -> None:
        """Remove a blob that no fact names any more, and what a repair has put aside of it.

        Raises:
            OSError: the disk refuses.
            UnknownName: the name is not 64 lower-case hexadecimal digits.
        """
        path = self.path(name)
        with self._lock:
            for one in (path, *(self._folder / ASIDE).glob(f"{name}.*")):
                if one.exists():
                    one.unlink()
                    sync_folder(one.parent)

    def path(self, name: str) -> Path:
        """Where the blob is or would be.

        Raises:
            UnknownName: the name is not 64 lower-case hexadecimal digits.
        """
        return _path(self._folder, name)

    def sweep(self, used: Container[str]) -> tuple[int, int]:
        """Remove what no fact names once its day of grace is over.

        Args:
            used: the names that facts keep alive.

        Returns:
            How many blobs went and how many bytes they had.

        Raises:
            OSError: the disk refuses.
        """
        count = size = 0
        before = self._clock.wall() - GRACE
        for path in sorted(self._folder.glob("??/*")):
            with self._lock:
                state = path.stat()
                if state.st_mtime_ns // 1_000 > before or path.name in used:
                    continue
                path.unlink()
            count += 1
            size += state.st_size
        return count, size

    def _holds(self, path: Path, content: bytes) -> bool:
        """Whether the file is there and whole; its size alone would not say so."""
        try:
            return path.stat().st_size == len(content) and path.read_bytes() == content
        except FileNotFoundError:
            return False

    def _aside(self, path: Path) -> bool:
        if not path.exists():
            return False
        aside = self._folder / ASIDE
        aside.mkdir(mode=0o700, exist_ok=True)
        at = sum(1 for _ in aside.glob(f"{path.name}.*"))
        path.rename(aside / f"{path.name}.{at}")
        sync_folder(aside)
        sync_folder(path.parent)
        return True


def read_blob(folder: Path, name: str) -> bytes:
    """The content of a blob.

    Args:
        folder: all blobs of a house.
        name: SHA-256 as 64 hexadecimal digits.

    Returns:
        What was put.

    Raises:
        UnknownName: there is no such blob.
        LedgerBroken: its content is not what its name says, or cannot be read.
    """
    try:
        content = _path(folder, name).read_bytes()
    except FileNotFoundError:
        message = f"blob {name} is not there"
        raise UnknownName(message) from None
    except OSError as error:
        message = f"blob {name} cannot be read: {error.strerror}"
        raise LedgerBroken(message, hint="restore the file from a snapshot") from error
    if sha256(content).hexdigest() != name:
        message = f"blob {name} does not hold what its name says"
        raise LedgerBroken(message, hint="restore the file from a snapshot")
    return content


def _path(folder: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        message = f"{name!r} is not the name of a blob"
        raise UnknownName(message)
    return folder / name[:2] / name
