"""The contract between the ledger and the folds: rows, tables, and what a fold returns.

What it is not: SQL that decides.  A fold is pure: it gets one fact and may look at whole
rows by key; it returns rows to put, rows to add, and keys to drop.  The ledger calls it
inside the transaction that records the fact, and again whenever a table is rebuilt.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

import msgspec

from tildawn.facts.fact import Fact, FactData
from tildawn.units import Seq


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a projection table; its fields are the columns, in order.

    A field is an ``int``, ``str``, ``bytes`` or one of those ``| None``.
    """


R = TypeVar("R", bound=Row)


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A projection table: its name, the type of its rows, and the fields of its key.

    ``checks`` are conditions over the columns that every row must fulfil; ``sql`` holds further
    statements (indexes, triggers) with ``{table}`` for the table's name.  Both express
    invariants, not decisions.
    """

    name: str
    row: type[Row]
    key: tuple[str, ...]
    sql: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()


class Get(Protocol):
    """Reads one row by its whole key, as of the fact being folded."""

    def __call__(self, row: type[R], *key: int | str) -> R | None:
        """The row, or None."""
        ...


class Put(msgspec.Struct, frozen=True):
    """Insert the row or replace the one with its key."""

    row: Row


class Add(msgspec.Struct, frozen=True):
    """Insert the row; one with its key refuses the append (`Unmet` with that row)."""

    row: Row


class Drop(msgspec.Struct, frozen=True):
    """Remove the row with that key, if there."""

    row: type[Row]
    key: tuple[int | str, ...]


Change = Put | Add | Drop
Fold = Callable[[Seq, Fact, Get], Iterable[Change]]
"""``fold(seq, fact, get) -> changes``; pure, total, never raises for a recorded fact."""


class Projection(msgspec.Struct, frozen=True, kw_only=True):
    """Tables and the folds that fill them; a new ``version`` means rebuild and swap."""

    name: str
    version: int
    tables: tuple[Table, ...]
    folds: Mapping[type[FactData], Fold]


class Expect(msgspec.Struct, frozen=True, kw_only=True):
    """What must hold for an append to be taken, judged inside the transaction.

    ``test`` is pure and gets the row with that key, or None.  A false one refuses only this
    append: the answer is `Unmet` with ``why`` and the row.
    """

    row: type[Row]
    key: tuple[int | str, ...]
    test: Callable[[Row | None], bool]
    why: str
