"""Every table of a real house: a row that is not what the facts make of it is found and mended.

What it is not: a test of the hours at which somebody looks.
"""

import shutil
from pathlib import Path
from typing import Any, Literal

import apsw
import pytest

from tildawn.ids import Ids
from tildawn.ledger.fold import Table
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.reconcile import Reconciler
from tildawn.ledger.sqlite.tables import Shape
from tildawn.ledger.verify import verify
from tildawn.runtime.rehearsal.clock import run_virtual
from tildawn.runtime.rehearsal.night import Night
from tildawn.runtime.rehearsal.script import parse
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.testing.clock import ManualClock
from tildawn.units import SECOND, Micros


SCRIPT = parse(
    """
    length = "2m"
    [[stream]]
    kind = "chat"
    every = "8s"
    [[stream]]
    kind = "image"
    every = "20s"
    [[outage]]
    since = "1m"
    length = "30s"
    [[provider.pace]]
    median = "3s"
    sigma = 0.25
    """
)
"""Two minutes of a night with an outage: runs, calls, routes, money, pictures."""

TABLES = [table for projection in PROJECTIONS for table in projection.tables]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house after two minutes of work."""
    folder = tmp_path_factory.mktemp("played")
    night = Night(folder, SCRIPT, mode="on", seed=5)

    async def main() -> None:
        with night.open() as house:
            await night.play(house, until=Micros(120 * SECOND))

    run_virtual(night.clock, main())
    return folder / ".tildawn"


class Opened:
    """A copy of that house that somebody tampered with, open again."""

    def __init__(self, folder: Path, mode: Literal["write", "read"] = "write") -> None:
        """Open it."""
        self.folder = folder
        clock = ManualClock()
        self.ledger = Ledger.open(
            folder, registry=REGISTRY, projections=PROJECTIONS, clock=clock, ids=Ids(clock),
            build="test", mode=mode,
        )  # fmt: skip
        self.books = Reconciler(
            self.ledger, folder, registry=REGISTRY, projections=PROJECTIONS, clock=clock,
            before=lambda _table, _digest: 0,
        )  # fmt: skip

    def close(self) -> None:
        """Lay it down."""
        self.books.close()
        self.ledger.close()


@pytest.fixture
def copy(played: Path, tmp_path: Path) -> Path:
    """A copy to tamper with."""
    folder = tmp_path / "copy"
    shutil.copytree(played, folder)
    return folder


def tamper(folder: Path, table: str, statement: str, *params: Any) -> None:
    """Change a table as somebody with the disk does: without its checks and its triggers."""
    database = apsw.Connection(str(folder / "ledger.db"))
    database.execute("PRAGMA ignore_check_constraints=1").fetchall()
    sql = "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?"
    for (name,) in database.execute(sql, (table,)).fetchall():
        database.execute(f"DROP TRIGGER {name}").fetchall()
    database.execute(statement, params).fetchall()
    database.close()


def other(value: Any, kind: str) -> Any:
    """Another value of the same type."""
    if "INTEGER" in kind:
        return (value or 0) + 1_000_003
    return b"other" if "BLOB" in kind else f"{value}-other"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_row_that_no_fact_makes_is_found_in_every_table(copy: Path, table: Table) -> None:
    """Whoever adds a row has added a run, a budget or a permit."""
    shape = Shape(table)
    opened = Opened(copy)  # some tables, such as that of the signing key, are read at opening
    try:
        database = apsw.Connection(str(copy / "ledger.db"))
        info = {row[1]: str(row[2]) for row in database.execute(f"PRAGMA table_info({table.name})")}
        database.close()
        tamper(copy, table.name, shape.insert, *(other(None, info[one]) for one in shape.columns))

        found = opened.books.whole(lambda: True)

        assert table.name in found.mended
        words = [word for one in found.drifts for word in one.words if one.table == table.name]
        assert any("no fact makes it" in word for word in words), words
        # A table made anew has its triggers again.
        verdict = verify(copy, registry=REGISTRY, projections=PROJECTIONS)
        assert verdict.exit_code == 0, verdict
    finally:
        opened.close()


def test_every_column_of_every_table_is_compared(played: Path, tmp_path: Path) -> None:
    """A column that nobody compares is where the next change would be made."""
    folder = tmp_path / "copy"
    shutil.copytree(played, folder)
    changed = change_every_column(folder)
    assert len({table for table, _ in changed}) > 20, "the house has too few tables with rows"

    opened = Opened(folder, "read")  # taking the pen would be a fact that makes rows anew
    found = opened.books.plan()
    opened.close()

    seen = {
        (drift.table, cell.column)
        for drift in found.drifts
        for one in drift.differences
        for cell in one.cells
    }
    assert not changed - seen


def change_every_column(folder: Path) -> set[tuple[str, str]]:
    """Change each column that is no key, in some row of its own where there are enough rows."""
    changed: set[tuple[str, str]] = set()
    database = apsw.Connection(str(folder / "ledger.db"))
    database.execute("PRAGMA ignore_check_constraints=1").fetchall()
    for kind in ("trigger", "index"):
        sql = "SELECT name FROM sqlite_schema WHERE type = ? AND sql IS NOT NULL"
        for (name,) in database.execute(sql, (kind,)).fetchall():
            database.execute(f"DROP {kind} {name}").fetchall()
    for table in TABLES:
        info = {row[1]: str(row[2]) for row in database.execute(f"PRAGMA table_info({table.name})")}
        shape = Shape(table)
        rows = database.execute(f"SELECT {', '.join(shape.columns)} FROM {table.name}").fetchall()
        where = " AND ".join(f"{name} = ?" for name in table.key)
        rest = [name for name in shape.columns if name not in table.key]
        for at, name in enumerate(rest if rows else []):
            row = dict(zip(shape.columns, rows[at % len(rows)], strict=True))
            database.execute(
                f"UPDATE {table.name} SET {name} = ? WHERE {where}",
                (other(row[name], info[name]), *(row[key] for key in table.key)),
            ).fetchall()
            changed.add((table.name, name))
    database.close()
    return changed
