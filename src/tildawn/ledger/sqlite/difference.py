"""What differs between the tables of a house and what its facts make of them, in words.

What it is not: the comparison, nor a judgement about who is right; the facts are.
"""

from hashlib import sha256

import msgspec

from tildawn.ledger.sqlite.connection import Columns
from tildawn.ledger.sqlite.tables import Shape


KEPT_MOST = 1_000
"""Differences of a table that are kept in words; the others are counted."""

SHOWN_MOST = 20
"""Those that a person is shown; the first ones say enough."""


class Cell(msgspec.Struct, frozen=True):
    """A column, what it is and what it should be."""

    column: str
    is_: str = msgspec.field(name="is")
    should: str


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One row that is not what the facts make of it; ``text`` where no column says it."""

    table: str
    key: Columns
    text: str = ""
    cells: tuple[Cell, ...] = ()

    def words(self) -> str:
        """One line."""
        said = "; ".join(f"{one.column} is {one.is_}, should be {one.should}" for one in self.cells)
        return f"{self.table} {self.key!r}: {said or self.text}"


class Differences:
    """What was found until now, by table and key; looked at again, a row may have come right."""

    def __init__(self) -> None:
        """Begin with none."""
        self._kept: dict[str, dict[Columns, Difference]] = {}
        self._more: dict[str, int] = {}

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._kept)

    def note(self, one: Difference) -> None:
        """Take one in."""
        kept = self._kept.setdefault(one.table, {})
        if one.key in kept or len(kept) < KEPT_MOST:
            kept[one.key] = one
        else:
            self._more[one.table] = self._more.get(one.table, 0) + 1

    def settle(self, table: str, key: Columns) -> None:
        """This row is as it should be."""
        kept = self._kept.get(table)
        if kept is not None and kept.pop(key, None) is not None and not kept:
            del self._kept[table]

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables concerned."""
        return tuple(sorted(self._kept))

    def count(self, table: str) -> int:
        """How many rows of a table differ."""
        return len(self._kept.get(table, ())) + self._more.get(table, 0)

    def of(self, table: str) -> tuple[Difference, ...]:
        """Those of a table that were kept, in the order of their keys."""
        return tuple(one for _, one in sorted(self._kept.get(table, {}).items(), key=repr))

    def shown(self, table: str) -> tuple[str, ...]:
        """The first ones in words."""
        return tuple(one.words() for one in self.of(table)[:SHOWN_MOST])

    def digest(self, table: str) -> str:
        """SHA-256 in hexadecimal over table, keys and columns: the same drift has the same one."""
        said = [[list(one.key), [cell.column for cell in one.cells]] for one in self.of(table)]
        text = msgspec.json.encode([table, self.count(table), said])
        return sha256(text).hexdigest()


def row_difference(
    shape: Shape, key: Columns, is_: Columns | None, should: Columns | None
) -> Difference:
    """How one row differs.

    Raises:
        Nothing.
    """
    if is_ is None:
        text = "the facts make it, and it is not in the table"
        return Difference(table=shape.name, key=key, text=text)
    if should is None:
        text = "is in the table, and no fact makes it"
        return Difference(table=shape.name, key=key, text=text)
    cells = tuple(
        Cell(column, repr(one), repr(other))
        for column, one, other in zip(shape.columns, is_, should, strict=True)
        if one != other
    )
    return Difference(table=shape.name, key=key, cells=cells)
