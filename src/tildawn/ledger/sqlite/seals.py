"""Checkpoints and keys as the database has them.

What it is not: signing or trust; `tildawn.ledger.notary` and the audit judge what is read here.
"""

from tildawn.errors import LedgerBroken, ProofBroken
from tildawn.ledger.keyring import Keyring, Span
from tildawn.ledger.note import Note, parse_note
from tildawn.ledger.sqlite.connection import Database


WINDOW = 1_024
"""Of the checkpoints within so many facts only the newest is kept."""


def keyring_of(database: Database) -> Keyring:
    """The keys that the projection names, and the name of the house; both empty before them.

    Raises:
        apsw.Error: nothing folds them in this house.
    """
    sql = "SELECT begin, name, public FROM signing_key ORDER BY begin"
    ring = Keyring(
        Span(int(b), str(name), str(public)) for b, name, public in database.execute(sql)
    )
    for (name,) in database.execute("SELECT name FROM signing"):
        ring.name = str(name)
    return ring


def newest_seal(database: Database) -> Note | None:
    """The newest checkpoint on record; None without one.

    Raises:
        LedgerBroken: it is no signed note.
    """
    sql = "SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1"
    for size, text in database.execute(sql).fetchall():
        try:
            return parse_note(text)
        except ProofBroken as error:
            message = f"the checkpoint of {size} facts in the database is damaged: {error.message}"
            raise LedgerBroken(message, hint="tildawn verify", seq=int(size)) from error
    return None


def keep_seal(database: Database, size: int, text: str) -> None:
    """Add a checkpoint in the open transaction; of its window the newest remains.

    Raises:
        apsw.Error: it would not be the largest, or the disk refuses.
    """
    database.execute("INSERT INTO checkpoint VALUES (?, ?)", (size, text)).fetchall()
    begin = size - (size - 1) % WINDOW
    sql = "DELETE FROM checkpoint WHERE size >= ? AND size < ?"
    database.execute(sql, (begin, size)).fetchall()
