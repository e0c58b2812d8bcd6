"""The second set of books: the same facts folded once more, into a file of its own.

What it is not: a copy of the tables, nor trusted.  It can be lost at any time and is made again;
nothing is replaced with what it says before a fresh one has said the same.

It is filled in slices, each over a short read transaction of the house, so that neither its
writer nor its event loop waits.  What a slice compares is compared at one moment: the shadow is
brought to the end of the ledger inside the very transaction that the rows are read in.
"""

import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import apsw
import msgspec
from msgspec.structs import astuple

from tildawn.errors import FoldFailed, HouseTooNew, LedgerBroken, StoreFull, TildawnError
from tildawn.facts.fact import RawFact, Registry
from tildawn.ledger.archive import Archive
from tildawn.ledger.chain import GENESIS, leaf_of, link
from tildawn.ledger.fold import Projection, Row
from tildawn.ledger.sqlite.bodies import Bodies
from tildawn.ledger.sqlite.connection import Columns, Database
from tildawn.ledger.sqlite.difference import Difference, Differences, row_difference
from tildawn.ledger.sqlite.projector import Conflict, Projector
from tildawn.ledger.sqlite.rebuild import wanted
from tildawn.ledger.sqlite.tables import Key, Shape
from tildawn.units import Micros, Seq


FOLD_SLICE = 64
"""Facts of one slice: about a millisecond, which is what others may have to wait. Source: measured."""

COMPARE_SLICE = 256
"""Rows of one slice, for the same reason."""

QUEUE_MOST = 131_072
"""Touched rows that are remembered; beyond it all tables are walked through instead."""

COMMIT_FACTS = 8_192
"""Facts between two commits while a shadow is made; until its end it counts for nothing."""

_POINT = "CREATE TABLE point (one INTEGER PRIMARY KEY, size INTEGER, chain BLOB, made TEXT, at INTEGER) STRICT"


