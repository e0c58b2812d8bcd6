"""Which kinds of facts a ledger holds, and which fact names its log: the first, or a restore.

What it is not: the name; that is in the fact.
"""

from tildawn.facts.fact import Fact
from tildawn.ledger.sqlite.connection import Database
from tildawn.units import Seq


NAMING = "HouseRestored"
"""The kind that names a log anew."""

_RESTORED = "restored"
_KIND = "INSERT OR IGNORE INTO kind VALUES (?, ?, ?)"
_NAMED = "INSERT OR REPLACE INTO meta VALUES (?, ?)"


def naming(database: Database) -> Seq:
    """The position of the fact that names the log.

    Raises:
        apsw.Error: the disk refuses.
    """
    rows = database.execute("SELECT value FROM meta WHERE key = ?", (_RESTORED,)).fetchall()
    return Seq(int(rows[0][0])) if rows else Seq(0)


def known_kinds(database: Database) -> set[tuple[str, int]]:
    """The kinds with their versions that need no note any more.

    Raises:
        apsw.Error: the disk refuses.
    """
    rows = database.execute("SELECT name, v FROM kind WHERE name <> ?", (NAMING,))
    return {(str(name), int(version)) for name, version in rows}


def note_kind(database: Database, fact: Fact, seq: int) -> bool:
    """Note a kind in the open transaction, and where the log was named.

    Returns:
        Whether it needs no note again: a fact that names the log is noted each time, so that
        opening need not look through all facts for the last one.

    Raises:
        apsw.Error: the disk refuses.
    """
    database.execute(_KIND, (fact.kind, fact.v, seq)).fetchall()
    if fact.kind == NAMING:
        database.execute(_NAMED, (_RESTORED, str(seq))).fetchall()
    return fact.kind != NAMING
