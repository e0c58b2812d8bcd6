"""The database as a mirror reads it: batches from a position on, and the chain at any size.

What it is not: a check.  What is read here was checked by opening, or is by verify.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import apsw

from tildawn.errors import HouseUnusable
from tildawn.ledger.archive import Archive
from tildawn.ledger.chain import GENESIS, Frontier, link
from tildawn.ledger.layout import Layout
from tildawn.ledger.sqlite.bodies import Bodies
from tildawn.ledger.sqlite.connection import Columns, Database, Value, connect
from tildawn.ledger.sqlite.store import MARK_EVERY, SLOTS
from tildawn.ledger.twin import Batch, FactRow, PayloadRow, UseRow
from tildawn.units import Seq


class Source:
    """Reads over one connection."""

    def __init__(self, database: Database, layout: Layout) -> None:
        """Take a connection that nobody else uses meanwhile, of the house at a place."""
        self._database = database
        self._bodies = Bodies(database, Archive(layout.archive))

    def head(self) -> tuple[int, bytes, bytes]:
        """How many facts there are, the chain after them, and their root.

        Raises:
            HouseUnusable: the database cannot be read.
        """
        sql = "SELECT size, chain, frontier FROM head"
        [(size, chain, packed)] = self._rows(sql)
        return int(size), bytes(chain), Frontier.load(size, packed).root()

    def first(self) -> bytes:
        """The body of the first fact; empty where there is none.

        Raises:
            HouseUnusable: the database cannot be read.
        """
        found = self._rows("SELECT body FROM fact WHERE seq = 0")
        return self._bodies.whole(0, found[0][0]) if found else b""

    def chain_at(self, size: int) -> bytes:
        """The chain after ``size`` facts, which must be there.

        Raises:
            HouseUnusable: the database cannot be read.
        """
        begin, chain = size - size % MARK_EVERY, GENESIS
        if begin:
            sql = "SELECT chain FROM mark WHERE size = ?"
            [(chain,)] = self._rows(sql, (begin,))
        for leaf in self.leaves(begin, size):
            chain = link(chain, leaf)
        return chain

    def leaves(self, begin: int, size: int) -> list[bytes]:
        """The leaves of a stretch of facts.

        Raises:
            HouseUnusable: the database cannot be read.
        """
        sql = "SELECT leaf FROM fact WHERE seq >= ? AND seq < ? ORDER BY seq"
        return [leaf for (leaf,) in self._rows(sql, (begin, size))]

    def batch(self, first: int, chain: bytes, limit: int) -> Batch:
        """The next facts with all that belongs to them, at most ``limit``.

        Args:
            first: where to begin.
            chain: before that.
            limit: how many facts at most.

        Raises:
            HouseUnusable: the database cannot be read.
            ArchiveMissing: a body has left for the archive, which does not have it.
            LedgerBroken: what the archive has is not what was recorded.
        """
        sql = "SELECT seq, leaf, body FROM fact WHERE seq >= ? ORDER BY seq LIMIT ?"
        facts: list[FactRow] = []
        for seq, leaf, body in self._rows(sql, (first, limit)):
            chain = link(chain, leaf)
            facts.append((seq, leaf, self._bodies.whole(seq, body)))
        size = first + len(facts)
        payloads, erased = self._payloads(first, size)
        sql = "SELECT blob, seq FROM blob_use WHERE seq >= ? AND seq < ?"
        uses: list[UseRow] = [(blob, seq) for blob, seq in self._rows(sql, (first, size))]
        return Batch(
            first=Seq(first), size=Seq(size), chain=chain, parts=[(facts, payloads, uses)],
            erased=erased,
        )  # fmt: skip

    def erased(self) -> list[tuple[int, int]]:
        """Every payload that was erased, with the position of the fact that says so.

        Raises:
            HouseUnusable: the database cannot be read.
        """
        kinds = "SELECT count(*) FROM kind WHERE name LIKE '%Erased'"
        if self._rows(kinds) == [(0,)]:
            return []
        sql = "SELECT id, erased FROM payload WHERE erased IS NOT NULL ORDER BY id"
        return [(place, seq) for place, seq in self._rows(sql)]

    def uses(self) -> list[tuple[str, int]]:
        """Every blob with the position of a fact that keeps it.

        Raises:
            HouseUnusable: the database cannot be read.
        """
        return uses_in(self._database)

    def _rows(self, sql: str, params: Sequence[Value] = ()) -> list[Columns]:
        try:
            return self._database.execute(sql, params).fetchall()
        except apsw.Error as error:
            message = f"the database cannot be read: {error}"
            raise HouseUnusable(message, hint="tildawn verify") from error

    def _payloads(self, first: int, size: int) -> tuple[list[PayloadRow], list[tuple[int, int]]]:
        sql = "SELECT id, salt, text, blob, erased FROM payload WHERE id >= ? AND id < ?"
        rows: list[PayloadRow] = []
        erased: list[tuple[int, int]] = []
        for place, salt, text, blob, by in self._rows(sql, (first * SLOTS, size * SLOTS)):
            rows.append((place, salt, text, blob))
            if by is not None:
                erased.append((place, by))
        return rows, erased


@contextmanager
def reading(layout: Layout) -> Generator[Source]:
    """A source over a connection of its own, beside a writer.

    Raises:
        HouseUnusable: the database cannot be opened, or is held for itself by somebody.
        LedgerBroken: it is damaged.
    """
    database = connect(layout.database, write=False)
    try:
        yield Source(database, layout)
    finally:
        database.close()


def erase(database: Database, rows: list[tuple[int, int]], uses: list[tuple[str, int]]) -> None:
    """Take out payloads, each with the fact that says so, and uses of blobs, in one transaction.

    Raises:
        HouseUnusable: the database cannot be written.
    """
    if not rows and not uses:
        return
    try:
        # What is overwritten leaves zeros in its page, not its old bytes.
        database.execute("PRAGMA secure_delete=1").fetchall()
        with database:
            sql = "INSERT OR REPLACE INTO payload VALUES (?, NULL, NULL, NULL, ?)"
            database.executemany(sql, rows)
            database.executemany("DELETE FROM blob_use WHERE blob = ? AND seq = ?", uses)
        # What moved from page to page has left copies behind, which a database written anew lacks.
        database.execute("VACUUM").fetchall()
    except apsw.Error as error:
        message = f"the database cannot be written: {error}"
        raise HouseUnusable(message, hint="tildawn doctor") from error


def uses_in(database: Database) -> list[tuple[str, int]]:
    """Every blob with the position of a fact that keeps it.

    Raises:
        HouseUnusable: the database cannot be read.
    """
    try:
        return [(blob, seq) for blob, seq in database.execute("SELECT blob, seq FROM blob_use")]
    except apsw.Error as error:
        message = f"the database cannot be read: {error}"
        raise HouseUnusable(message, hint="tildawn verify") from error
