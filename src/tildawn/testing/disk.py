"""A disk that fails when told to: counts, records, refuses, or kills the process.

What it is not: a file system.  It stands between SQLite and the real files of one house; a
connection through it is exclusive, because files written in Python have no shared memory.
"""

import errno
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import apsw
import msgspec


Kind = Literal["write", "sync", "truncate", "delete"]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation on a file, by the file's name; a note of the test's own has kind ``ack``."""

    kind: Kind | Literal["ack"]
    file: str = ""
    offset: int = 0
    content: bytes = b""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong at the n-th operation of a kind, counted from 1.

    ``io`` and ``full`` refuse it; ``kill`` ends the process by SIGKILL before it, ``tear`` after
    half of a write, ``kill-after`` after it.  ``times`` is for how many operations it lasts.
    """

    at: int
    kind: Kind | Literal["any"] = "any"
    what: Literal["io", "full", "kill", "tear", "kill-after"] = "io"
    times: int = 1


class FaultyDisk(apsw.VFS):
    """An SQLite VFS by name, to be given as ``vfs`` to `Ledger.open`.

    Use it as a context manager, around all that uses it.
    """

    def __init__(self, name: str, faults: Iterable[Fault] = (), *, record: bool = False) -> None:
        """Register under a name.

        Args:
            name: distinct from those of all VFS in this process.
            faults: what goes wrong.
            record: keep every operation in ``log``.
        """
        super().__init__(name, "")
        self.vfs = name
        self.faults = list(faults)
        self.log: list[Operation] = []
        self.counts: dict[str, int] = {"write": 0, "sync": 0, "truncate": 0, "delete": 0, "any": 0}
        self._record = record

    def __enter__(self) -> Self:
        """The disk itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Forget the name."""
        self.unregister()

    def note(self, content: bytes) -> None:
        """Put a note of one's own between the recorded operations.

        Raises:
            Nothing.
        """
        self.log.append(Operation(kind="ack", content=content))

    def before(self, operation: Operation) -> Fault | None:
        """Count an operation, and do what goes wrong before it.

        Returns:
            The fault to go on with, if it is one that lets the operation begin.

        Raises:
            apsw.IOError: as planned.
            apsw.FullError: as planned.
        """
        self.counts[operation.kind] += 1
        self.counts["any"] += 1
        if self._record:
            self.log.append(operation)
        for fault in self.faults:
            number = self.counts[fault.kind]
            if fault.kind not in {"any", operation.kind}:
                continue
            if fault.at <= number < fault.at + fault.times:
                return self._strike(fault)
        return None

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> "FaultyFile":  # noqa: N802 - SQLite's name
        """Open a file of the database."""
        return FaultyFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's name
        """Delete a file of the database."""
        fault = self.before(Operation(kind="delete", file=Path(filename).name))
        super().xDelete(filename, syncdir)
        _end(fault)

    def _strike(self, fault: Fault) -> Fault:
        if fault.what == "io":
            message = f"planned: {os.strerror(errno.EIO)}"
            raise apsw.IOError(message)
        if fault.what == "full":
            message = f"planned: {os.strerror(errno.ENOSPC)}"
            raise apsw.FullError(message)
        if fault.what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return fault


class FaultyFile(apsw.VFSFile):
    """One file on a `FaultyDisk`."""

    def __init__(
        self, disk: FaultyDisk, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        """Open it on the real disk."""
        super().__init__("", name, flags)
        text = name.filename() if isinstance(name, apsw.URIFilename) else name or "temporary"
        self._name = Path(text).name
        self._disk = disk

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        """Write, whole or torn."""
        content = bytes(data)
        real: Any = super()
        fault = self._disk.before(
            Operation(kind="write", file=self._name, offset=offset, content=content)
        )
        if fault is not None and fault.what == "tear":
            real.xWrite(content[: len(content) // 2], offset)
        else:
            real.xWrite(content, offset)
        _end(fault)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        """Sync."""
        fault = self._disk.before(Operation(kind="sync", file=self._name))
        super().xSync(flags)
        _end(fault)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        """Cut off."""
        fault = self._disk.before(Operation(kind="truncate", file=self._name, offset=newsize))
        super().xTruncate(newsize)
        _end(fault)


def _end(fault: Fault | None) -> None:
    if fault is not None:
        os.kill(os.getpid(), signal.SIGKILL)
