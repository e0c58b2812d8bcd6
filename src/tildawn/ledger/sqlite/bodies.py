"""The bodies of facts, wherever they are: in the database, or in the archive that they left for.

What it is not: a check of the archive; only what is read is compared, with its leaf.
"""

from tildawn.ledger.archive import Archive
from tildawn.ledger.sqlite.connection import Database


class Bodies:
    """Completes rows of one connection."""

    __slots__ = ("_archive", "_database")

    def __init__(self, database: Database, archive: Archive) -> None:
        """Take the connection and the archive."""
        self._database = database
        self._archive = archive

    def whole(self, seq: int, body: bytes) -> bytes:
        """The body of a fact.

        Args:
            seq: its position.
            body: what its row holds; empty when it has left.

        Raises:
            ArchiveMissing: it has left, and the archive does not have it.
            LedgerBroken: what the archive has is not what was recorded.
        """
        if body:
            return body
        sql = "SELECT leaf FROM fact WHERE seq = ?"
        [(leaf,)] = self._database.execute(sql, (seq,)).fetchall()
        return self._archive.body(seq, leaf)


def body_to(database: Database) -> int:
    """Before which position bodies may have left; 0 in a house that an older version made.

    Raises:
        apsw.Error: the file cannot be read.
    """
    found = database.execute("SELECT name FROM sqlite_schema WHERE name = 'archive'").fetchall()
    if not found:
        return 0
    rows = database.execute("SELECT body_to FROM archive").fetchall()
    return int(rows[0][0]) if rows else 0
