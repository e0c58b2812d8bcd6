"""How SQLite is opened: version gate, pragmas read back, disk checked.

What it is not: what is stored; that is the schema's and the writer's business.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import apsw

from tildawn.errors import HouseUnusable, LedgerBroken, TildawnError


SQLITE_FLOOR = (3, 51, 3)
"""Oldest SQLite taken. Source: its notes; 3.7.0 to 3.51.2 can lose commits at a WAL reset."""

PAGE_BYTES = 4_096
BUSY_MS = 2_000

Value = int | str | bytes | None | float
"""What a column of SQLite holds."""


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


def connect(path: Path, *, vfs: str = "", write: bool) -> apsw.Connection:
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
    flags = (
        apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE if write else apsw.SQLITE_OPEN_READONLY
    )
    try:
        database = apsw.Connection(str(path), flags=flags, vfs=vfs or None, statementcachesize=256)
        try:
            _settle(database, exclusive=bool(vfs), write=write)
        except BaseException:
            database.close()
            raise
    except apsw.Error as error:
        raise opening_error(path, error) from error
    return database


def opening_error(path: Path, error: apsw.Error) -> TildawnError:
    """What an error of SQLite while opening means to the owner.

    Raises:
        Nothing.
    """
    if isinstance(error, apsw.NotADBError | apsw.CorruptError):
        message = f"{path} is damaged: {error}"
        return LedgerBroken(message, hint="restore the newest snapshot; nothing was changed")
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        message = f"{path} is locked by another program: {error}"
        return HouseUnusable(message, hint="end the program that has the file open")
    message = f"{path} cannot be opened: {error}"
    return HouseUnusable(message, hint="check that the folder is on a local disk you may write to")


def _settle(database: apsw.Connection, *, exclusive: bool, write: bool) -> None:
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


def _pragma(database: apsw.Connection, name: str, value: Value) -> None:
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


def rows_of(
    database: apsw.Connection, sql: str, params: Sequence[Value] = ()
) -> list[tuple[Value, ...]]:
    """All rows of one statement.

    Raises:
        apsw.Error: SQLite refuses.
    """
    return database.execute(sql, params).fetchall()
