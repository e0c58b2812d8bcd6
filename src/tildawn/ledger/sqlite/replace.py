"""Replaces tables of a house by what its facts make of them, in one transaction.

What it is not: a judgement; whoever calls has folded every fact afresh and compared.
"""

from collections.abc import Sequence

import apsw

from tildawn.errors import LedgerBroken
from tildawn.ledger.sqlite.connection import Database
from tildawn.ledger.sqlite.shadow import Shadow


#: What a table, or a shadow that is damaged, can object to; the disk of the house is another thing.
_REFUSALS = (
    apsw.ConstraintError, apsw.SQLError, apsw.MismatchError, apsw.CorruptError, apsw.NotADBError,
)  # fmt: skip


def replace_tables(database: Database, shadow: Shadow, tables: Sequence[str]) -> None:
    """Make tables anew, with indexes and triggers, and fill them from a shadow.

    A crash at any moment before the commit leaves all of them as they were; readers see the old
    ones until then.

    Args:
        database: the writing connection, inside the transaction.
        shadow: folded from the first fact; it is brought to the end of the ledger here.
        tables: names.

    Raises:
        LedgerBroken: a table refuses what the facts say.
        TildawnError: the shadow cannot be brought to the end of the ledger.
    """
    try:
        shadow.reach(database)
        for name in tables:
            _replace(database, shadow, name)
    except _REFUSALS as error:
        message = f"the tables {', '.join(tables)} cannot be made anew from the facts: {error}"
        raise LedgerBroken(message, hint="tildawn verify") from error


def _replace(database: Database, shadow: Shadow, name: str) -> None:
    shape, rows = shadow.rows(name)
    database.execute(f"DROP TABLE IF EXISTS {name}").fetchall()
    database.execute(shape.create[0]).fetchall()
    database.executemany(shape.insert, rows)
    # Triggers come last: they judge changes, and these rows are no change.
    for statement in shape.create[1:]:
        database.execute(statement).fetchall()
