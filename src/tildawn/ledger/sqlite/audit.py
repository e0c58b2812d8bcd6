"""The check of a whole ledger, fact by fact, over a reading connection.

What it is not: quick or trusting; opening a house checks only its tail.

A long check must not hold back the write-ahead log: facts are read in many short
transactions, which is sound because they never change; the last one compares head and tables.
"""

from collections.abc import Container, Sequence

import apsw

from tildawn.errors import LedgerBroken, TildawnError
from tildawn.facts.fact import Registry
from tildawn.ledger.archive import Archive
from tildawn.ledger.chain import EMPTY_ROOT, GENESIS, Frontier, leaf_of, link
from tildawn.ledger.checkpoint import origin_of
from tildawn.ledger.fold import Projection
from tildawn.ledger.form import Form
from tildawn.ledger.layout import Layout
from tildawn.ledger.sqlite.compare import compare_schema, compare_tables
from tildawn.ledger.sqlite.connection import Columns, Database, connect, lacks_space, opening_error
from tildawn.ledger.sqlite.content import Content
from tildawn.ledger.sqlite.migrate import schema_of
from tildawn.ledger.sqlite.rebuild import changed
from tildawn.ledger.sqlite.seal_audit import SealAudit
from tildawn.ledger.sqlite.segment import Segments
from tildawn.ledger.sqlite.store import MARK_EVERY
from tildawn.ledger.sqlite.tree import Tree
from tildawn.ledger.verdict import State, Verdict
from tildawn.ledger.verified import Verified


CHUNK_FACTS = 8_192
LAST_FACTS = 32_768
"""Facts left for the last transaction at most, so that it can stay short."""


