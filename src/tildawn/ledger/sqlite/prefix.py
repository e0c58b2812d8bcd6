"""The first facts of a database: how many are proven, and a new database that has just these.

What it is not: the choice of the source, nor the swap; `tildawn.ledger.restore` has those.
"""

from collections.abc import Sequence
from pathlib import Path

import apsw
import msgspec

from tildawn.errors import LedgerBroken, TildawnError
from tildawn.facts.fact import Registry
from tildawn.ledger.archive import Archive
from tildawn.ledger.blobs import Blobs
from tildawn.ledger.chain import GENESIS, Frontier, leaf_of, link
from tildawn.ledger.checkpoint import Checkpoint
from tildawn.ledger.durable import sync_file, sync_folder
from tildawn.ledger.entry import Entry
from tildawn.ledger.fold import Projection
from tildawn.ledger.note import Note, Signer
from tildawn.ledger.request import Request
from tildawn.ledger.sqlite.bodies import Bodies, body_to
from tildawn.ledger.sqlite.connection import Columns, Database, connect, opening_error
from tildawn.ledger.sqlite.copy import hashes_at
from tildawn.ledger.sqlite.migrate import migrate
from tildawn.ledger.sqlite.reader import Reader
from tildawn.ledger.sqlite.rebuild import rebuild
from tildawn.ledger.sqlite.store import MARK_EVERY, SLOTS, Store
from tildawn.ledger.sqlite.tables import shapes_of


_CHUNK = 8_192

_COPIES = (
    "INSERT INTO fact SELECT * FROM source.fact WHERE seq < ?1 AND length(body) > 0 ORDER BY seq",
    "INSERT INTO run_fact SELECT run, seq FROM source.run_fact WHERE seq < ?1",
    f"INSERT INTO payload SELECT id, salt, text, blob, erased FROM source.payload WHERE id < ?1 * {SLOTS}",  # noqa: S608 - a number of ours
    "INSERT INTO blob_use SELECT blob, seq FROM source.blob_use WHERE seq < ?1",
    "INSERT INTO mark SELECT size, chain, frontier FROM source.mark WHERE size <= ?1",
    "INSERT INTO kind SELECT name, v, first FROM source.kind WHERE first < ?1",
)
"""What a prefix has of each table; projections are folded, and checkpoints are of the old log."""


class _Said(msgspec.Struct):
    at: int


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How far a ledger is proven: up to a mark or its head; and what is wrong behind that.

    ``head`` and ``root`` are what it says of its own end, ``epoch`` of its pen.
    """

    size: int
    head: int
    root: str
    epoch: int
    wrong: str = ""


def proven_to(path: Path, *, at_least: int | None = None) -> End:
    """How many facts of a database are proven by its marks and its head; nothing is changed.

    Args:
        path: of a house, or of an unpacked snapshot.
        at_least: stop as soon as so many are proven; all when absent.

    Returns:
        The end of what is proven.

    Raises:
        HouseUnusable: it cannot be opened.
        LedgerBroken: it is no ledger at all.
    """
    database = connect(path, write=False)
    try:
        proof = _Proof(database)
    except (apsw.Error, ValueError) as error:
        database.close()
        message = f"{path} has no head that can be read: {error}"
        raise LedgerBroken(message) from error
    wrong = ""
    try:
        while proof.good < proof.head and (at_least is None or proof.good < at_least):
            proof.go_on()
    except (apsw.Error, LedgerBroken) as error:
        wrong = str(error)
    finally:
        database.close()
    return End(size=proof.good, head=proof.head, root=proof.root, epoch=proof.epoch, wrong=wrong)


class _Proof:
    """Hashes facts one after the other; ``good`` is where they last agreed with what is kept."""

    def __init__(self, database: Database) -> None:
        self._database = database
        rows = database.execute("SELECT size, chain, frontier, epoch FROM head").fetchall()
        if len(rows) != 1:
            message = "the ledger has no head"
            raise LedgerBroken(message)
        size, chain, packed, epoch = rows[0]
        self.head, self.epoch, self.good = int(size), int(epoch), 0
        self.root = Frontier.load(size, packed).root().hex()
        self._end = (chain, packed)
        self._left = body_to(database)
        self._chain, self._frontier = GENESIS, Frontier()

    def go_on(self) -> None:
        """Hash some more, in a transaction that is short: nobody's log is held back."""
        begin, database = self._frontier.size, self._database
        stop = min(begin + _CHUNK, self.head)
        sql = "SELECT size, chain, frontier FROM mark WHERE size > ? AND size <= ?"
        kept = {row[0]: row[1:] for row in database.execute(sql, (begin, stop))}
        kept[self.head] = self._end
        sql = "SELECT seq, leaf, body FROM fact WHERE seq >= ? AND seq < ? ORDER BY seq"
        for row in database.execute(sql, (begin, stop)):
            self._bind(row, kept)
        if self._frontier.size < stop:
            message = f"fact {self._frontier.size} is missing"
            raise LedgerBroken(message, seq=self._frontier.size)

    def _bind(self, row: Columns, kept: dict[int, Columns]) -> None:
        seq, leaf, body = row
        frontier = self._frontier
        # A body that left was checked before it went, and is again when it is brought back.
        gone = not body and seq < self._left
        if seq != frontier.size or (not gone and leaf_of(body) != leaf):
            message = f"fact {frontier.size} is missing, or is not what was recorded"
            raise LedgerBroken(message, seq=frontier.size)
        self._chain = link(self._chain, leaf)
        frontier.add(leaf)
        if frontier.size % MARK_EVERY and frontier.size != self.head:
            return
        if kept.get(frontier.size) != (self._chain, frontier.dump()):
            message = f"the hashes break between facts {self.good} and {seq}"
            raise LedgerBroken(message, seq=self.good)
        self.good = frontier.size


