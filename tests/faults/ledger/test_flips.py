"""Single bits that flip in the files of a house: what is used is found, and located.

What it is not: the word of the verifier about itself.  Whether a bit is used says what SQLite
reads from the file afterwards, and for files of their own, that all of their bytes are.
"""

import re
import shutil
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import apsw
import pytest

from tildawn.facts.fact import Registry
from tildawn.ledger.verdict import State, Verdict
from tildawn.ledger.verify import verify
from tildawn.testing import archive
from tildawn.testing.archive import FACTS, WIDTH, seal_all, small_segments
from tildawn.testing.notebook import SIGNED, note, open_notebook


KINDS = Registry(archive.REGISTRY.kinds().values())
FOLDS = (*SIGNED, archive.SEGMENT)
SEGMENTS = 3

#: What the verifier that stands alone does not look at; it knows no folds.
NOT_ALONE = re.compile("note|total|seat|signing|segment|run_fact|kind|verified|meta|sqlite_")


class House(NamedTuple):
    """A house with segments, and what SQLite reads from it."""

    folder: Path
    content: dict[str, str]


def _read(path: Path, tables: Iterable[str]) -> dict[str, str]:
    """A digest of what SQLite reads from each table, and of the schema; or why it cannot."""
    database = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)

    def rows(statement: str) -> str:
        try:
            return repr(database.execute(statement).fetchall())
        except (apsw.Error, UnicodeDecodeError) as error:
            return f"unreadable: {error}"

    try:
        schema = rows("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name")
        # An index has an opinion of its own, which only a check of the whole file asks for.
        found = {"schema": schema, "whole": rows("PRAGMA integrity_check(1)")}
        found |= {name: rows(f"SELECT * FROM {name}") for name in tables}
        return {name: sha256(text.encode()).hexdigest() for name, text in found.items()}
    finally:
        database.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Closed, in one file each."""
    folder = tmp_path_factory.mktemp("flips") / "house"
    with small_segments():
        with open_notebook(folder, registry=KINDS, projections=FOLDS) as ledger:
            for key in range(SEGMENTS * FACTS):
                entry = note(ledger, key, run=f"{key % 3:032x}", text=f'"text {key}"')
                ledger.append_now([entry])
        with open_notebook(folder, registry=KINDS, projections=FOLDS) as ledger:
            assert len(seal_all(ledger)) == SEGMENTS
    database = apsw.Connection(str(folder / "ledger.db"))
    database.execute("PRAGMA journal_mode = delete").fetchall()
    database.close()
    sql = "SELECT name FROM sqlite_schema WHERE type = 'table'"
    database = apsw.Connection(str(folder / "ledger.db"), flags=apsw.SQLITE_OPEN_READONLY)
    tables = [str(name) for (name,) in database.execute(sql).fetchall()]
    database.close()
    return House(folder, _read(folder / "ledger.db", tables))


def _verify(folder: Path) -> Verdict:
    with small_segments():
        return verify(folder, registry=KINDS, projections=FOLDS)


def _flipped(path: Path, content: bytes, rng: Random) -> int:
    """Flip one bit of a file; where."""
    at = rng.randrange(len(content))
    changed = bytearray(content)
    changed[at] ^= 1 << rng.randrange(8)
    path.chmod(0o600)
    path.write_bytes(changed)
    return at


def _flip_database(
    house: House, tmp_path: Path, alone: Any, *, seed: int, count: int
) -> Counter[str]:
    copy = Path(shutil.copytree(house.folder, tmp_path / "house"))
    path, rng, seen = copy / "ledger.db", Random(seed), Counter[str]()
    whole = path.read_bytes()
    for _ in range(count):
        at = _flipped(path, whole, rng)
        content = _read(path, house.content.keys() - {"schema", "whole"})
        verdict, (code, said) = _verify(copy), alone.ledger(copy)
        differ = {name for name in house.content if content.get(name) != house.content[name]}
        if not differ:
            # Free space, or a counter of the file: nothing that can be read has changed.
            seen["unused"] += 1
            assert verdict.state is State.PROVEN, f"seed {seed} byte {at}: {verdict}"
            assert code == 0, f"seed {seed} byte {at}: {said}"
            continue
        seen["used"] += 1
        assert verdict.state is not State.PROVEN, f"seed {seed} byte {at}: {differ} not found"
        # Every fact lies in a segment, and the verdict says how many were good.
        assert verdict.what
        if not all(NOT_ALONE.match(name) or name in {"schema", "whole"} for name in differ):
            seen["alone"] += 1
            assert code != 0, f"seed {seed} byte {at}: {differ} not found alone"
            assert "segment" in said or code == 3, said
    return seen


def _flip_files(house: House, tmp_path: Path, alone: Any, *, seed: int, each: int) -> int:
    copy = Path(shutil.copytree(house.folder, tmp_path / "house"))
    rng, files = Random(seed), [copy / "marks/checkpoint"]
    files += sorted(path for path in (copy / "archive").rglob("*") if path.is_file())
    for path in files:
        whole = path.read_bytes()
        name = path.relative_to(copy).as_posix()
        for _ in range(each):
            at = _flipped(path, whole, rng)
            verdict, (code, said) = _verify(copy), alone.ledger(copy)
            where = f"seed {seed} {name} byte {at}"
            assert verdict.state is not State.PROVEN, where
            assert code != 0, where
            for what in (verdict.what, said):
                assert _located(name, what), f"{where}: {what}"
        path.write_bytes(whole)
    return len(files)


def _located(name: str, what: str) -> bool:
    """Whether the words name the file, or the segment that it belongs to."""
    if name in what or Path(name).name in what:
        return True
    manifest = re.fullmatch(r"archive/segment/0*(\d+)\.json", name)
    return manifest is not None and f"segment {manifest[1] or 0}" in what


@pytest.fixture
def alone(stand_alone: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The verifier that shares no line with ours, for small segments."""
    stand_alone.knows(KINDS)
    monkeypatch.setattr(stand_alone.module, "WIDTH", WIDTH)
    return stand_alone


def test_a_flipped_bit_of_the_database_is_found_where_it_is_used(
    house: House, tmp_path: Path, alone: Any
) -> None:
    """And only there: an alarm over free space would be none the next time."""
    seen = _flip_database(house, tmp_path, alone, seed=1, count=250)

    assert min(seen["unused"], seen["used"], seen["alone"]) >= 20, seen


def test_a_flipped_bit_of_any_file_is_found_and_the_file_is_named(
    house: House, tmp_path: Path, alone: Any
) -> None:
    """Of checkpoint, manifests, tiles and bundles every byte is used."""
    assert _flip_files(house, tmp_path, alone, seed=2, each=4) > SEGMENTS * (2 * WIDTH + 2)


@pytest.mark.chaos
def test_thousands_of_bits_flip(house: House, tmp_path: Path, alone: Any) -> None:
    """The same for a while."""
    _flip_database(house, tmp_path / "database", alone, seed=3, count=5_000)
    _flip_files(house, tmp_path / "files", alone, seed=4, each=60)
