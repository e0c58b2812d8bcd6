"""A copy of the whole database as of one moment, made while others go on writing.

What it is not: trusted.  Whoever makes one checks it before it counts.
"""

from pathlib import Path

import apsw
import msgspec

from tildawn.errors import HouseUnusable, LedgerBroken, StoreFull, TildawnError
from tildawn.ledger.chain import GENESIS, Frontier, link
from tildawn.ledger.sqlite.connection import Columns, Database, connect, opening_error
from tildawn.ledger.sqlite.migrate import schema_of
from tildawn.ledger.sqlite.store import MARK_EVERY


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """Where a copied ledger ends, its schema, and the blobs that it names, in order."""

    schema: int
    size: int
    chain: str
    root: str
    epoch: int
    blobs: tuple[str, ...]


def copy_database(source: Path, target: Path) -> Copied:
    """Copy a database in one read transaction; the write-ahead log is held back only for that.

    It is written row by row, so that nothing which was deleted is carried along in free pages.

    Args:
        source: of a house; it may be written to meanwhile.
        target: is not there yet; a crash leaves any part of it.

    Returns:
        Where the copy ends: what the ledger had when this began, or more.

    Raises:
        HouseUnusable: the database cannot be read, or the copy cannot be written.
        LedgerBroken: it is damaged, or the copy is not of the ledger that is there.
        StoreFull: there is no space.
    """
    database = connect(source, write=False)
    try:
        before = _head(database)
        # Reading connections refuse to write anywhere; this statement writes beside the house.
        database.execute("PRAGMA query_only=0").fetchall()
        database.execute("VACUUM INTO ?", (str(target),)).fetchall()
    except apsw.Error as error:
        raise _refused(source, error) from error
    finally:
        database.close()
    copy = connect(target, write=False)
    try:
        return _copied(copy, before)
    except apsw.Error as error:
        raise opening_error(target, error) from error
    finally:
        copy.close()


def hashes_at(database: Database, size: int) -> tuple[bytes, bytes]:
    """Chain and frontier after ``size`` facts, from the mark before and the leaves after it.

    Raises:
        LedgerBroken: the mark is missing.
        ValueError: it is damaged.
    """
    begin = size - size % MARK_EVERY
    chain, frontier = GENESIS, Frontier()
    if begin:
        sql = "SELECT chain, frontier FROM mark WHERE size = ?"
        rows = database.execute(sql, (begin,)).fetchall()
        if not rows:
            message = f"the hashes after {begin} facts are missing"
            raise LedgerBroken(message, seq=begin)
        chain, frontier = bytes(rows[0][0]), Frontier.load(begin, bytes(rows[0][1]))
    sql = "SELECT leaf FROM fact WHERE seq >= ? AND seq < ? ORDER BY seq"
    for (leaf,) in database.execute(sql, (begin, size)):
        chain = link(chain, leaf)
        frontier.add(leaf)
    return chain, frontier.dump()


def _copied(copy: Database, before: Columns) -> Copied:
    size, chain, packed, epoch = _head(copy)
    # The ledger may have grown until the copy began, but what it had must be in it.
    if size < before[0] or hashes_at(copy, before[0]) != (before[1], before[2]):
        message = f"the copy does not hold the {before[0]} facts that the ledger had"
        raise LedgerBroken(message, seq=before[0])
    sql = "SELECT DISTINCT blob FROM blob_use ORDER BY blob"
    return Copied(
        schema=schema_of(copy), size=size, chain=chain.hex(),
        root=Frontier.load(size, packed).root().hex(), epoch=epoch,
        blobs=tuple(blob for (blob,) in copy.execute(sql)),
    )  # fmt: skip


def _head(database: Database) -> Columns:
    rows = database.execute("SELECT size, chain, frontier, epoch FROM head").fetchall()
    if len(rows) != 1:
        message = "the ledger has no head"
        raise LedgerBroken(message)
    size, chain, packed, epoch = rows[0]
    return int(size), bytes(chain), bytes(packed), int(epoch)


def _refused(source: Path, error: apsw.Error) -> TildawnError:
    if isinstance(error, apsw.FullError):
        return StoreFull(hint="free some space; nothing was changed")
    if isinstance(error, apsw.IOError | apsw.CantOpenError | apsw.ReadOnlyError):
        message = f"{source} cannot be copied: {error}"
        return HouseUnusable(message, hint="look at the disk; nothing was changed")
    return opening_error(source, error)
