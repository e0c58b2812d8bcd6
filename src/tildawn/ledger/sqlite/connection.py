"""How SQLite is opened: version gate, pragmas read back, disk checked.

What it is not: what is stored; that is the schema's and the writer's business.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import apsw

from tildawn.errors import HouseUnusable, LedgerBroken, StoreFull, TildawnError
from tildawn.ledger.sqlite.damage import KEEP, damage_of


SQLITE_FLOOR = (3, 51, 3)
"""Oldest SQLite taken. Source: its notes; 3.7.0 to 3.51.2 can lose commits at a WAL reset."""

PAGE_BYTES = 4_096
BUSY_MS = 2_000

Value = int | str | bytes | None | float
"""What a column of SQLite holds."""

Columns = tuple[Any, ...]
"""One row as SQLite gives it; whoever reads it knows the statement and so the types."""


class Rows(Protocol):
    """The rows of one statement; they are made while they are read."""

    def __iter__(self) -> Iterator[Columns]:
        """One row after the other."""
        ...

    def fetchall(self) -> list[Columns]:
        """All of them, which also ends the statement."""
        ...


class Database(Protocol):
    """What this package uses of an `apsw.Connection`; as a context manager, a transaction."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def __enter__(self) -> object:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool | None:
        """Commit, or roll back after an error."""
        ...

    def execute(self, sql: str, params: Sequence[Value] = ..., /) -> Rows:
        """Run one statement, lazily."""
        ...

    def executemany(self, sql: str, params: Iterable[Sequence[Value]], /) -> Rows:
        """Run one statement once for each row of values."""
        ...

    def set_busy_timeout(self, wait_ms: int, /) -> None:
        """How long to wait for a lock, in milliseconds."""
        ...

    def config(self, option: int, value: int, /) -> int:
        """Set an option of the connection that is no pragma."""
        ...

    def changes(self) -> int:
        """How many rows the last statement changed."""
        ...

    @property
    def system_errno(self) -> int:
        """The number of the system's last error here."""
        ...

    def pragma(self, name: str, value: Any = ..., /) -> Any:
        """Read or set one pragma."""
        ...

    def wal_checkpoint(self, *, mode: int) -> tuple[int, int]:
        """Move the log; gives its length in pages and how many of them were moved."""
        ...

    def set_wal_hook(self, hook: Callable[[Any, str, int], int] | None, /) -> None:
        """Be told the length of the log after each commit."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


def check_version(version: str) -> None:
    """Refuse an SQLite that can lose acknowledged commits.

    Args:
        version: such as ``3.51.3``.

    Raises:
        HouseUnusable: it is older than the floor.
    """
    numbers = tuple(int(part) for part in version.split("."))
    if numbers < SQLITE_FLOOR:
        floor = ".".join(map(str, SQLITE_FLOOR))
        message = f"SQLite {version} can lose commits; {floor} is the oldest that is safe"
        raise HouseUnusable(message, hint="pip install --upgrade apsw")


def connect(path: Path, *, vfs: str = "", write: bool) -> Database:
    """Open the database of a house.

    Args:
        path: the file; made when missing and ``write``.
        vfs: name of an apsw VFS, for tests; such a connection is exclusive, because
            files written in Python have no shared memory.
        write: whether this is the one writer.

    Returns:
        A connection with every pragma read back.

    Raises:
        HouseUnusable: SQLite is too old or a setting does not take.
        LedgerBroken: the file is no database or is damaged.
    """
    check_version(apsw.sqlite_lib_version())
    flags = apsw.SQLITE_OPEN_READONLY
    if write:
        # A restore attaches its source by an address that says "read only".
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
    try:
        made = apsw.Connection(str(path), flags=flags, vfs=vfs or None, statementcachesize=256)
        database = cast("Database", made)
        try:
            _settle(database, exclusive=bool(vfs), write=write)
        except BaseException:
            database.close()
            raise
    except apsw.Error as error:
        raise opening_error(path, error) from error
    return database


def lacks_space(error: Exception) -> bool:
    """Whether there was no space for the memory that SQLite shares beside a database to read it.

    Raises:
        Nothing.
    """
    return getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE


def opening_error(path: Path, error: apsw.Error) -> TildawnError:
    """What an error of SQLite while opening means to the owner.

    Raises:
        Nothing.
    """
    if isinstance(error, apsw.NotADBError | apsw.CorruptError):
        message = f"{path} is damaged: {damage_of(path) or error}"
        return LedgerBroken(message, hint=KEEP)
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        message = f"{path} is locked by another program: {error}"
        return HouseUnusable(message, hint="end the program that has the file open")
    if lacks_space(error):
        message = (
            f"{path} cannot be read: there is no space for the 32 kB beside it that this takes"
        )
        return StoreFull(message, hint="free some space, then try again")
    message = f"{path} cannot be opened: {error}"
    return HouseUnusable(message, hint="check that the folder is on a local disk you may write to")


def _settle(database: Database, *, exclusive: bool, write: bool) -> None:
    database.set_busy_timeout(BUSY_MS)
    wanted: list[tuple[str, Value]] = [("foreign_keys", 1), ("trusted_schema", 0), ("mmap_size", 0)]
    if exclusive:
        wanted.append(("locking_mode", "exclusive"))
    if write:
        wanted += [("page_size", PAGE_BYTES), ("journal_mode", "wal")]
        wanted += [("synchronous", 2), ("wal_autocheckpoint", 0)]
        if sys.platform == "darwin":
            wanted += [("fullfsync", 1), ("checkpoint_fullfsync", 1)]
    else:
        wanted.append(("query_only", 1))
    for name, value in wanted:
        _pragma(database, name, value)


def _pragma(database: Database, name: str, value: Value) -> None:
    # Every pragma is one statement, run to its end and read back: apsw runs lazily.
    first = database.execute(f"PRAGMA {name}={value}").fetchall()
    if name == "mmap_size" and not first:
        return  # this SQLite was built without memory mapping, which is what is asked for
    found = database.execute(f"PRAGMA {name}").fetchall()
    got = found[0][0] if found else None
    if got != value:
        message = f"SQLite did not take {name}={value}; it says {got}"
        raise HouseUnusable(
            message, hint="check that the folder is on a local disk you may write to"
        )
