"""Checks the end of the ledger when a house is opened: what came after the last settled point.

What it is not: the proof; `tildawn.ledger.verify` checks everything and trusts nothing here.
"""

from hashlib import sha256

from tildawn.errors import LedgerBroken
from tildawn.ledger.archive import Archive
from tildawn.ledger.chain import Frontier
from tildawn.ledger.sqlite.bodies import Bodies, body_to
from tildawn.ledger.sqlite.connection import Database
from tildawn.ledger.sqlite.naming import naming
from tildawn.ledger.sqlite.store import Tip
from tildawn.units import Seq


def check_tail(database: Database) -> Seq:
    """Hash again what follows the settled point, and compare with the head.

    Args:
        database: a migrated house.

    Returns:
        Where the check began; the head's size means that there was nothing to check.

    Raises:
        LedgerBroken: a fact, a hash or the head is not what it was; says where.
    """
    start, head = _tip(database, "verified"), _tip(database, "head")
    chain, frontier = start.chain, Frontier.load(start.size, start.frontier)
    left = body_to(database)
    sql = "SELECT seq, leaf, body FROM fact WHERE seq >= ? ORDER BY seq"
    for seq, leaf, body in database.execute(sql, (start.size,)):
        if seq != frontier.size:
            raise _broken(frontier.size, "is missing")
        # A body that has left was checked before it went; chain and tree need its leaf only.
        if sha256(b"\x00" + body).digest() != leaf and (body or seq >= left):
            raise _broken(seq, "does not hash to its leaf")
        chain = sha256(b"\x02" + chain + leaf).digest()
        frontier.add(leaf)
    if Tip(Seq(frontier.size), chain, frontier.dump()) != head:
        raise _broken(frontier.size, "is where the facts end, but the head says otherwise")
    return start.size


def ends(database: Database, archive: Archive) -> tuple[bytes, bytes]:
    """The bodies of the fact that names the log and of the last one, both empty without facts.

    Raises:
        apsw.Error: the disk refuses.
        ArchiveMissing: the first of them has left for an archive that is not there.
    """
    whole = Bodies(database, archive).whole
    sql = "SELECT seq, body FROM fact WHERE seq = ? OR seq = (SELECT max(seq) FROM fact)"
    bodies = [whole(seq, body) for seq, body in database.execute(sql, (naming(database),))]
    return (bodies[0], bodies[-1]) if bodies else (b"", b"")


def _tip(database: Database, table: str) -> Tip:
    sql = f"SELECT size, chain, frontier FROM {table}"  # noqa: S608 - one of two names above
    rows = database.execute(sql).fetchall()
    if len(rows) != 1:
        message = f"the ledger has no {table}"
        raise LedgerBroken(
            message, hint="copy the house away and keep it; begin another in a new folder"
        )
    size, chain, packed = rows[0]
    try:
        Frontier.load(size, packed)
    except ValueError as error:
        message = f"the {table} of the ledger is damaged: {error}"
        raise LedgerBroken(
            message, hint="copy the house away and keep it; begin another in a new folder"
        ) from error
    return Tip(Seq(size), bytes(chain), bytes(packed))


def _broken(seq: int, what: str) -> LedgerBroken:
    message = f"fact {seq} {what}"
    return LedgerBroken(message, hint="tildawn verify shows more; restore a snapshot", seq=seq)
