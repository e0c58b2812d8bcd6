"""Folds facts into rows in memory first, so that a refused append leaves no trace.

What it is not: transactions.  `tildawn.ledger.sqlite.store` says when to write and when to undo.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from msgspec.structs import astuple

from tildawn.errors import BadValue, LedgerBroken
from tildawn.facts.fact import Fact, FactData
from tildawn.ledger.entry import Unmet
from tildawn.ledger.fold import Add, Change, Drop, Fold, Projection, Put, Row
from tildawn.ledger.sqlite.connection import Database
from tildawn.ledger.sqlite.tables import Key, Shape, shapes_of
from tildawn.units import Seq


CACHE_ROWS_MAX = 16_384
"""Rows kept in memory; about 6 MB. Source: the house's memory limit of 60 MB."""

R = TypeVar("R", bound=Row)


class _Missing:
    """Stands for a row nobody has looked up yet; None stands for one that is not there."""


_MISSING = _Missing()
_Seen = Row | None | _Missing
Operation = tuple[Shape, str, tuple[Any, ...]]
Mark = tuple[int, int]


class Conflict(Exception):
    """The quick way found something that only the slow way can judge."""


class Projector:
    """A staged view over the projection tables of one connection.

    Rows read or written are cached, which is sound because this is the only writer.
    ``careful`` looks for an existing row at every `Add`; otherwise the table's own
    constraint finds it, and the store goes the careful way.
    """

    def __init__(self, database: Database, projections: Iterable[Projection]) -> None:
        """Take the connection and what to fold.

        Raises:
            BadValue: two tables share a name, or a column has no type of SQLite.
        """
        listed = tuple(projections)
        self.shapes = shapes_of(listed)
        self.folds = folds_of(listed)
        self.careful = False
        self._database = database
        self._cache: dict[Key, Row | None] = {}
        self._staged: dict[Key, Row | None] = {}
        self._fresh: set[Key] = set()
        self._journal: list[tuple[Key, _Seen]] = []
        self._operations: list[Operation] = []

    def get(self, row: type[R], *key: int | str) -> R | None:
        """The row with that key as of now, staged changes included.

        Raises:
            BadValue: no projection has such rows, or the key does not fit.
        """
        name: Key = (row, *key)
        found = self._staged.get(name, _MISSING)
        if found is _MISSING:
            found = self._cache.get(name, _MISSING)
            if found is _MISSING:
                found = self._cache[name] = self._load(row, key)
        return cast("R | None", found)

    def mark(self) -> Mark:
        """The state to undo to, or to flush from."""
        return len(self._journal), len(self._operations)

    def fold(self, seq: Seq, fact: Fact) -> Unmet | None:
        """Stage what the fact changes.

        Returns:
            None, or the refusal when it adds a row that is there.

        Raises:
            Conflict: only the careful way can judge this.
        """
        for fold in self.folds.get(type(fact.data), ()):
            for change in fold(seq, fact, self.get):
                refusal = self._apply(change)
                if refusal is not None:
                    return refusal
        return None

    def touched(self) -> list[Key]:
        """The rows that are staged, each once, in the order in which they were first touched."""
        return list(self._staged)

    def undo(self, mark: Mark) -> None:
        """Forget what was staged since the mark."""
        journal_at, operations_at = mark
        for name, before in reversed(self._journal[journal_at:]):
            if isinstance(before, _Missing):
                del self._staged[name]
                self._fresh.discard(name)
            else:
                self._staged[name] = before
        del self._journal[journal_at:]
        del self._operations[operations_at:]

    def flush(self, mark: Mark = (0, 0)) -> None:
        """Write what was staged since the mark into the tables.

        Raises:
            apsw.Error: a constraint of a table, or the disk.
        """
        many: dict[tuple[Shape, str], list[tuple[Any, ...]]] = {}
        for name in dict.fromkeys(name for name, _ in self._journal[mark[0] :]):
            shape = self.shapes[cast("type[Row]", name[0])]
            if not shape.plain:
                continue
            row = self._staged[name]
            if row is None:
                many.setdefault((shape, shape.delete), []).append(name[1:])
            else:
                sql = shape.insert if name in self._fresh else shape.upsert
                many.setdefault((shape, sql), []).append(astuple(row))
            self._fresh.discard(name)
        for (_, sql), rows in many.items():
            self._database.executemany(sql, rows)
        # Tables with triggers or unique indexes see every change, in the order of the facts.
        for _, sql, values in self._operations[mark[1] :]:
            self._database.execute(sql, values)

    def keep(self) -> None:
        """What was staged is committed."""
        cache = self._cache
        cache.update(self._staged)
        if len(cache) > CACHE_ROWS_MAX:
            for name in list(cache)[: len(cache) - CACHE_ROWS_MAX * 3 // 4]:
                del cache[name]
        self._clear()

    def forget(self) -> None:
        """What was staged is rolled back; nothing in memory is trusted."""
        self._cache.clear()
        self._clear()

    def _clear(self) -> None:
        self._staged.clear()
        self._fresh.clear()
        self._journal.clear()
        self._operations.clear()

    def _load(self, row: type[Row], key: tuple[int | str, ...]) -> Row | None:
        shape = self.shapes.get(row)
        if shape is None or len(key) != len(shape.key):
            message = f"no projection has {row.__name__} rows with a key of {len(key)}"
            raise BadValue(message)
        for values in self._database.execute(shape.select, key):
            return shape.make(values)
        return None

    def _apply(self, change: Change) -> Unmet | None:
        if isinstance(change, Drop):
            self._drop((change.row, *change.key))
            return None
        row = change.row
        shape = self.shapes.get(type(row))
        if shape is None:
            message = f"no projection has {type(row).__name__} rows"
            raise BadValue(message)
        name = shape.key_of(row)
        if isinstance(change, Put):
            self._stage(name, row, shape, shape.upsert)
            return None
        return self._add(name, row, shape)

    def _add(self, name: Key, row: Row, shape: Shape) -> Unmet | None:
        there = self._staged.get(name, _MISSING)
        if there is _MISSING:
            there = self._cache.get(name, _MISSING)
        if there is _MISSING and self.careful:
            there = self._cache[name] = self._load(
                type(row), cast("tuple[int | str, ...]", name[1:])
            )
        if isinstance(there, Row):
            return Unmet(f"{shape.name} has that key", there)
        if name not in self._staged:
            self._fresh.add(name)
        self._stage(name, row, shape, shape.insert)
        return None

    def _drop(self, name: Key) -> None:
        shape = self.shapes[cast("type[Row]", name[0])]
        if name in self._fresh and not self.careful:
            raise Conflict  # whether it was really new is known only to the table
        self._stage(name, None, shape, shape.delete)
        self._fresh.discard(name)

    def _stage(self, name: Key, row: Row | None, shape: Shape, sql: str) -> None:
        self._journal.append((name, self._staged.get(name, _MISSING)))
        self._staged[name] = row
        if not shape.plain:
            values = name[1:] if row is None else astuple(row)
            self._operations.append((shape, sql, values))


class Memory:
    """The same folds over plain dictionaries: what the tables must equal.

    An `Add` of a row that is there means that the facts contradict themselves.
    """

    def __init__(self, projections: Iterable[Projection]) -> None:
        """Begin with empty tables.

        Raises:
            BadValue: two tables share a name, or a column has no type of SQLite.
        """
        listed = tuple(projections)
        self.shapes = shapes_of(listed)
        self.folds = folds_of(listed)
        self.rows: dict[Key, Row] = {}

    def get(self, row: type[R], *key: int | str) -> R | None:
        """The row with that key as of now."""
        return cast("R | None", self.rows.get((row, *key)))

    def fold(self, seq: Seq, fact: Fact) -> None:
        """Apply what the fact changes.

        Raises:
            LedgerBroken: it adds a row that is there.
        """
        for fold in self.folds.get(type(fact.data), ()):
            for change in fold(seq, fact, self.get):
                self._apply(seq, change)

    def _apply(self, seq: Seq, change: Change) -> None:
        if isinstance(change, Drop):
            self.rows.pop((change.row, *change.key), None)
            return
        name = self.shapes[type(change.row)].key_of(change.row)
        if isinstance(change, Add) and name in self.rows:
            message = f"fact {seq} adds a row to {self.shapes[type(change.row)].name} that is there"
            raise LedgerBroken(message, seq=seq)
        self.rows[name] = change.row


def folds_of(projections: Iterable[Projection]) -> Mapping[type[FactData], tuple[Fold, ...]]:
    """All folds of each kind of fact, in the order of the projections.

    Raises:
        Nothing.
    """
    folds: dict[type[FactData], tuple[Fold, ...]] = {}
    for projection in projections:
        for kind, fold in projection.folds.items():
            folds[kind] = (*folds.get(kind, ()), fold)
    return folds