class Shadow:
    """The tables once more, as of a point of the ledger up to which they were found equal.

    A crash leaves it at its last point, or, while it is made, a file that nobody reads.
    """

    def __init__(
        self, database: Database, projections: Sequence[Projection], registry: Registry,
        archive: Archive,
    ) -> None:  # fmt: skip
        """Take over an open file with its tables; use `open_shadow` or `make_shadow`."""
        self._archive = archive
        self.found = Differences()
        self.size = Seq(0)
        self._point = Seq(0)
        self._chain = GENESIS
        self._database = database
        self._registry = registry
        self._projector = Projector(database, projections)
        self._projector.careful = True
        self._shapes = tuple(self._projector.shapes.values())
        self._made = _made(projections)
        self._queue: dict[Key, None] = {}
        self._walk: Iterator[Shape] | None = None
        self._at: tuple[Shape, Columns | None] | None = None
        self._making = False
        #: When every row was compared the last time, in microseconds since 1970.
        self.at = Micros(0)

    @property
    def point(self) -> Seq:
        """Up to where the tables of the house were found equal."""
        return self._point

    def load(self, live: Database) -> bool:
        """Read how far it is; whether it is a prefix of this ledger, folded as today.

        Raises:
            apsw.Error: one of the files cannot be read.
        """
        rows = self._database.execute("SELECT size, chain, made, at FROM point").fetchall()
        if len(rows) != 1 or rows[0][2] != self._made:
            return False
        self.size = self._point = Seq(int(rows[0][0]))
        self._chain = bytes(rows[0][1])
        self.at = Micros(int(rows[0][3]))
        with live:
            return chain_at(live, self.size) == self._chain

    def make(self) -> None:
        """Make the empty tables; every row of the house will be compared.

        Raises:
            apsw.Error: the disk refuses.
        """
        self._database.execute(_POINT).fetchall()
        for shape in self._shapes:
            for statement in shape.create:
                self._database.execute(statement).fetchall()
        self._making = True
        self.walk()

    def walk(self) -> None:
        """Compare every row from now on, not only those that are touched."""
        self._queue.clear()
        self.found = Differences()
        self._walk = iter(self._shapes)
        self._at = None

    def step(self, live: Database) -> bool:
        """Do one slice: fold some facts, or at the end of the ledger compare some rows.

        Args:
            live: a reading connection of the house, outside a transaction.

        Returns:
            Whether there is more to do; `found` has what differs when there is not.

        Raises:
            LedgerBroken: the facts contradict their hashes or each other.
            FoldFailed: a fold raised.
            HouseTooNew: there is a fact that this version does not know.
            StoreFull: there is no room for the shadow.
        """
        with _translated():
            return self._step(live)

    def _step(self, live: Database) -> bool:
        if not self._database.in_transaction:
            self._database.execute("BEGIN IMMEDIATE").fetchall()
        with live:
            if not self._reach(live, FOLD_SLICE):
                if self._making and self.size % COMMIT_FACTS == 0:
                    self._database.execute("COMMIT").fetchall()
                return True
            # Both in one slice: facts that keep coming in must not keep the walk from going on.
            self._compare_some(live)
            if self._walk is not None:
                self._walk_some(live)
            if self._queue or self._walk is not None:
                return True
        self._projector.forget()
        return False

    def reach(self, live: Database) -> None:
        """Fold up to the end of the ledger; called inside a transaction, in which it stays so.

        Raises:
            TildawnError: as `step`.
        """
        if not self._database.in_transaction:
            self._database.execute("BEGIN IMMEDIATE").fetchall()
        while not self._reach(live, FOLD_SLICE):
            pass

    def keep(self) -> None:
        """Everything was equal: this is the point from now on.

        A crash before the commit leaves the point before, and the tables as of there.

        Raises:
            LedgerBroken: the shadow cannot be written.
            StoreFull: there is no room for it.
        """
        with _translated():
            self._keep()

    def _keep(self) -> None:
        if not self._database.in_transaction:
            self._database.execute("BEGIN IMMEDIATE").fetchall()
        row = (self.size, self._chain, self._made, self.at)
        sql = "INSERT OR REPLACE INTO point VALUES (0, ?, ?, ?, ?)"
        self._database.execute(sql, row).fetchall()
        self._database.execute("COMMIT").fetchall()
        self._point = self.size

    def rows(self, name: str) -> tuple[Shape, Iterable[Columns]]:
        """The rows that a table should have.

        Raises:
            StopIteration: no projection has such a table.
        """
        shape = next(one for one in self._shapes if one.name == name)
        listed = ", ".join(shape.columns)
        return shape, self._database.execute(f"SELECT {listed} FROM {shape.name}")  # noqa: S608 - names of a Shape are checked

    def close(self) -> None:
        """Close the file; what was not kept is forgotten.

        Raises:
            Nothing.
        """
        try:
            # Without a journal there is no way back; such a file is removed or was kept whole.
            if self._database.in_transaction and not self._making:
                self._database.execute("ROLLBACK").fetchall()
            self._database.close()
        except apsw.Error:
            return  # what is broken in it is seen when it is opened, and it is made again

    # -- folding ---------------------------------------------------------------------------

    def _reach(self, live: Database, most: int) -> bool:
        """Fold at most so many facts more; whether that is all there are."""
        sql = "SELECT seq, leaf, body FROM fact WHERE seq >= ? ORDER BY seq LIMIT ?"
        facts = live.execute(sql, (self.size, most)).fetchall()
        whole = Bodies(live, self._archive).whole
        for seq, leaf, body in facts:
            self._fold(seq, leaf, whole(seq, body))
        if facts:
            self._write()
        if len(facts) == most:
            return False
        [(size, chain)] = live.execute("SELECT size, chain FROM head").fetchall()
        if (size, chain) != (self.size, self._chain):
            message = f"the facts end at {self.size}, but the head of the ledger says otherwise"
            raise LedgerBroken(message, hint="tildawn verify", seq=self.size)
        return True

    def _fold(self, seq: int, leaf: bytes, body: bytes) -> None:
        if seq != self.size or leaf_of(body) != leaf:
            message = f"fact {self.size} is missing or not what was recorded"
            raise LedgerBroken(message, hint="tildawn verify", seq=self.size)
        fact = self._registry.decode(body)
        if isinstance(fact, RawFact):
            message = f"fact {seq} is a {fact.kind}, which this Tildawn does not know"
            raise HouseTooNew(message, hint="pip install --upgrade tildawn")
        try:
            refusal = self._projector.fold(Seq(seq), fact)
        except (TildawnError, apsw.Error):
            raise
        except Exception as error:
            message = f"a fold fails over fact {seq}: {type(error).__name__}: {error}"
            raise FoldFailed(message) from error
        if refusal is not None:
            message = f"fact {seq} adds a row that is there: {refusal.row}"
            raise LedgerBroken(message, hint="tildawn verify", seq=seq)
        self._chain = link(self._chain, leaf)
        self.size = Seq(self.size + 1)

    def _write(self) -> None:
        touched = self._projector.touched()
        try:
            self._projector.flush()
        except (apsw.ConstraintError, Conflict) as error:
            message = f"a table refuses what the facts up to {self.size} say: {error}"
            raise LedgerBroken(message, hint="tildawn verify", seq=self.size) from error
        self._projector.keep()
        if self._walk is not None and self._at is None:
            return  # the walk has not begun, and will come by every row
        self._queue.update(dict.fromkeys(touched))
        if len(self._queue) > QUEUE_MOST:
            self.walk()

    # -- comparing -------------------------------------------------------------------------

    def _compare_some(self, live: Database) -> None:
        for name in list(itertools.islice(self._queue, COMPARE_SLICE)):
            del self._queue[name]
            shape = self._projector.shapes[cast("type[Row]", name[0])]
            key = name[1:]
            should = self._projector.get(shape.row, *cast("tuple[int | str, ...]", key))
            try:
                found = live.execute(shape.select, cast("Columns", key)).fetchall()
            except apsw.SQLError as error:
                self.found.note(Difference(table=shape.name, key=(), text=str(error)))
                continue
            is_ = found[0] if found else None
            self._judge(shape, key, is_, None if should is None else astuple(should))

    def _walk_some(self, live: Database) -> None:
        assert self._walk is not None
        if self._at is None:
            self._next_table(live)
            return
        shape, after = self._at
        mine, last = self._slice(self._database, shape, after, None, COMPARE_SLICE)
        theirs, _ = self._slice(live, shape, after, last, -1)
        for key in {**mine, **theirs}:
            self._judge(shape, key, theirs.get(key), mine.get(key))
        if last is None:
            self._next_table(live)
        else:
            self._at = (shape, last)

    def _next_table(self, live: Database) -> None:
        assert self._walk is not None
        for shape in self._walk:
            if not self._schema_differs(live, shape):
                self._at = (shape, None)
                return
        self._walk, self._at = None, None

    def _slice(
        self, database: Database, shape: Shape, after: Columns | None, upto: Columns | None,
        limit: int,
    ) -> tuple[dict[Columns, Columns], Columns | None]:  # fmt: skip
        """Rows by key between two keys, and the last key where there may be more."""
        key = ", ".join(shape.key)
        marks = ", ".join("?" * len(shape.key))
        bounds = [(f"({key}) > ({marks})", after), (f"({key}) <= ({marks})", upto)]
        given = [(text, values) for text, values in bounds if values is not None]
        where = f" WHERE {' AND '.join(text for text, _ in given)}" if given else ""
        sql = (
            f"SELECT {', '.join(shape.columns)} FROM {shape.name}{where}"  # noqa: S608 - names of a Shape are checked
            f" ORDER BY {key} LIMIT {limit}"
        )
        places = [shape.columns.index(name) for name in shape.key]
        params = tuple(value for _, values in given for value in values)
        rows = database.execute(sql, params).fetchall()
        found = {tuple(row[place] for place in places): row for row in rows}
        return found, next(reversed(found)) if len(rows) == limit else None

    def _judge(self, shape: Shape, key: Columns, is_: Any, should: Any) -> None:
        if is_ == should:
            self.found.settle(shape.name, key)
        else:
            self.found.note(row_difference(shape, key, is_, should))

    def _schema_differs(self, live: Database, shape: Shape) -> bool:
        """Whether the table is made otherwise; its rows are not looked at then."""
        sql = "SELECT name, sql FROM sqlite_schema WHERE tbl_name = ? AND sql IS NOT NULL"
        is_ = dict(live.execute(sql, (shape.name,)).fetchall())
        should = dict(self._database.execute(sql, (shape.name,)).fetchall())
        for name in sorted({*is_, *should}):
            if is_.get(name) != should.get(name):
                text = f"{name} of the schema is not what this version makes"
                self.found.note(Difference(table=shape.name, key=(name,), text=text))
        return is_.get(shape.name) != should.get(shape.name)


