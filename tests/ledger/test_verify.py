"""Proof and disproof: what verify finds, and that it never trusts or crashes.

What it is not: opening; that checks only the tail.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import apsw
import msgspec
import pytest

from tildawn.errors import PayloadErased, UnknownName
from tildawn.facts import house as kinds
from tildawn.facts.fact import Registry
from tildawn.ledger.chain import leaf_of
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.verdict import State
from tildawn.ledger.verify import verify
from tildawn.testing import bugs
from tildawn.testing.notebook import (
    PROJECTIONS,
    REGISTRY,
    SIGNED,
    Seated,
    Struck,
    note,
    open_notebook,
    verify_notebook,
)
from tildawn.units import Seq


Open = Callable[..., Ledger]


@pytest.fixture
def written(house: Open, folder: Path) -> Path:
    """A closed house with facts, payloads, a blob, and rows in every table."""
    ledger = house()
    for key in range(30):
        ledger.append_now([note(ledger, key, run=f"{key % 3:032x}", text=f'"text {key}"')])
    ledger.append_now([note(ledger, 99, run="r", text='"' + "long " * 20_000 + '"')])
    ledger.append_now([ledger.draft(Seated(who="a")), ledger.draft(Struck(key=3), run="0" * 32)])
    ledger.close()
    return folder


def _change(folder: Path, *statements: str) -> None:
    database = apsw.Connection(str(folder / "ledger.db"))
    triggers = database.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'fact'"
    ).fetchall()
    for name, _ in triggers:
        database.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        database.execute(statement)
    # Put the triggers back, as somebody who hides a change would.
    for _, sql in triggers:
        database.execute(str(sql))
    database.close()


def test_an_honest_ledger_is_proven(written: Path) -> None:
    """With the size and the hashes that the head says."""
    verdict = verify_notebook(written)

    assert (verdict.state, verdict.what, verdict.exit_code) == (State.PROVEN, "", 0)
    with open_notebook(written, mode="read") as ledger:
        head = ledger.head()
    assert (verdict.size, verdict.chain, verdict.root) == (head.size, head.chain, head.root)


def test_a_ledger_is_proven_while_it_is_written(ledger: Ledger, folder: Path) -> None:
    """The proof must not need the night to stop."""
    ledger.append_now([note(ledger, key, run="r") for key in range(100)])

    verdict = verify_notebook(folder)

    assert verdict.state is State.PROVEN
    assert verdict.size == ledger.next_seq


def test_only_hashes_can_be_asked_for(written: Path) -> None:
    """The quick proof of a large house."""
    assert verify_notebook(written, hashes_only=True).state is State.PROVEN


TAMPERED: dict[str, tuple[list[str], int | None, str]] = {
    "an edited body": (
        ["UPDATE fact SET body = CAST(replace(body, '\"key\":5', '\"key\":6') AS BLOB) WHERE seq = 7"], 7, "leaf",
    ),
    "an edited leaf": (["UPDATE fact SET leaf = zeroblob(32) WHERE seq = 7"], 7, "leaf"),
    "a fact taken out": (["DELETE FROM fact WHERE seq = 9"], 9, "missing"),
    "the last fact taken out": (["DELETE FROM fact WHERE seq = 35"], 35, "head"),
    "two facts exchanged": (
        [
            "UPDATE fact SET seq = -1 WHERE seq = 4", "UPDATE fact SET seq = 4 WHERE seq = 5",
            "UPDATE fact SET seq = 5 WHERE seq = -1",
        ], 4, "payload",
    ),
    "a fact added": (["INSERT INTO fact SELECT 36, leaf, body FROM fact WHERE seq = 5"], 36, "payload"),
    "another chain in the head": (["UPDATE head SET chain = zeroblob(32)"], 0, "hashes break"),
    "another frontier in the head": (
        ["UPDATE head SET frontier = zeroblob(length(frontier))"], 0, "hashes break",
    ),
    "another epoch": (["UPDATE head SET epoch = 7"], None, "epoch"),
    "no head": (["DELETE FROM head"], None, "no head"),
    "an edited payload": (["UPDATE payload SET text = CAST('\"lies\"' AS BLOB) WHERE id = 56"], 7, "recorded"),
    "another salt": (["UPDATE payload SET salt = zeroblob(16) WHERE id = 56"], 7, "recorded"),
    "a payload taken out": (["DELETE FROM payload WHERE id = 56"], 7, "missing"),
    "a payload gone without a word": (
        ["UPDATE payload SET text = NULL, salt = NULL WHERE id = 56"], 7, "erased",
    ),
    "a payload gone with a wrong word": (
        ["UPDATE payload SET text = NULL, salt = NULL, erased = 8 WHERE id = 56"], 7, "erased",
    ),
    "a payload erased, and there": (["UPDATE payload SET erased = 30 WHERE id = 56"], 7, "erased"),
    "a payload there twice": (["UPDATE payload SET blob = 'ab' WHERE id = 56"], 7, "twice"),
    "a payload nobody names": (["INSERT INTO payload VALUES (57, x'00', x'00', NULL, NULL)"], 7, "slot 1"),
    "a payload behind the end": (
        ["INSERT INTO payload VALUES (9999, x'00', x'00', NULL, NULL)"], 36, "payload",
    ),
    "a run's index cut": (["DELETE FROM run_fact WHERE seq = 7"], None, "index of runs"),
    "a run's index moved": (["UPDATE run_fact SET run = x'00' WHERE seq = 7"], None, "index of runs"),
    "a kind forgotten": (["DELETE FROM kind WHERE name = 'Noted'"], None, "kinds"),
    "a settled point that never was": (
        ["UPDATE verified SET chain = zeroblob(32)"], 2, "settled",
    ),
    "a mark that never was": (["INSERT INTO mark VALUES (1024, zeroblob(32), x'')"], None, "marks"),
    "a row of a projection": (["UPDATE total SET amount = amount + 1"], None, "projections"),
    "a row too many": (["INSERT INTO seat VALUES ('b', 0, 1)"], None, "projections"),
    "a row too few": (["DELETE FROM note WHERE key = 7"], None, "projections"),
    "an index that is gone": (["DROP INDEX seat_one"], None, "index"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(TAMPERED))
def test_every_kind_of_tampering_is_found_and_located(written: Path, name: str) -> None:
    """Broken means: says where, and what."""
    statements, seq, what = TAMPERED[name]
    _change(written, *statements)

    verdict = verify_notebook(written)

    assert (verdict.state, verdict.exit_code) == (State.BROKEN, 4)
    assert what in verdict.what
    assert verdict.seq == seq


@pytest.mark.parametrize(
    ("name", "seq", "what"),
    [("two facts exchanged", 0, "hashes break"), ("a fact added", 36, "head")],
)
def test_the_hashes_alone_find_what_moves_facts(
    written: Path, name: str, seq: int, what: str
) -> None:
    """Whoever has no folds and no payloads can still check the order and the number of facts."""
    _change(written, *TAMPERED[name][0])

    verdict = verify_notebook(written, hashes_only=True)

    assert (verdict.state, verdict.seq) == (State.BROKEN, seq)
    assert what in verdict.what


def test_a_missing_trigger_is_found(written: Path) -> None:
    """Without it the file would no longer defend itself."""
    database = apsw.Connection(str(written / "ledger.db"))
    database.execute("DROP TRIGGER fact_never_goes")
    database.close()

    assert "trigger fact_never_goes" in verify_notebook(written).what


def test_differences_of_projections_are_readable(written: Path) -> None:
    """A person must see what the table says and what the facts say."""
    _change(
        written,
        "UPDATE total SET amount = 70 WHERE run = 'r'",
        "INSERT INTO seat VALUES ('b', 0, 1)",
    )

    assert verify_notebook(written).differences == (
        "total ('r',): amount is 70, the facts say 1",
        "seat ('b',): is in the table, and no fact makes it",
    )


def _everything(path: Path) -> list[Any]:
    """All that any statement could read from a database file."""
    database = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        schema = database.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"
        ).fetchall()
        tables = [name for kind, name, _, _ in schema if kind == "table"]
        return [schema, [database.execute(f"SELECT * FROM {name}").fetchall() for name in tables]]
    finally:
        database.close()


def test_a_flipped_bit_is_found_or_changes_nothing_that_can_be_read(
    written: Path, tmp_path: Path
) -> None:
    """Any single bit, anywhere in the file; unused bytes may change without harm."""
    path = written / "ledger.db"
    honest, content = _everything(path), path.read_bytes()
    rng = Random(20_261)
    found = 0
    for _ in range(400):
        at, bit = rng.randrange(len(content)), rng.randrange(8)
        flipped = bytearray(content)
        flipped[at] ^= 1 << bit
        path.write_bytes(flipped)
        verdict = verify_notebook(written)
        if verdict.state is State.PROVEN:
            assert _everything(path) == honest, f"byte {at} bit {bit}"
        else:
            found += 1
    # Most of a small file is unused, so not every flip can matter; enough of them must have.
    assert found >= 50


@pytest.mark.parametrize("at", range(0, 60_000, 3_001))
def test_a_truncated_file_is_broken_and_never_a_crash(written: Path, at: int) -> None:
    """Half a file is what a full disk or a bad copy leaves."""
    path = written / "ledger.db"
    os.truncate(path, min(at, path.stat().st_size - 1))

    assert verify_notebook(written).state is State.BROKEN


def test_a_missing_or_changed_blob_is_found(written: Path) -> None:
    """A long payload is as much on record as a short one."""
    [blob] = (written / "blobs").glob("??/*")
    blob.write_bytes(b"x" + blob.read_bytes()[1:])
    changed = verify_notebook(written)
    blob.unlink()
    missing = verify_notebook(written)

    assert (changed.state, missing.state) == (State.BROKEN, State.BROKEN)
    assert "does not hold" in changed.what
    assert "not there" in missing.what


def test_no_house_is_not_provable_and_not_broken(tmp_path: Path) -> None:
    """Missing is not fine, and it is not tampering either."""
    verdict = verify_notebook(tmp_path / "nowhere")

    assert (verdict.state, verdict.exit_code) == (State.NOT_PROVABLE, 3)


def test_facts_nobody_here_knows_are_not_provable(written: Path) -> None:
    """Their hashes hold, but what they mean cannot be compared with anything."""
    verdict = verify(written, registry=Registry(kinds.KINDS), projections=())

    assert verdict.state is State.NOT_PROVABLE
    assert "Noted v1" in verdict.what


@pytest.mark.parametrize("name", ["chain-forgets", "fold-skips"])
def test_a_planted_bug_of_the_writer_is_found(tmp_path: Path, name: str) -> None:
    """The check is worth what it can find; a writer with a bug is the likeliest forger."""
    with bugs.planted(name), open_notebook(tmp_path / "house") as ledger:
        ledger.append_now([note(ledger, key, run="r") for key in range(20)])

    assert verify_notebook(tmp_path / "house").state is State.BROKEN


def test_marks_locate_a_break_to_1024_facts(house: Open, folder: Path) -> None:
    """In a large ledger "somewhere" is no answer."""
    ledger = house()
    for at in range(3):
        ledger.append_now([note(ledger, at * 1_000 + key) for key in range(1_000)])
    ledger.close()
    _change(
        folder,
        "UPDATE mark SET chain = zeroblob(32) WHERE size = 2048",
    )

    verdict = verify_notebook(folder)

    assert (verdict.state, verdict.seq) == (State.BROKEN, 1_024)


def test_a_payload_says_whether_it_was_erased_or_never_there(written: Path) -> None:
    """Gone on purpose and never there are two answers to a person who asks."""
    _change(written, "UPDATE payload SET text = NULL, salt = NULL WHERE id = 56")

    with open_notebook(written, mode="read") as ledger, ledger.read() as reader:
        with pytest.raises(PayloadErased):
            reader.payload(Seq(7), 0)
        with pytest.raises(UnknownName):
            reader.payload(Seq(7), 1)
        assert reader.payload(Seq(8), 0) == b'"text 6"'


@pytest.mark.parametrize("kind", ["SigningKeyMade", "SegmentSealed", "Noted"])
@pytest.mark.parametrize("hashes_only", [True, False])
def test_a_body_that_is_no_text_is_broken_and_never_a_crash(
    house: Open, folder: Path, kind: str, hashes_only: bool
) -> None:
    """`tildawn verify` ended with a traceback over a fact that named a key in bytes of no text."""
    house(projections=SIGNED).close()
    body = b'{"at":1,"data":{"public":"\xff"},"kind":"%s","v":1}' % kind.encode()
    _change(
        folder,
        f"UPDATE fact SET body = x'{body.hex()}', leaf = x'{leaf_of(body).hex()}' WHERE seq = 2",
    )

    verdict = verify_notebook(folder, projections=SIGNED, hashes_only=hashes_only)

    assert verdict.state is State.BROKEN


def test_verify_changes_nothing(written: Path, tmp_path: Path) -> None:
    """Evidence that changes when looked at is none."""
    shutil.copytree(written, tmp_path / "copy")
    verify_notebook(written)

    assert (written / "ledger.db").read_bytes() == (tmp_path / "copy" / "ledger.db").read_bytes()


def test_the_folds_of_another_version_are_not_called_tampering(written: Path) -> None:
    """An upgrade that was not opened yet is missing work, and no crime."""
    newer = tuple(msgspec.structs.replace(one, version=2) for one in PROJECTIONS)
    verdict = verify(written, registry=REGISTRY, projections=newer)

    assert verdict.state is State.NOT_PROVABLE