def size_at(path: Path, at: int, *, proven: int, archive: Archive) -> int:
    """How many facts there are up to the last one that was stamped at an instant or before.

    Args:
        path: of a database.
        at: microseconds since 1970.
        proven: look only at so many facts from the first on.
        archive: has the bodies that left.

    Returns:
        The number of facts; 0 where every one is later.

    Raises:
        apsw.Error: it cannot be read.
    """
    database = connect(path, write=False)
    try:
        whole = Bodies(database, archive).whole
        decode = msgspec.json.Decoder(_Said).decode
        sql = "SELECT seq, body FROM fact WHERE seq < ? ORDER BY seq DESC"
        for seq, body in database.execute(sql, (proven,)):
            if decode(body or whole(seq, body)).at <= at:
                return int(seq) + 1
        return 0
    finally:
        database.close()


def chain_at(path: Path, size: int) -> str:
    """The chain of a database after so many facts, in hexadecimal.

    Raises:
        LedgerBroken: it has not that many, or its marks are damaged.
    """
    database = connect(path, write=False)
    try:
        return hashes_at(database, size)[0].hex()
    except (apsw.Error, ValueError) as error:
        raise LedgerBroken(str(error)) from error
    finally:
        database.close()


class Prefix:
    """A new database with the first facts of another; nothing is synced before `seal`."""

    def __init__(
        self,
        path: Path,
        projections: Sequence[Projection],
        registry: Registry,
        blobs: Blobs,
        archive: Archive,
    ) -> None:
        """Make it; there is none at that path yet.

        Raises:
            HouseUnusable: the disk refuses.
        """
        self.path = path
        self._projections = projections
        self._registry = registry
        self._blobs = blobs
        self._archive = archive
        self._database = connect(path, write=True)

    def take(self, source: Path, size: int) -> None:
        """Copy the first facts of a database, and fold their tables.

        Args:
            source: is not changed.
            size: how many facts, proven.

        Raises:
            LedgerBroken: the source cannot be read, or its facts contradict a fold.
            ArchiveMissing: a body has left for an archive that is not there.
            HouseTooNew: a fact is newer than this version.
        """
        database = self._database
        address = f"{source.absolute().as_uri()}?mode=ro"
        try:
            migrate(database)
            # A journal would write everything twice: what breaks off here is thrown away.
            for pragma in ("journal_mode=off", "synchronous=0"):
                database.execute(f"PRAGMA {pragma}").fetchall()
            database.execute("ATTACH ? AS source", (address,)).fetchall()
            with database:
                _copy(database, size, self._archive)
            database.execute("DETACH source").fetchall()
            rebuild(database, self._projections, self._registry, archive=self._archive)
        except apsw.Error as error:
            raise opening_error(source, error) from error

    def reader(self) -> Reader:
        """Reads what is in it now."""
        return Reader(
            self._database, registry=self._registry, shapes=shapes_of(self._projections),
            blobs=self._blobs, archive=self._archive,
        )  # fmt: skip

    def blobs(self) -> list[str]:
        """The names of the blobs that its facts keep.

        Raises:
            apsw.Error: the disk refuses.
        """
        sql = "SELECT DISTINCT blob FROM blob_use ORDER BY blob"
        return [name for (name,) in self._database.execute(sql)]

    def erased_since(self, size: int) -> list[int]:
        """Payloads that a fact behind the prefix has erased, in order.

        Raises:
            apsw.Error: the disk refuses.
        """
        sql = "SELECT id FROM payload WHERE erased >= ? ORDER BY id"
        return [int(one) for (one,) in self._database.execute(sql, (size,))]

    def answer_for(self, ids: Sequence[int], seq: int) -> None:
        """Let another fact say that payloads were erased.

        Raises:
            apsw.Error: the disk refuses.
        """
        sql = "UPDATE payload SET erased = ? WHERE id = ?"
        self._database.executemany(sql, [(seq, one) for one in ids]).fetchall()

    def begin_anew(
        self, entries: Sequence[Entry], *, epoch: int, signer: Signer | None
    ) -> Note | None:
        """Append what a restore says, and sign it as the new log.

        Args:
            entries: `HouseRestored` first.
            epoch: that the pen goes on from.
            signer: under the new name; None where the house has no key.

        Returns:
            The signed checkpoint of the new log, None without a key.

        Raises:
            TildawnError: a fold or a table refuses it.
        """
        database = self._database
        database.execute("UPDATE head SET epoch = ?", (epoch,)).fetchall()
        store = Store(database, self._projections, blobs=self._blobs)
        request = Request(entries)
        store.commit([request])
        if isinstance(request.outcome, TildawnError):
            raise request.outcome
        tip = store.tip()
        store.settle(tip)
        if signer is None:
            return None
        root = Frontier.load(tip.size, tip.frontier).root()
        note = Checkpoint(signer.verifier.name, tip.size, root).sign([signer])
        store.commit([Request((), seal=(tip.size, note.dump()))])
        return note

    def seal(self) -> None:
        """Close it, durable and whole in one file.

        Raises:
            OSError: the disk refuses.
        """
        self._database.execute("PRAGMA journal_mode=wal").fetchall()
        self._database.close()
        sync_file(self.path)
        sync_folder(self.path.parent)

    def close(self) -> None:
        """Close it as it is; a second time does nothing.

        Raises:
            Nothing.
        """
        self._database.close()