class Audit:
    """One check; `run` it once."""

    def __init__(
        self,
        layout: Layout,
        registry: Registry,
        projections: Sequence[Projection],
        *,
        missing: Container[str] = (),
    ) -> None:
        """Take the house; nothing is opened yet.

        ``missing`` are blobs that are known to be gone, and held against nobody.
        """
        self._missing = missing
        self._layout = layout
        self._registry = registry
        self._projections = projections
        self._database: Database | None = None
        self._content: Content | None = None
        self._segments = Segments(Archive(layout.archive), registry)
        self._chain = GENESIS
        self._frontier = Frontier()
        self._marks: dict[int, tuple[bytes, bytes]] = {}
        self._seals = SealAudit(layout, registry, judged=False)
        self._form = Form()

    def run(
        self, seals: SealAudit | None = None, *, hashes_only: bool, since: Verified | None = None
    ) -> Verdict:
        """Check everything.

        Args:
            seals: what was signed, and what is expected; not judged when absent.
            hashes_only: leave out what the bodies say, but for their form.
            since: check only what follows; with ``hashes_only``.

        Raises:
            LedgerBroken: says where and what.
            HouseTooNew: the house holds what this version does not know.
            HouseUnusable: it cannot be read.
        """
        try:
            database = self._database = connect(self._layout.database, write=False)
            self._seals = seals = seals or self._seals
            self._check_file(database, whole=since is None)
            if since is not None:
                self._begin(database, since)
            elif 0 in seals.due:
                seals.at(0, EMPTY_ROOT)
            if not hashes_only:
                self._content = Content(
                    self._layout, self._registry, self._projections, missing=self._missing
                )
            while True:
                with database:
                    if self._head(database)[0] - self._frontier.size <= LAST_FACTS:
                        verdict = self._last(database)
                        break
                    self._chunk(database, CHUNK_FACTS)
            return verdict if hashes_only else self._segments.judge(database, verdict)
        except (apsw.CantOpenError, apsw.ReadOnlyError) as error:
            # A disk that may not be written to proves nothing about the ledger on it.
            raise opening_error(self._layout.database, error) from error
        except (apsw.Error, UnicodeDecodeError) as error:
            # Of text whose bytes are none, apsw says nothing of its own.
            raise self._unreadable(error) from error

    def _unreadable(self, error: apsw.Error | UnicodeDecodeError) -> TildawnError:
        if isinstance(error, apsw.Error) and lacks_space(error):
            # No space for what reading takes is no word about what would be read.
            return opening_error(self._layout.database, error)
        message = f"SQLite cannot read {self._layout.database}: {error}"
        return LedgerBroken(message, seq=self._frontier.size)

    def verdict(
        self,
        state: State,
        what: str = "",
        *,
        seq: int | None = None,
        differences: Sequence[str] = (),
    ) -> Verdict:
        """The verdict over what was read until now.

        Raises:
            Nothing.
        """
        ring = self._seals.ring
        return Verdict(
            state=state, what=what, seq=seq, size=self._frontier.size, chain=self._chain.hex(),
            root=self._frontier.root().hex(), differences=tuple(differences),
            sealed=self._seals.sealed, origin=origin_of(ring.name) if ring.name else "",
            verified=Verified.of(self._frontier.size, self._chain, self._frontier.dump(), ring)
            if state is State.PROVEN else None,
        )  # fmt: skip

    def close(self) -> None:
        """Close the connection.

        Raises:
            Nothing.
        """
        if self._database is not None:
            self._database.close()
            self._database = None

    def _begin(self, database: Database, since: Verified) -> None:
        """Go on where an earlier check came to, if the ledger still has that state."""
        with database:
            tree = Tree(database)
            try:
                self._frontier = Frontier.load(since.size, bytes.fromhex(since.frontier))
                same = since.size <= tree.size and tree.root(since.size) == self._frontier.root()
            except ValueError:
                same = False
            if not same:
                self._frontier = Frontier()
                message = f"the first {since.size} facts are not those that were proven before"
                raise LedgerBroken(message, hint="tildawn verify", seq=0)
            self._chain = bytes.fromhex(since.chain)
            self._seals.ring = since.keyring()
            self._seals.read_newest(database, since.size)
            for size in sorted(size for size in self._seals.due if size <= since.size):
                self._seals.at(size, tree.root(size))

    def _check_file(self, database: Database, *, whole: bool) -> None:
        found = database.execute("PRAGMA integrity_check(5)").fetchall() if whole else [("ok",)]
        if found != [("ok",)]:
            message = "SQLite finds the file damaged: " + "; ".join(str(row[0]) for row in found)
            raise LedgerBroken(message)
        if schema_of(database) == 0:
            message = "the file holds no ledger"
            raise LedgerBroken(message)

    def _head(self, database: Database) -> Columns:
        rows = database.execute("SELECT size, chain, frontier, epoch FROM head").fetchall()
        if len(rows) != 1:
            message = "the ledger has no head"
            raise LedgerBroken(message)
        return rows[0]

    def _chunk(self, database: Database, limit: int) -> int:
        """Check up to ``limit`` more facts; how many there were."""
        start = self._frontier.size
        self._read_marks(database, start, start + limit)
        self._segments.begin(database)
        self._seals.read(database, start, start + limit)
        sql = "SELECT seq, leaf, body FROM fact WHERE seq >= ? ORDER BY seq LIMIT ?"
        facts = database.execute(sql, (start, limit)).fetchall()
        for seq, leaf, body in facts:
            self._bind(seq, leaf, body)
            if self._content is None and body:
                self._form.check(seq, body)
        if self._content is not None:
            whole = self._segments.whole(facts)
            # Without all bodies no table can be made again; chain and tree go on.
            if whole is not None and not self._segments.incomplete:
                self._content.take(database, whole)
        return len(facts)

    def _bind(self, seq: int, leaf: bytes, body: bytes) -> None:
        frontier = self._frontier
        if seq != frontier.size:
            message = f"fact {frontier.size} is missing"
            raise LedgerBroken(message, seq=frontier.size)
        if not body:
            self._segments.may_have_left(seq)
        elif leaf_of(body) != leaf:
            message = f"fact {seq} is not what was recorded: its body does not hash to its leaf"
            raise LedgerBroken(message, seq=seq)
        self._chain = link(self._chain, leaf)
        frontier.add(leaf)
        self._segments.border(frontier.size, self._chain, frontier)
        self._seals.learn(seq, body)
        if frontier.size in self._seals.due:
            self._seals.at(frontier.size, frontier.root())
        if frontier.size % MARK_EVERY == 0:
            expected = self._marks.pop(frontier.size, None)
            if expected != (self._chain, frontier.dump()):
                message = f"the hashes break between facts {frontier.size - MARK_EVERY} and {seq}"
                raise LedgerBroken(message, seq=frontier.size - MARK_EVERY)

    def _read_marks(self, database: Database, start: int, stop: int) -> None:
        sql = "SELECT size, chain, frontier FROM mark WHERE size > ? AND size <= ?"
        for size, chain, frontier in database.execute(sql, (start, stop)):
            self._marks[size] = (chain, frontier)

    def _last(self, database: Database) -> Verdict:
        """The rest of the facts, the head and the tables, all as of one moment."""
        while self._chunk(database, CHUNK_FACTS):
            pass
        self._check_head(database)
        self._check_marks(database)
        missing = self._seals.finish(self._frontier.size)
        content = self._content
        if content is None or self._segments.incomplete:
            return self._unless(missing)  # of chain and tree; what is archived is said later
        content.finish(database, epoch=self._head(database)[3])
        if content.unknown:
            message = f"there are facts this Tildawn does not know: {', '.join(content.unknown)}"
            return self.verdict(State.NOT_PROVABLE, message)
        stale = [projection.name for projection in changed(database, self._projections)]
        if stale:
            message = f"projections were made by another version: {', '.join(stale)}"
            return self.verdict(State.NOT_PROVABLE, message)
        compare_schema(database, content.memory.shapes.values())
        differences = compare_tables(database, content.memory)
        if differences:
            message = "projections are not what the facts make of them"
            return self.verdict(State.BROKEN, message, differences=differences)
        return self._unless(missing)

    def _unless(self, missing: str) -> Verdict:
        """Proven, unless a seal is missing: what nobody signed may have been made anew."""
        return self.verdict(State.NOT_PROVABLE if missing else State.PROVEN, missing)

    def _check_head(self, database: Database) -> None:
        size, chain, frontier, _ = self._head(database)
        seq = self._frontier.size
        if size != seq:
            message = f"the head says {size} facts, and there are {seq}"
            raise LedgerBroken(message, seq=min(size, seq))
        if chain != self._chain or frontier != self._frontier.dump():
            begin = seq - seq % MARK_EVERY
            message = f"the hashes break between fact {begin} and the head"
            raise LedgerBroken(message, seq=begin)

    def _check_marks(self, database: Database) -> None:
        [(count,)] = database.execute("SELECT count(*) FROM mark").fetchall()
        if count != self._frontier.size // MARK_EVERY:
            message = f"there are {count} marks for {self._frontier.size} facts"
            raise LedgerBroken(message)
        # What opening trusts must be a state that the ledger really had.
        sql = "SELECT size, chain, frontier FROM verified"
        for size, chain, packed in database.execute(sql).fetchall():
            if (chain, packed) != self._hashes_at(database, size):
                message = "the settled point is no state of this ledger"
                raise LedgerBroken(message, seq=size)

    def _hashes_at(self, database: Database, size: int) -> tuple[bytes, bytes]:
        """Chain and frontier after ``size`` facts, from the mark before."""
        begin = size - size % MARK_EVERY
        chain, frontier = GENESIS, Frontier()
        if begin:
            sql = "SELECT chain, frontier FROM mark WHERE size = ?"
            [(chain, packed)] = database.execute(sql, (begin,)).fetchall()
            frontier = Frontier.load(begin, packed)
        sql = "SELECT leaf FROM fact WHERE seq >= ? AND seq < ? ORDER BY seq"
        for (leaf,) in database.execute(sql, (begin, size)):
            chain = link(chain, leaf)
            frontier.add(leaf)
        return chain, frontier.dump()