@contextmanager
def _translated() -> Generator[None]:
    """Say what an error of either file means; which one it was, a fresh shadow tells."""
    try:
        yield
    except apsw.FullError as error:
        message = "there is no room for the second set of books"
        raise StoreFull(message, hint="free some space; the next turn tries again") from error
    except apsw.Error as error:
        message = f"the two sets of books cannot be compared: {error}"
        raise LedgerBroken(message, hint="tildawn verify") from error


def chain_at(live: Database, size: int) -> bytes | None:
    """The chain of a ledger after so many facts, from the mark before; None when it is shorter.

    Raises:
        apsw.Error: it cannot be read.
    """
    sql = "SELECT size, chain FROM mark WHERE size <= ? ORDER BY size DESC LIMIT 1"
    [(begin, chain)] = live.execute(sql, (size,)).fetchall() or [(0, GENESIS)]
    sql = "SELECT leaf FROM fact WHERE seq >= ? AND seq < ? ORDER BY seq"
    leaves = live.execute(sql, (begin, size)).fetchall()
    if begin + len(leaves) != size:
        return None
    for (leaf,) in leaves:
        chain = link(chain, leaf)
    return bytes(chain)


def open_shadow(
    path: Path, projections: Sequence[Projection], registry: Registry, *, archive: Archive,
    live: Database,
) -> Shadow | None:  # fmt: skip
    """The shadow that is there; removed, and None, when it is missing, damaged or of another.

    Raises:
        OSError: it cannot be removed.
    """
    if not path.exists():
        return None
    shadow: Shadow | None = None
    try:
        shadow = Shadow(_connect(path), projections, registry, archive)
        settle(shadow._database)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  its own module
        if shadow.load(live):
            return shadow
    except apsw.Error:
        pass  # it can be lost at any time, and a damaged one is lost
    if shadow is not None:
        shadow.close()
    remove_shadow(path)
    return None


