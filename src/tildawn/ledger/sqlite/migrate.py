"""Numbered schema migrations: each one transaction, found by the database's user version.

What it is not: projections; their tables are made by `tildawn.ledger.sqlite.rebuild`.

The files are called ``NNNN_name.phase.sql``; phase ``pre`` runs before this version works on
the house, ``post`` would run once no older version can come back.
"""

import re
from pathlib import Path

from tildawn.errors import HouseTooNew, LedgerBroken
from tildawn.ledger.sqlite.connection import Database


APPLICATION_ID = 0x5449_4C44
"""Marks the file as a house ("TILD"), for ``file`` and for us."""

FORMAT = 1
"""The format of facts, payloads and hashes; frozen by docs/spec/ledger.md."""

_NAME = re.compile(r"(\d{4})_[a-z_]+\.(pre|post)\.sql")


def scripts() -> list[tuple[int, str]]:
    """The migrations shipped, as (number, SQL), in order from 1 without gaps.

    Raises:
        Nothing.
    """
    found: list[tuple[int, str]] = []
    for file in Path(__file__).with_name("schema").iterdir():
        match = _NAME.fullmatch(file.name)
        if match:
            found.append((int(match[1]), file.read_text(encoding="utf-8")))
    return sorted(found)


def schema_of(database: Database) -> int:
    """The number of the last migration of this database; 0 for an empty file.

    Raises:
        LedgerBroken: the file is a database of something else.
        HouseTooNew: a newer version of Tildawn migrated it.
    """
    have = int(database.pragma("user_version"))
    mark = int(database.pragma("application_id"))
    if (have and mark != APPLICATION_ID) or (not have and mark):
        message = "this file is a database, but not of a house"
        raise LedgerBroken(message, hint="point to the folder that holds the house")
    newest = scripts()[-1][0]
    if have > newest:
        message = f"the house has schema {have}; this Tildawn knows {newest}"
        raise HouseTooNew(message, hint="pip install --upgrade tildawn")
    return have


def migrate(database: Database) -> None:
    """Bring the schema up to date.

    A crash leaves the schema before or after a migration, never between: the number is
    part of the transaction.

    Raises:
        LedgerBroken: the file is a database of something else.
        HouseTooNew: a newer version of Tildawn migrated it.
    """
    have = schema_of(database)
    for number, sql in scripts():
        if number <= have:
            continue
        with database:
            for _ in database.execute(sql):
                pass
            database.pragma("application_id", APPLICATION_ID)
            database.pragma("user_version", number)
    form = int(str(database.execute("SELECT value FROM meta WHERE key='format'").fetchall()[0][0]))
    if form > FORMAT:
        message = f"the house has format {form}; this Tildawn knows {FORMAT}"
        raise HouseTooNew(message, hint="pip install --upgrade tildawn")
