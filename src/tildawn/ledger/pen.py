"""The pen: a lock that one process of a machine holds, and that dies with it.

What it is not: the fence.  The epoch in the head of the ledger refuses a stale holder even
where this lock does not hold.
"""

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tildawn.clock import Clock
from tildawn.errors import HouseLocked, HouseUnusable
from tildawn.units import Micros


class Holder(msgspec.Struct, frozen=True):
    """Who holds the pen: process, build, and since when (microseconds since 1970)."""

    pid: int
    since: Micros
    build: str = ""


class Pen:
    """The pen in our hand; it falls when the process ends.

    It is an flock on a file of its own: closing any handle of the database would drop the
    POSIX locks of SQLite, and flock belongs to the open file, not to the process.
    """

    def __init__(self, handle: int) -> None:
        """Hold an open and locked file."""
        self._handle = handle

    @classmethod
    def take(cls, path: Path, *, clock: Clock, build: str) -> "Pen":
        """Take the pen, or be refused at once.

        Args:
            path: the file of the pen.
            clock: says since when.
            build: which build takes it, for the next one who asks.

        Returns:
            The pen.

        Raises:
            HouseLocked: another process holds it; the message says which.
            HouseUnusable: the file cannot be written.
        """
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            message = f"{path} cannot be written: {error.strerror}"
            raise HouseUnusable(message, hint="make the folder writable, or move it") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise _locked(path) from None
        except OSError as error:
            os.close(handle)
            message = f"{path} cannot be locked: {error.strerror}"
            raise HouseUnusable(message, hint="keep the house on a local disk") from error
        note = msgspec.json.encode(Holder(os.getpid(), clock.wall(), build))
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, note, 0)
        except OSError:
            # The note only helps others to see who we are; the lock is what counts.
            pass
        return cls(handle)

    def lay(self) -> None:
        """Give it up; a second time does nothing.

        Raises:
            Nothing.
        """
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def holder_of(path: Path) -> Holder | None:
    """Who last took the pen of a house, or None when nobody left a readable note.

    Raises:
        Nothing.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Holder)
    except (OSError, msgspec.DecodeError):
        return None


def boot_id() -> str:
    """Which start of the machine this is; empty where the system does not tell.

    Raises:
        Nothing.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _locked(path: Path) -> HouseLocked:
    holder = holder_of(path)
    if holder is None:
        return HouseLocked(f"{path.parent} is held by another process")
    since = datetime.fromtimestamp(holder.since // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    build = f", Tildawn {holder.build}" if holder.build else ""
    message = f"{path.parent} is held by process {holder.pid} since {since} UTC{build}"
    return HouseLocked(
        message,
        hint=(
            "tildawn status says what it does; tildawn takeover makes it park and go;"
            f" kill {holder.pid} ends it, and nothing on record is lost"
        ),
        pid=holder.pid, since=holder.since, build=holder.build,
    )  # fmt: skip