def make_shadow(
    path: Path | None, projections: Sequence[Projection], registry: Registry, *, archive: Archive
) -> Shadow:
    """A new shadow before the first fact, beside the one that is there.

    Args:
        path: where it is made; None for one that goes with its connection.
        projections: the folds.
        registry: decodes facts.
        archive: has the bodies that left the database.

    Raises:
        LedgerBroken: it cannot be made.
        StoreFull: there is no room for it.
        OSError: the one before cannot be removed.
    """
    if path is not None:
        remove_shadow(path)
    with _translated():
        database = _connect(path)
        for pragma in ("journal_mode=off", "synchronous=0"):
            database.execute(f"PRAGMA {pragma}").fetchall()
        shadow = Shadow(database, projections, registry, archive)
        shadow.make()
    return shadow


def remove_shadow(path: Path) -> None:
    """Remove a shadow with its log; nothing is lost but time.

    Raises:
        OSError: it cannot be removed.
    """
    for suffix in ("-wal", "-journal", "-shm", ""):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def settle(database: Database) -> None:
    """From now on a kill or a power cut leaves the last point or the one before.

    Raises:
        apsw.Error: the disk refuses.
    """
    for pragma in ("journal_mode=wal", "synchronous=2"):
        database.execute(f"PRAGMA {pragma}").fetchall()


def _connect(path: Path | None) -> Database:
    # An empty name is a file of SQLite's own that goes with its connection.
    made = apsw.Connection("" if path is None else str(path), statementcachesize=256)
    database = cast("Database", made)
    # Nobody else reads it, so its log needs no shared memory.
    for pragma in ("page_size=4096", "locking_mode=exclusive", "trusted_schema=0"):
        database.execute(f"PRAGMA {pragma}").fetchall()
    return database


def _made(projections: Sequence[Projection]) -> str:
    """How the tables are made; another text means that the shadow is of no use."""
    return msgspec.json.encode({one.name: wanted(one) for one in projections}).decode()
