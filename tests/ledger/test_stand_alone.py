"""The verifier of docs/spec: small, without a line of ours, and of the same opinion as ours.

What it is not: the campaign of changes; tests/faults/ledger/test_tampering.py has that.
"""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from tildawn.clock import SystemClock
from tildawn.facts import erasure
from tildawn.facts.fact import Registry
from tildawn.facts.house import HouseRestored
from tildawn.ids import Ids
from tildawn.ledger.checkpoint import Checkpoint, origin_of
from tildawn.ledger.entry import Entry
from tildawn.ledger.erasure import erase, held_by
from tildawn.ledger.note import Signer
from tildawn.ledger.rotation import rotate_key
from tildawn.ledger.verdict import State
from tildawn.runtime.wiring import REGISTRY as ALL
from tildawn.testing import archive, notebook
from tildawn.testing.archive import FACTS, WIDTH, seal_all, small_segments
from tildawn.testing.notebook import SIGNED, note, verify_notebook


ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs/spec/verify_ledger.py"

KINDS = Registry([*archive.REGISTRY.kinds().values(), *erasure.KINDS])
FOLDS = (*SIGNED, *(one for one in archive.PROJECTIONS if one not in notebook.PROJECTIONS))


@pytest.fixture(autouse=True)
def _small(stand_alone: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]  a fixture for every test here
    stand_alone.knows(KINDS)
    monkeypatch.setattr(stand_alone.module, "WIDTH", WIDTH)
    with small_segments():
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house with all that a check meets: two keys, segments without bodies, an erasure, a blob."""
    folder = tmp_path_factory.mktemp("made") / "house"
    with small_segments():
        with notebook.open_notebook(folder, registry=KINDS, projections=FOLDS) as ledger:
            for key in range(40):
                entry = note(ledger, key, run=f"{key % 3:032x}", text=f'"text {key}"')
                ledger.append_now([entry])
            ledger.checkpoint()
            rotate_key(ledger, "a year is over", ids=Ids(SystemClock()))
            ledger.append_now([note(ledger, 99, run="r", text='"' + "long " * 20_000 + '"')])
            with ledger.read() as reader:
                going = held_by(reader, [f"{1:032x}"])
            erase(ledger, folder, going, runs=1, why="asked")
        with notebook.open_notebook(folder, registry=KINDS, projections=FOLDS) as ledger:
            assert len(seal_all(ledger)) == 3
    return folder


@pytest.fixture
def house(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "house"))


def _change(folder: Path, *statements: str) -> None:
    database = apsw.Connection(str(folder / "ledger.db"))
    for (name,) in database.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name IN ('fact', 'checkpoint')"
    ).fetchall():
        database.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        database.execute(statement)
    database.close()


def test_it_is_short_and_imports_the_standard_library_alone() -> None:
    """Whoever trusts it must be able to read it, and to run it where nothing else is."""
    text = SCRIPT.read_text(encoding="utf-8")
    imported = {
        name.split(".")[0]
        for one in ast.walk(ast.parse(text))
        for name in (
            [alias.name for alias in one.names] if isinstance(one, ast.Import)
            else [one.module or ""] if isinstance(one, ast.ImportFrom) else []
        )
    }  # fmt: skip

    assert len(text.splitlines()) <= 300
    assert imported <= sys.stdlib_module_names


def test_its_table_names_the_payloads_of_every_kind(stand_alone: Any) -> None:
    """A payload that nobody looks for could be taken out."""
    fields = stand_alone.module.House(ROOT).fields

    assert {name: tuple(fields[name]) for name in ALL.kinds()} == {
        name: kind.PAYLOADS for name, kind in ALL.kinds().items()
    }


def test_it_runs_without_anything_of_ours(tmp_path: Path) -> None:
    """On an interpreter that sees no installed package, from a folder of its own."""
    for name in ("verify_ledger.py", "payloads.json"):
        shutil.copy(SCRIPT.with_name(name), tmp_path)
    golden = Path(__file__).parent / "vectors/format-1"
    shutil.copytree(golden, tmp_path / "house")
    command = [sys.executable, "-I", "-S", "verify_ledger.py", "ledger", "house"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ran.returncode == 3, ran.stdout + ran.stderr  # of an older schema, and not signed
    assert ran.stdout.startswith("not provable: ")


def test_it_proves_what_is_true(house: Path, stand_alone: Any) -> None:
    """Two opinions of the same house: the same."""
    ours = verify_notebook(house, registry=KINDS, projections=FOLDS)
    code, said = stand_alone.ledger(house, house / "marks/checkpoint")

    assert (ours.state, code) == (State.PROVEN, 0), (ours, said)
    assert said == f"proven: {ours.size} facts of {ours.origin}, signed up to {ours.sealed}"


def _bodies_leave(house: Path) -> None:
    _change(
        house, f"UPDATE archive SET body_to = {2 * FACTS}",
        f"UPDATE fact SET body = x'' WHERE seq > 0 AND seq < {2 * FACTS}",
    )  # fmt: skip


def test_it_reads_bodies_that_left_from_the_archive(house: Path, stand_alone: Any) -> None:
    """The archive is as much of the ledger as the database."""
    _bodies_leave(house)

    assert stand_alone.ledger(house)[0] == 0


TAMPERED: dict[str, tuple[str, str]] = {
    "an edited body": (
        "UPDATE fact SET body = CAST(replace(body, '\"key\":5,', '\"key\":6,') AS BLOB)", "fact 8",
    ),
    "a fact taken out": ("DELETE FROM fact WHERE seq = 9", "fact 9 is missing"),
    "the last fact taken out": ("DELETE FROM fact WHERE seq = (SELECT max(seq) FROM fact)", "head"),
    "another leaf": ("UPDATE fact SET leaf = zeroblob(32) WHERE seq = 7", "fact 7"),
    "no body, and nothing archived": (
        "UPDATE fact SET body = x'' WHERE seq = (SELECT body_to + 7 FROM archive)", "fact 7",
    ),
    "bodies that may be anywhere": ("UPDATE archive SET body_to = 99", "not sealed"),
    "another epoch": ("UPDATE head SET epoch = 7", "head"),
    "an edited payload": ("UPDATE payload SET text = x'22' WHERE id = 64", "payload 0 of fact 8"),
    "a payload taken out": ("DELETE FROM payload WHERE id = 64", "payload 0 of fact 8"),
    "a payload too many": ("INSERT INTO payload VALUES (65, x'', x'', NULL, NULL)", "does not name"),
    "a payload behind the end": ("INSERT INTO payload VALUES (9999, x'', x'', NULL, NULL)", "more than"),
    "a payload that was not erased": (
        "UPDATE payload SET text = NULL, salt = NULL WHERE id = 64", "payload 0 of fact 8 is gone",
    ),
    "a payload erased with the word of another": (
        "UPDATE payload SET (text, salt, erased) = (SELECT NULL, NULL, max(erased) FROM payload) WHERE id = 64",
        "does not name them",
    ),
    "a payload that was erased, and is there": (
        "UPDATE payload SET salt = x'00' WHERE salt IS NULL AND text IS NULL", "which is there",
    ),
    "a mark that never was": ("INSERT INTO mark VALUES (1024, zeroblob(32), x'')", "marks"),
    "a checkpoint cut": ("UPDATE checkpoint SET note = substr(note, 1, 90)", "no signed note"),
    "a checkpoint moved": ("UPDATE checkpoint SET size = 1", "another size"),
    "a file that is none": ("DROP TABLE head", "no such table"),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_it_says_where_a_ledger_is_broken(house: Path, stand_alone: Any, name: str) -> None:
    """Broken means: says what, and where."""
    statement, what = TAMPERED[name]
    _change(house, statement)
    code, said = stand_alone.ledger(house)

    assert code == 4, said
    assert what in said


def test_it_misses_what_is_missing(house: Path, stand_alone: Any) -> None:
    """Missing is never fine, and it is not tampering either."""
    found: list[tuple[int, str]] = []
    for name in ("marks/checkpoint", "archive/segment/000001.json", "archive/tile/entries/001.gz"):
        gone = house / name
        gone.rename(house / "aside")
        found.append(stand_alone.ledger(house))
        (house / "aside").rename(gone)
    found.append(stand_alone.ledger(house / "nowhere"))
    _change(house, "DELETE FROM checkpoint")
    found.append(stand_alone.ledger(house))

    assert [code for code, _ in found] == [3] * 5, found


def test_it_misses_bodies_that_nobody_has(house: Path, stand_alone: Any) -> None:
    """Chain and tree hold without them; nothing else can be said."""
    _bodies_leave(house)
    (house / "archive/tile/entries/001.gz").unlink()
    code, said = stand_alone.ledger(house)

    assert (code, "segment 0" in said) == (3, True), said


def test_a_house_whose_database_is_gone_is_broken(house: Path, stand_alone: Any) -> None:
    """Its marks say that there was one."""
    (house / "ledger.db").unlink()

    assert stand_alone.ledger(house)[0] == 4


@pytest.mark.parametrize(
    "name",
    ["archive/tile/0/003", "archive/tile/entries/004.gz", "archive/tile/2/000.p/3"],
)
def test_a_changed_file_of_the_archive_is_named_with_its_segment(
    house: Path, stand_alone: Any, name: str
) -> None:
    """So that it can be fetched from a copy."""
    path = house / name
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    code, said = stand_alone.ledger(house)

    assert code == 4, said
    assert name in said
    assert "segment " in said


def _forged(house: Path, name: str, size: int, root: bytes) -> Path:
    signer = Signer(name, bytes(range(32)))
    path = house / "forged"
    path.write_text(Checkpoint(name, size, root).sign([signer]).dump(), encoding="utf-8")
    return path


def test_a_checkpoint_of_somebody_else_is_not_believed(house: Path, stand_alone: Any) -> None:
    """Neither another log, nor another key, nor a larger ledger."""
    ours = verify_notebook(house, registry=KINDS, projections=FOLDS)
    other = _forged(house, "tildawn/other", ours.size, bytes.fromhex(ours.root))
    log, another = stand_alone.ledger(house, other), Signer("k", bytes(32)).verifier.dump()
    signed = _forged(house, ours.origin, ours.size, bytes.fromhex(ours.root))
    key = stand_alone.ledger(house, signed)
    larger = stand_alone.ledger(house, _forged(house, ours.origin, 9_999, bytes(32)))
    named = stand_alone.ledger(house, keys=[another])

    assert [one[0] for one in (log, key, larger, named)] == [4] * 4
    for (_, said), what in zip(
        (log, key, larger, named), ("another log", "not signed", "cut off", "another key"),
        strict=True,
    ):  # fmt: skip
        assert what in said


def test_the_key_that_was_kept_is_enough(house: Path, stand_alone: Any) -> None:
    """Whoever kept the key of the house needs to believe nothing in it."""
    ours = verify_notebook(house, registry=KINDS, projections=FOLDS)
    assert ours.verified is not None
    key = ours.verified.spans[-1].verifier.dump()

    assert stand_alone.ledger(house, keys=[key])[0] == 0


def test_a_log_that_goes_on_after_a_restore_is_read(tmp_path: Path, stand_alone: Any) -> None:
    """Another name from there on, and an epoch behind all that were seen."""
    folder = tmp_path / "house"

    def restored(ledger: Any) -> Entry:
        said = HouseRestored(
            name="ff" * 16, from_name=ledger.name, from_size=9, from_root="", epoch=5,
            source="ledger",
        )  # fmt: skip
        return ledger.draft(said)

    with notebook.open_notebook(folder) as ledger:
        ledger.append_now([restored(ledger)])
    # What is not known here is the pen of the sixth epoch, which the restore itself would take.
    code, said = stand_alone.ledger(folder)
    assert (code, "head" in said) == (4, True)
    _change(folder, "UPDATE head SET epoch = 5")
    code, said = stand_alone.ledger(folder)
    assert (code, "no checkpoint" in said) == (3, True), said


def test_it_leaves_the_house_as_it_was(house: Path, stand_alone: Any) -> None:
    """Evidence that changes when looked at is none."""
    before = {path: path.read_bytes() for path in house.rglob("*") if path.is_file()}
    stand_alone.ledger(house)

    assert before == {path: path.read_bytes() for path in before}
    assert os.access(SCRIPT, os.R_OK)
    assert origin_of("x") == "tildawn/x"


VECTORS = ROOT / "docs/spec/vectors"

#: The table of docs/spec/vectors/README.md: statements, files that go, and the verdict.
VERDICTS: dict[str, tuple[list[str], list[str], int]] = {
    "as it is": ([], [], 0),
    "a payload": (
        [
            "UPDATE payload SET text = x'2222' WHERE id = (SELECT min(id) FROM payload WHERE text NOT NULL)"
        ], [], 4,
    ),
    "another fact erased": (["UPDATE payload SET erased = 5 WHERE erased NOT NULL"], [], 4),
    "a head": (["UPDATE head SET size = 29"], [], 4),
    "another log": (
        ["UPDATE checkpoint SET note = replace(note, 'tildawn/0', 'tildawn/1')"], [], 4,
    ),
    "no second place": ([], ["marks/checkpoint"], 3),
    "no manifest": ([], ["archive/segment/000000.json"], 3),
    "no bundle": ([], ["archive/tile/entries/002.gz"], 3),
    "bodies left": (
        [
            "UPDATE archive SET body_to = 16",
            "UPDATE fact SET body = x'' WHERE seq BETWEEN 1 AND 15",
        ], [], 0,
    ),
    "bodies lost": (
        [
            "UPDATE archive SET body_to = 16",
            "UPDATE fact SET body = x'' WHERE seq BETWEEN 1 AND 15",
        ], ["archive/tile/entries/002.gz"], 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", VERDICTS)
def test_the_vectors_have_the_verdicts_of_their_table(
    tmp_path: Path, stand_alone: Any, name: str
) -> None:
    """Whoever writes another verifier has nothing else to go by."""
    statements, files, verdict = VERDICTS[name]
    copy = Path(shutil.copytree(VECTORS / "house", tmp_path / "house"))
    _change(copy, *statements)
    for file in files:
        (copy / file).unlink()
    key = (VECTORS / "key").read_text(encoding="utf-8").strip()

    code, said = stand_alone.ledger(copy, VECTORS / "house/marks/checkpoint", keys=[key])

    assert code == verdict, said


def test_the_receipt_of_the_vectors_is_proven_for_its_fact_alone(
    tmp_path: Path, stand_alone: Any
) -> None:
    """Not for another fact, not with another byte, not under another key."""
    key = f"--key={(VECTORS / 'key').read_text(encoding='utf-8').strip()}"
    other = f"--key={Signer('k', bytes(32)).verifier.dump()}"
    fact, receipt = (VECTORS / "fact").read_bytes(), (VECTORS / "receipt").read_bytes()
    judged: list[tuple[int, str]] = []
    for said, text, with_key in (
        (fact, receipt, key), (fact + b" ", receipt, key), (fact, receipt, other),
        (fact, receipt.replace(b"index 16", b"index 17"), key),
        (fact, receipt.replace(b"\n30\n", b"\n31\n"), key),
        (fact, receipt.replace(b"2ds7", b"3ds7"), key), (fact, b"c2sp.org" + receipt, key),
    ):  # fmt: skip
        (tmp_path / "fact").write_bytes(said)
        (tmp_path / "receipt").write_bytes(text)
        judged.append(
            stand_alone.judge("receipt", tmp_path / "receipt", tmp_path / "fact", with_key)
        )

    assert [code for code, _ in judged] == [0, 4, 4, 4, 4, 4, 4], judged
