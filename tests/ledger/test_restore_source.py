"""What a restore takes no facts from, although their hashes agree.

What it is not: what is damaged, nor the restore itself; test_restore.py has that.
"""

from pathlib import Path
from typing import Any

import apsw
import pytest

from tildawn.clock import SystemClock
from tildawn.errors import LedgerBroken
from tildawn.ids import Ids
from tildawn.ledger.chain import GENESIS, Frontier, leaf_of, link
from tildawn.ledger.layout import Layout
from tildawn.ledger.opening import Setup
from tildawn.ledger.restore import Restored, Wish, restore
from tildawn.ledger.snapshot import take
from tildawn.ledger.source import Point
from tildawn.testing.clock import ManualClock
from tildawn.testing.notebook import REGISTRY, SIGNED, note, open_notebook


def _write(folder: Path, clock: Any) -> None:
    with open_notebook(folder, clock=clock, projections=SIGNED) as ledger:
        ledger.append_now([note(ledger, key) for key in range(20)])


def _back(folder: Path, clock: Any, *, source: Path | None = None) -> Restored:
    setup = Setup(
        registry=REGISTRY, projections=SIGNED, clock=clock, ids=Ids(SystemClock()), build="test"
    )
    return restore(Layout(folder), setup, Wish(to=Point(), source=source), lambda _: ())


def _state(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    passing = {"pen", "ledger.db-shm", "ledger.db-wal"}
    return {str(path): path.read_bytes() for path in files if path.name not in passing}


def _forge(folder: Path, seq: int) -> None:
    """Change a fact and make leaf, chain, tree and head anew behind it."""
    other: Any = apsw.Connection(str(folder / "ledger.db"))
    for (name,) in other.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
    ).fetchall():
        other.execute(f"DROP TRIGGER {name}")
    chain, frontier = GENESIS, Frontier()
    for at, body in other.execute("SELECT seq, body FROM fact ORDER BY seq").fetchall():
        said = body.replace(b'"at":', b'"at":1', 1) if at == seq else body
        leaf = leaf_of(said)
        other.execute("UPDATE fact SET leaf = ?, body = ? WHERE seq = ?", (leaf, said, at))
        chain = link(chain, leaf)
        frontier.add(leaf)
    other.execute("UPDATE head SET chain = ?, frontier = ?", (chain, frontier.dump()))
    other.close()


def test_a_snapshot_of_another_house_is_refused_and_nothing_is_changed(
    folder: Path, clock: ManualClock, tmp_path: Path
) -> None:
    """It is proven in itself, and would put the work of another house in place of this one."""
    other = tmp_path / "other"
    for each in (folder, other):
        _write(each, clock)
    snapshot = take(Layout(other), clock=clock, build="test", why="asked")
    was = _state(folder)

    with pytest.raises(LedgerBroken, match="is of another house"):
        _back(folder, clock, source=snapshot.folder)

    assert _state(folder) == was


def test_a_ledger_that_its_checkpoints_contradict_is_no_source(
    folder: Path, clock: ManualClock
) -> None:
    """Whoever changes a fact makes every hash anew; going back must not sign that as proven."""
    _write(folder, clock)
    _forge(folder, 12)
    was = _state(folder)

    with pytest.raises(LedgerBroken, match="another root"):
        _back(folder, clock)

    assert _state(folder) == was
