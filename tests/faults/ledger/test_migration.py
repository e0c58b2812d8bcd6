"""A house of the first schema is killed while it is upgraded: it has the old schema or the new.

What it is not: the content of migrations; the golden ledgers in tests/ledger have that.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import apsw
import pytest

from tildawn.ledger.sqlite.migrate import scripts
from tildawn.ledger.verdict import State
from tildawn.testing import bugs
from tildawn.testing.notebook import open_notebook, verify_notebook


UPGRADES = Path(__file__).with_name("upgrades.py")
GOLDEN = Path(__file__).parents[2] / "ledger" / "vectors" / "format-1"


def _schema(database: apsw.Connection) -> set[tuple[str, str]]:
    """Everything that migrations make; what projections make is theirs."""
    rows = database.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {(str(name), str(sql)) for name, sql in rows}


@pytest.fixture(scope="module")
def schemas() -> dict[int, set[tuple[str, str]]]:
    """What each number stands for: the migrations up to it, and no other."""
    made: dict[int, set[tuple[str, str]]] = {}
    database = apsw.Connection(":memory:")
    for number, sql in scripts():
        database.execute(sql)
        made[number] = _schema(database)
    return made


def _between(folder: Path, schemas: dict[int, set[tuple[str, str]]]) -> str:
    """The auditor: what is wrong with the database that a kill left; empty when nothing is."""
    database = apsw.Connection(str(folder / "ledger.db"))
    number = int(database.pragma("user_version"))
    here = _schema(database)
    every = set.union(*schemas.values())
    names = {name for made in schemas.values() for name, _ in made}
    mine = {one for one in here if one[0] in names}
    [(count, size)] = database.execute("SELECT count(*), (SELECT size FROM head) FROM fact")
    whole = database.pragma("quick_check")
    database.close()
    if number not in schemas or mine != schemas[number]:
        lacks = sorted(name for name, _ in schemas.get(number, every) - mine)
        extra = sorted(name for name, _ in mine - schemas.get(number, set()))
        return f"schema {number} lacks {lacks} and has {extra}"
    if whole != "ok" or count != size or count < json.loads(_expected())["size"]:
        return f"facts are gone: {count} of {size}, {whole}"
    return ""


def _expected() -> str:
    return (GOLDEN / "expected.json").read_text(encoding="utf-8")


def _campaign(folder: Path, step: int, *, bug: str = "") -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(UPGRADES), str(GOLDEN), str(folder), str(step)],
        capture_output=True, text=True, check=True, timeout=3_000,
        env=os.environ | {bugs.VARIABLE: bug},
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def _kill(folder: Path, schemas: dict[int, set[tuple[str, str]]], step: int) -> Counter[int]:
    """Kill everywhere; how often each schema was found afterwards."""
    found: Counter[int] = Counter()
    for kill in _campaign(folder, step):
        house = folder / str(kill["at"])
        if kill["dead"]:
            copy = Path(shutil.copytree(house, folder / "copy"))
            assert _between(copy, schemas) == "", kill
            database = apsw.Connection(str(copy / "ledger.db"))
            found[int(database.pragma("user_version"))] += 1
            database.close()
            shutil.rmtree(copy)
        with open_notebook(house) as ledger:
            assert ledger.epoch in {3, 4}
        assert verify_notebook(house).state is State.PROVEN, kill
        shutil.rmtree(house)
    return found


def test_a_kill_inside_an_upgrade_leaves_the_old_schema_or_the_new(
    tmp_path: Path, schemas: dict[int, set[tuple[str, str]]]
) -> None:
    """Never one between, and the next start goes on from whichever it is."""
    assert set(_kill(tmp_path, schemas, 3)) == set(schemas)


@pytest.mark.chaos
@pytest.mark.timeout(0)
def test_a_kill_at_every_operation_of_an_upgrade(
    tmp_path: Path, schemas: dict[int, set[tuple[str, str]]]
) -> None:
    """The same without gaps."""
    assert set(_kill(tmp_path, schemas, 1)) == set(schemas)


def test_the_auditor_sees_a_migration_that_is_no_transaction(
    tmp_path: Path, schemas: dict[int, set[tuple[str, str]]]
) -> None:
    """With the planted bug each statement commits by itself, and a kill falls between them."""
    wrong = [
        _between(tmp_path / str(kill["at"]), schemas)
        for kill in _campaign(tmp_path, 2, bug="migrates-in-pieces")
        if kill["dead"]
    ]

    assert any("lacks" in line for line in wrong)
