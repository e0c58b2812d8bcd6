"""The shape of a projection table in SQLite: its statements, and rows in both directions.

What it is not: folds.  A shape knows nothing of facts.
"""

import re
import types
import typing
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from msgspec.structs import astuple

from tildawn.errors import BadValue
from tildawn.ledger.fold import Projection, Row, Table


Key = tuple[type[Row] | int | str, ...]
"""The type of a row and the values of its key: the name of a row in memory."""

OWN_TABLES = frozenset(
    {
        "fact", "run_fact", "payload", "blob_use", "head", "mark", "verified", "kind", "meta",
        "checkpoint", "archive",
    }
)  # fmt: skip

_COLUMN = {int: "INTEGER", str: "TEXT", bytes: "BLOB"}
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_HARMLESS = re.compile(r"\s*CREATE\s+INDEX\b", re.IGNORECASE)


class Shape:
    """What SQLite has to know of one table."""

    __slots__ = (
        "columns", "create", "delete", "insert", "key", "key_of", "make", "name", "plain", "row",
        "select", "upsert",
    )  # fmt: skip

    def __init__(self, table: Table) -> None:
        """Derive the statements.

        Raises:
            BadValue: a column has no type of SQLite, or a name is none.
        """
        columns = _columns(table)
        names = tuple(columns)
        self.name = table.name
        self.row = table.row
        self.columns = names
        self.key = table.key
        self.create = (
            _create(table, columns),
            *(s.replace("{table}", table.name) for s in table.sql),
        )
        #: Without unique indexes and triggers only the last state of a row in a batch matters.
        self.plain = all(_HARMLESS.match(statement) for statement in table.sql)
        self.make = _maker(table.row, names)
        self.key_of = _key_of(table.row, table.key)
        listed, marks = ", ".join(names), ", ".join("?" * len(names))
        where = " AND ".join(f"{name} = ?" for name in table.key)
        rest = [name for name in names if name not in table.key]
        change = ", ".join(f"{name} = excluded.{name}" for name in rest)
        action = f"UPDATE SET {change}" if rest else "NOTHING"
        # Names are checked above; values are always bound.
        self.select = f"SELECT {listed} FROM {table.name} WHERE {where}"  # noqa: S608 - names are checked above
        self.insert = f"INSERT INTO {table.name} ({listed}) VALUES ({marks})"  # noqa: S608
        self.upsert = f"{self.insert} ON CONFLICT ({', '.join(table.key)}) DO {action}"
        self.delete = f"DELETE FROM {table.name} WHERE {where}"  # noqa: S608


def shapes_of(projections: Iterable[Projection]) -> dict[type[Row], Shape]:
    """The shapes of all tables, by their rows.

    Raises:
        BadValue: two tables share a name or a row, or one takes a name of the ledger's own.
    """
    shapes: dict[type[Row], Shape] = {}
    names = set(OWN_TABLES)
    for projection in projections:
        for table in projection.tables:
            if table.name in names or table.row in shapes:
                message = f"projection {projection.name}: table {table.name} is there already"
                raise BadValue(message)
            names.add(table.name)
            shapes[table.row] = Shape(table)
    return shapes


def _create(table: Table, columns: dict[str, str]) -> str:
    body = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    checks = "".join(f", CHECK ({condition})" for condition in table.checks)
    key = ", ".join(table.key)
    single = len(table.key) == 1 and columns[table.key[0]].startswith("INTEGER")
    options = "STRICT" if single else "WITHOUT ROWID, STRICT"
    return f"CREATE TABLE {table.name} ({body}, PRIMARY KEY ({key}){checks}) {options}"


def _columns(table: Table) -> dict[str, str]:
    hints = get_type_hints(table.row)
    columns: dict[str, str] = {}
    for name in table.row.__struct_fields__:
        kind = _column(hints[name])
        if kind is None or not _NAME.fullmatch(name):
            message = f"{table.row.__name__}.{name}: a column is int, str, bytes or one | None"
            raise BadValue(message)
        columns[name] = kind
    if not table.key or not set(table.key) <= set(columns) or not _NAME.fullmatch(table.name):
        message = f"table {table.name}: the name or the key {table.key} does not fit its row"
        raise BadValue(message)
    return columns


def _column(hint: Any) -> str | None:
    """The declaration of a column, or None for a type that SQLite does not have."""
    if get_origin(hint) in {Union, types.UnionType}:
        parts = [part for part in get_args(hint) if part is not type(None)]
        inner = _column(parts[0]) if len(parts) == 1 else None
        return inner and inner.removesuffix(" NOT NULL")
    if get_origin(hint) is Literal:
        kinds: set[type] = {type(choice) for choice in get_args(hint)}
        hint = kinds.pop() if len(kinds) == 1 else None
    while isinstance(hint, typing.NewType):
        hint = hint.__supertype__
    return f"{_COLUMN[hint]} NOT NULL" if hint in _COLUMN else None


def _maker(row: type[Row], names: tuple[str, ...]) -> Callable[[tuple[Any, ...]], Row]:
    if _takes_positions(row, names):
        return lambda values: row(*values)
    return lambda values: row(**dict(zip(names, values, strict=True)))


def _takes_positions(row: type[Row], names: tuple[str, ...]) -> bool:
    try:
        made = row(*names)
    except TypeError:
        return False
    return astuple(made) == names


def _key_of(row: type[Row], key: tuple[str, ...]) -> Callable[[Row], Key]:
    first: Callable[[Row], Any] = attrgetter(key[0])
    every: Callable[[Row], Any] = attrgetter(*key)

    def one(value: Row) -> Key:
        part: int | str = first(value)
        return (row, part)

    def several(value: Row) -> Key:
        parts: tuple[int | str, ...] = every(value)
        return (row, *parts)

    return one if len(key) == 1 else several
