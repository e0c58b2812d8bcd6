"""The rows of an item: checked with the plan, and later turned into runs from the kept copy.

What it is not: the reading of CSV (``table``) or the making of runs (the engine's).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from tildawn.errors import BadPlan, BadValue
from tildawn.facts.plan import Item, Plan, Rows, Value
from tildawn.runtime.plan.problem import Mark, Problems
from tildawn.runtime.plan.rendering import render_text
from tildawn.runtime.plan.scope import ROW
from tildawn.runtime.plan.table import Table, TableFault, TableRow, open_table


#: A key stands in tables, reports and idempotency keys; longer ones are no names.
KEY_MAX = 500
#: So many problems of one file are listed; the same mistake often fills every row.
_PROBLEMS_MAX = 20


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One run to be: its index within the item (from 0), its key, and its row."""

    index: int
    key: str
    #: Column to text; empty for an item without ``for_each``.
    item: Mapping[str, str]
    #: Whom it is about; empty for nobody.
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Named:
    """What names a row, and whom it is about; None where there is none, or it has faults."""

    key: Value | None = None
    subject: Value | None = None


def check_rows(table: Table, file: str, named: Named, problems: Problems) -> int:
    """Read all rows and check their width and their keys.

    Args:
        table: the opened file.
        file: how messages name it.
        named: what names a row, and whom it is about.
        problems: takes what is wrong.

    Returns:
        How many rows there are.

    Raises:
        Nothing.
    """
    checker = _RowChecker(table, file, named, problems)
    try:
        for row in table.rows(checker.fault):
            checker.row(row)
    except TableFault as fault:
        checker.fault(fault)
    else:
        if checker.count == 0 and checker.faults == 0:
            checker.fault(TableFault(1, "a header without rows", "at least one row"))
    return checker.count


class _RowChecker:
    """Counts rows and remembers where each key was first seen."""

    def __init__(self, table: Table, file: str, named: Named, problems: Problems) -> None:
        self._columns = table.columns
        self._file = file
        self._named = named
        self._problems = problems
        self._first: dict[str, int] = {}
        self.count = 0
        self.faults = 0

    def row(self, row: TableRow) -> None:
        """Check one row of the right width."""
        self.count += 1
        cells = dict(zip(self._columns, row.cells, strict=True))
        try:
            _subject_of(self._named.subject, cells)
        except BadValue as error:
            self.fault(TableFault(row.line, f"the subject of the row: {error.message}"))
        if self._named.key is None:
            return
        try:
            key = _key_of(self._named.key, cells)
        except BadValue as error:
            self.fault(TableFault(row.line, f"the key of the row: {error.message}"))
            return
        first = self._first.setdefault(key, row.line)
        if first != row.line:
            found = f"the key {key!r:.80} a second time"
            self.fault(TableFault(row.line, found, f"one row a key; the first is in line {first}"))

    def fault(self, fault: TableFault) -> None:
        """Note one problem of the file, up to a bound."""
        self.faults += 1
        mark = Mark(fault.line, fault.column)
        if self.faults <= _PROBLEMS_MAX:
            self._problems.add(mark, fault.found, expected=fault.expected, file=self._file)
        elif self.faults == _PROBLEMS_MAX + 1:
            found = "further rows are wrong as well"
            self._problems.add(mark, found, file=self._file)


def _key_of(key: Value, row: Mapping[str, str]) -> str:
    text = render_text(key, {ROW: row})
    if not text.strip():
        message = "it is empty"
        raise BadValue(message)
    if len(text) > KEY_MAX:
        message = f"it has {len(text)} characters, and at most {KEY_MAX} may be"
        raise BadValue(message)
    return text


def _subject_of(subject: Value | UnsetType | None, row: Mapping[str, str]) -> str:
    """Whom a row is about, without spaces around it; an empty one is about nobody."""
    if subject is None or subject is UNSET:
        return ""
    text = render_text(subject, {ROW: row}).strip()
    if len(text) > KEY_MAX:
        message = f"it has {len(text)} characters, and at most {KEY_MAX} may be"
        raise BadValue(message)
    return text


def rows_of(table: Table, path: str, count: int) -> Rows:
    """What the plan keeps of a checked file.

    Raises:
        Nothing.
    """
    return Rows(path, table.encoding, table.delimiter, table.columns, count)


def compile_rows(
    plan: Plan, rows: bytes | None, item: str, *, start: int = 0, chunk: int = 500
) -> Iterator[tuple[PlanRow, ...]]:
    """The runs of one item, from the kept copies alone, in chunks.

    Args:
        plan: the accepted plan.
        rows: the kept copy of the item's CSV file; None for an item without ``for_each``.
        item: its id.
        start: the index of the first row wanted, so that an interrupted expansion goes on.
        chunk: how many rows at most come at once, >= 1.

    Returns:
        Chunks of rows in the order of the file; the same rows for the same copies, always.

    Raises:
        BadPlan: there is no such item, or the copy is not the file that was checked.
    """
    found = plan.item(item)
    if found is None:
        message = f"the plan has no item {item!r}"
        raise BadPlan(message)
    held: list[PlanRow] = []
    for row in _plan_rows(found, rows):
        if row.index < start:
            continue
        held.append(row)
        if len(held) >= chunk:
            yield tuple(held)
            held = []
    if held:
        yield tuple(held)


def _plan_rows(item: Item, rows: bytes | None) -> Iterator[PlanRow]:
    if item.for_each is None:
        yield PlanRow(0, render_text(item.key, {}), {}, _subject_of(item.subject, {}))
        return
    table = open_table(rows or b"")
    if rows_of(table, item.for_each.path, item.for_each.count) != item.for_each:
        message = f"the copy of {item.for_each.path} is not the file that was checked"
        raise BadPlan(message)
    for row in table.rows():
        cells = dict(zip(table.columns, row.cells, strict=True))
        yield PlanRow(row.index, _key_of(item.key, cells), cells, _subject_of(item.subject, cells))
