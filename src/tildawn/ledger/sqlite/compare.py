"""Compares the tables of a house with what they should be, in words.

What it is not: a repair.
"""

from collections.abc import Iterable, Iterator
from typing import cast

import apsw
from msgspec.structs import astuple

from tildawn.errors import LedgerBroken
from tildawn.ledger.sqlite.connection import Columns, Database
from tildawn.ledger.sqlite.migrate import schema_of, scripts
from tildawn.ledger.sqlite.projector import Memory
from tildawn.ledger.sqlite.tables import OWN_TABLES, Shape


DIFFERENCES_MAX = 20
"""Differences worth reading; the first ones say enough."""


def compare_schema(database: Database, shapes: Iterable[Shape]) -> None:
    """Whether tables, triggers and indexes are those that its schema has.

    A house that an older version left, and that nobody has opened since, has an older schema.

    Raises:
        LedgerBroken: one is missing, added or changed.
        HouseTooNew: a newer version of Tildawn made the schema.
    """
    made = cast("Database", apsw.Connection(":memory:"))
    listed = list(shapes)
    have = schema_of(database)
    for number, sql in scripts():
        if number <= have:
            made.execute(sql).fetchall()
    for shape in listed:
        for statement in shape.create:
            made.execute(statement).fetchall()
    names = OWN_TABLES | {shape.name for shape in listed}
    wanted, found = _schema(made, names), _schema(database, names)
    made.close()
    # By their words: damage may have made a text of the schema something else.
    for one in sorted(wanted ^ found, key=repr):
        message = f"the {one[0]} {one[1]} of the database is not what this version makes"
        raise LedgerBroken(
            message, hint="copy the house away and keep it; begin another in a new folder"
        )


def compare_tables(database: Database, memory: Memory) -> list[str]:
    """What differs between the projection tables and the rows that the facts make.

    Returns:
        Sentences, at most `DIFFERENCES_MAX`; none when they agree.

    Raises:
        apsw.Error: the file cannot be read.
    """
    wanted: dict[str, dict[Columns, Columns]] = {shape.name: {} for shape in memory.shapes.values()}
    for name, row in memory.rows.items():
        wanted[memory.shapes[type(row)].name][name[1:]] = astuple(row)
    differences: list[str] = []
    for shape in memory.shapes.values():
        for difference in _differences(database, shape, wanted[shape.name]):
            differences.append(difference)
            if len(differences) >= DIFFERENCES_MAX:
                return differences
    return differences


def _differences(database: Database, shape: Shape, wanted: dict[Columns, Columns]) -> Iterator[str]:
    places = [shape.columns.index(name) for name in shape.key]
    listed = ", ".join(shape.columns)
    for values in database.execute(f"SELECT {listed} FROM {shape.name}"):  # noqa: S608 - names of a Shape are checked
        key = tuple(values[place] for place in places)
        expected = wanted.pop(key, None)
        if expected is None:
            yield f"{shape.name} {key}: is in the table, and no fact makes it"
        elif expected != values:
            changes = (
                f"{column} is {is_!r}, the facts say {should!r}"
                for column, is_, should in zip(shape.columns, values, expected, strict=True)
                if is_ != should
            )
            yield f"{shape.name} {key}: {'; '.join(changes)}"
    for key in wanted:
        yield f"{shape.name} {key}: the facts make it, and it is not in the table"


def _schema(database: Database, names: Iterable[str]) -> set[tuple[str, str, str]]:
    known = set(names)
    sql = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL"
    rows: list[Columns] = database.execute(sql).fetchall()
    return {(kind, name, sql) for kind, name, table, sql in rows if table in known}