class Left:
    """A database that is left: read as far as it can be, and told as unreadable otherwise."""

    def __init__(
        self,
        path: Path,
        projections: Sequence[Projection],
        registry: Registry,
        blobs: Blobs,
        archive: Archive,
    ) -> None:
        """Open it for reading, if that can be."""
        self.reader: Reader | None = None
        self.name = ""
        self._database: Database | None = None
        try:
            self._database = connect(path, write=False)
            reader = Reader(
                self._database, registry=registry, shapes=shapes_of(projections), blobs=blobs,
                archive=archive,
            )  # fmt: skip
            reader.head()
            self.reader = reader
        except (TildawnError, apsw.Error, ValueError):
            return

    def first(self) -> bytes:
        """The leaf of the first fact; empty where it cannot be read, or is not that of its body."""
        if self._database is None:
            return b""
        try:
            found = self._database.execute("SELECT leaf, body FROM fact WHERE seq = 0").fetchall()
        except (apsw.Error, ValueError):
            return b""
        whole = [leaf for leaf, body in found if not body or leaf_of(body) == leaf]
        return bytes(whole[0]) if whole else b""

    def whole_from(self, size: int) -> bool:
        """Whether every fact from a position on is there and hashes to its leaf."""
        if self.reader is None or self._database is None:
            return False
        at = size
        try:
            left = body_to(self._database)
            sql = "SELECT seq, leaf, body FROM fact WHERE seq >= ? ORDER BY seq"
            for seq, leaf, body in self._database.execute(sql, (size,)):
                gone = not body and seq < left
                if seq != at or (not gone and leaf_of(body) != leaf):
                    return False
                at += 1
            return at >= self.reader.head().size
        except (apsw.Error, ValueError):
            return False

    def close(self) -> None:
        """Close it.

        Raises:
            Nothing.
        """
        if self._database is not None:
            self._database.close()


def _copy(database: Database, size: int, archive: Archive) -> None:
    # Bodies that left come back from the archive, which is asked for those that hash to the leaf.
    left = "SELECT seq, leaf FROM source.fact WHERE seq < ? AND length(body) = 0 ORDER BY seq"
    rows = ((seq, leaf, archive.body(seq, leaf)) for seq, leaf in database.execute(left, (size,)))
    database.executemany("INSERT INTO fact VALUES (?, ?, ?)", rows).fetchall()
    for sql in _COPIES:
        database.execute(sql, (size,)).fetchall()
    [(there,)] = database.execute("SELECT count(*) FROM fact").fetchall()
    if there != size:
        message = f"of {size} facts the source has {there}"
        raise LedgerBroken(message)
    chain, packed = hashes_at(database, size)
    for table in ("head", "verified"):
        sql = f"UPDATE {table} SET size = ?, chain = ?, frontier = ?"  # noqa: S608 - names of ours
        database.execute(sql, (size, chain, packed)).fetchall()
