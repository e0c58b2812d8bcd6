"""Where the file of a house is damaged, as far as SQLite can tell: for the message of an error.

What it is not: a proof or a repair.  It looks for broken pages, table by table, and stops at the
first; what the pages say is for `tildawn.ledger.verify`.
"""

import re
from pathlib import Path
from typing import Any, cast

import apsw

from tildawn.errors import LedgerBroken


KEEP = "copy the house away and keep it; nothing was changed"
"""What to do with a house that is damaged."""

_TREE = re.compile(r"Tree (\d+) page (\d+)")


def damage_of(path: Path) -> str:
    """Which table or index has a broken page; empty when SQLite finds none.

    Takes a few seconds for each gigabyte, so it is for who cannot go on anyhow.

    Raises:
        Nothing.
    """
    try:
        database = cast("Any", apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY))
    except apsw.Error as error:
        return str(error)
    try:
        names = database.execute("SELECT name, type, rootpage FROM sqlite_schema").fetchall()
        roots = {int(str(root)): f"{kind} {name}" for name, kind, root in names if root}
        for name, kind, _ in names:
            found = _in_table(database, str(name), roots) if kind == "table" else ""
            if found:
                return found
    except apsw.Error as error:
        return f"the list of its tables: {error}"
    finally:
        database.close()
    return ""


def refuse_damaged(path: Path) -> None:
    """Look for broken pages; takes as long as `damage_of`.

    Raises:
        LedgerBroken: there is one, and where.
    """
    where = damage_of(path) if path.is_file() else ""
    if where:
        message = f"{path} is damaged: {where}"
        raise LedgerBroken(message, hint=KEEP)


def _in_table(database: Any, name: str, roots: dict[int, str]) -> str:
    quoted = name.replace('"', '""')
    try:
        [(said, *_), *_] = database.execute(f'PRAGMA quick_check("{quoted}")').fetchall()
    except apsw.Error as error:
        return f"table {name}: {error}"
    if said == "ok":
        return ""
    lines = [line for line in str(said).splitlines() if not line.startswith("***")]
    tree = _TREE.search(lines[0]) if lines else None
    place = roots.get(int(tree[1]), f"table {name}") if tree is not None else f"table {name}"
    return f"{place}: {lines[0] if lines else said}"
