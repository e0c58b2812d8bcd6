"""A check compares the ledger with what was signed, and with what is known from outside."""

import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from tildawn.clock import SystemClock
from tildawn.errors import BadValue
from tildawn.ids import Ids
from tildawn.ledger.checkpoint import Checkpoint, origin_of, parse_checkpoint
from tildawn.ledger.expectation import Outside, Worded, signed_by
from tildawn.ledger.note import Note, Signer, parse_note
from tildawn.ledger.rotation import rotate_key
from tildawn.ledger.verdict import State, Verdict
from tildawn.ledger.words import parse_words, words_of
from tildawn.testing.notebook import PROJECTIONS, SIGNED, note, open_notebook, verify_notebook


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A closed house with checkpoints of several windows, under two keys."""
    folder = tmp_path / "house"
    with open_notebook(folder, projections=SIGNED) as ledger:
        for begin in range(0, 2_500, 500):
            ledger.append_now([note(ledger, begin + key) for key in range(500)])
            ledger.checkpoint()
        rotate_key(ledger, "", ids=Ids(SystemClock()))
        ledger.append_now([note(ledger, 9_000)])
    return folder


def _check(folder: Path, **options: Any) -> Verdict:
    arguments: dict[str, Any] = {"projections": SIGNED} | options
    return verify_notebook(folder, **arguments)


def _second(folder: Path) -> Note:
    return parse_note((folder / "marks" / "checkpoint").read_text())


def _change(folder: Path, *statements: tuple[str, Sequence[Any]]) -> None:
    with closing(apsw.Connection(str(folder / "ledger.db"))) as database:
        sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
        triggers = database.execute(sql).fetchall()
        for name, _ in triggers:
            database.execute(f"DROP TRIGGER {name}")
        for statement, values in statements:
            database.execute(statement, tuple(values))
        for _, made in triggers:
            database.execute(str(made))


def _stored(folder: Path) -> list[tuple[int, str]]:
    with closing(apsw.Connection(str(folder / "ledger.db"))) as database:
        found = database.execute("SELECT size, note FROM checkpoint ORDER BY size").fetchall()
    return [(int(str(size)), str(text)) for size, text in found]


def test_a_sealed_ledger_is_proven(folder: Path) -> None:
    """Every stored signature holds, under the key of its size."""
    verdict = _check(folder)

    assert (verdict.state, verdict.what) == (State.PROVEN, "")
    assert verdict.sealed == verdict.size
    assert verdict.origin == parse_checkpoint(_second(folder).text).origin
    assert _check(folder, hashes_only=True).state is State.PROVEN


def test_a_missing_seal_is_never_proven(folder: Path) -> None:
    """Whoever makes every hash anew only has to take the seals away: that must not be enough."""
    place = folder / "marks" / "checkpoint"
    content = place.read_bytes()

    place.unlink()
    for options in ({}, {"hashes_only": True}):
        verdict = _check(folder, **options)
        assert (verdict.exit_code, "is missing" in verdict.what) == (3, True)
    place.write_bytes(content)
    newest = _stored(folder)[-1][0]
    _change(folder, ("DELETE FROM checkpoint WHERE size = ?", [newest]))
    verdict = _check(folder)
    assert (verdict.exit_code, "missing in the database" in verdict.what) == (3, True)
    place.unlink()
    _change(folder, ("DELETE FROM checkpoint", []))
    verdict = _check(folder)
    assert (verdict.exit_code, "nothing seals this ledger" in verdict.what) == (3, True)


def test_a_house_from_before_is_not_proven_but_not_broken(tmp_path: Path) -> None:
    """It has no seal yet; its next opening to write makes one."""
    with open_notebook(tmp_path / "old", projections=PROJECTIONS) as ledger:
        ledger.append_now([note(ledger, 1)])

    verdict = _check(tmp_path / "old", hashes_only=True)

    assert (verdict.exit_code, "it names no key" in verdict.what) == (3, True)


def test_a_forged_seal_is_found_and_located(folder: Path) -> None:
    """Another root, another key, no signature, another size: each is said with its place."""
    (first, text), *_ = _stored(folder)
    ours = parse_checkpoint(parse_note(text).text)
    foreign = Signer(ours.origin, bytes(32))
    newest = Signer(ours.origin, bytes.fromhex((folder / "keys" / "signing.key").read_text()))
    keep = folder.with_name("keep")
    shutil.copytree(folder, keep)

    for forged, said in (
        (ours.sign([foreign]).dump(), "signed this checkpoint"),
        # The new key has no word about the time of the old one.
        (ours.sign([newest]).dump(), "signed this checkpoint"),
        (text.replace(ours.text, Checkpoint(ours.origin, first, bytes(32)).text), "not one of"),
        (ours.text, "is damaged"),
        (_stored(folder)[1][1], "was signed over"),
        (text.replace(ours.origin, "tildawn/elsewhere"), "of another log"),
    ):
        _change(folder, ("UPDATE checkpoint SET note = ? WHERE size = ?", [forged, first]))
        verdict = _check(folder)
        assert (verdict.state, verdict.seq) == (State.BROKEN, 0), said
        assert said in verdict.what
        shutil.rmtree(folder)
        shutil.copytree(keep, folder)


def test_a_second_place_that_contradicts_is_found(folder: Path) -> None:
    """Newer than the ledger, another root, or no checkpoint at all."""
    ours = parse_checkpoint(_second(folder).text)
    signer = Signer(ours.origin, bytes.fromhex((folder / "keys" / "signing.key").read_text()))
    place = folder / "marks" / "checkpoint"

    for planted, said in (
        (Checkpoint(ours.origin, ours.size + 1, ours.root).sign([signer]).dump(), "cut off"),
        (Checkpoint(ours.origin, ours.size, bytes(32)).sign([signer]).dump(), "another root"),
        (ours.text, "cannot be used"),
    ):
        place.write_text(planted)
        verdict = _check(folder)
        assert verdict.exit_code == 4, said
        assert said in verdict.what


def test_an_outside_checkpoint_shows_what_the_house_cannot(folder: Path, tmp_path: Path) -> None:
    """An old copy of the whole house is honest in itself; the note kept elsewhere is longer."""
    shutil.copytree(folder, tmp_path / "old")
    with open_notebook(folder, projections=SIGNED) as ledger:
        ledger.append_now([note(ledger, 9_999)])
    kept = signed_by("the note", _second(folder))

    assert _check(folder, outside=Outside(expected=(kept,))).state is State.PROVEN
    assert _check(tmp_path / "old").state is State.PROVEN
    verdict = _check(tmp_path / "old", outside=Outside(expected=(kept,)))
    assert (verdict.exit_code, "cut off or rolled back" in verdict.what) == (4, True)


def test_a_house_signed_anew_is_found_by_its_key(folder: Path, tmp_path: Path) -> None:
    """Somebody who makes all anew has another key; only an outside key or note tells."""
    with open_notebook(tmp_path / "forged", projections=SIGNED) as ledger:
        ledger.append_now([note(ledger, 1)])
    forged = tmp_path / "forged"
    real = signed_by("the note", _second(folder))
    key = Signer(
        parse_checkpoint(_second(folder).text).origin,
        bytes.fromhex((folder / "keys" / "signing.key").read_text()),
    ).verifier

    assert _check(forged).state is State.PROVEN
    assert _check(forged, outside=Outside(expected=(real,))).exit_code == 4
    assert _check(forged, outside=Outside(keys=(key,))).exit_code == 4
    assert _check(folder, outside=Outside(keys=(key,))).state is State.PROVEN


def test_a_quick_check_begins_where_the_last_one_ended(folder: Path) -> None:
    """It finds what came after; what was before it trusts, and says no more than that."""
    before = _check(folder).verified
    assert before is not None
    with open_notebook(folder, projections=SIGNED) as ledger:
        ledger.append_now([note(ledger, 9_500 + key) for key in range(50)])
        size = ledger.next_seq
    _change(folder, ("UPDATE fact SET body = x'7b7d' WHERE seq = 7", []))

    quick = _check(folder, since=before)
    assert (quick.state, quick.size > size, quick.sealed) == (State.PROVEN, True, quick.size)
    assert _check(folder).seq == 7
    _change(folder, ("UPDATE fact SET body = x'7b7d' WHERE seq = ?", [size - 3]))
    assert _check(folder, since=before).seq == size - 3
    kept = signed_by("the note", parse_note(_stored(folder)[0][1]))
    wrong = Worded("the words", parse_words(" ".join(words_of(Checkpoint("x", 9, bytes(32))))))
    verdict = _check(folder, since=before, outside=Outside(expected=(kept, wrong)))
    assert "another ledger of 9 facts" in verdict.what


def test_a_quick_check_notices_another_past(folder: Path, tmp_path: Path) -> None:
    """Its beginning must be a state that this ledger had."""
    before = _check(folder).verified
    assert before is not None
    with open_notebook(tmp_path / "other", projections=SIGNED) as ledger:
        ledger.append_now([note(ledger, 1)])

    verdict = _check(tmp_path / "other", since=before)

    assert (verdict.exit_code, "proven before" in verdict.what) == (4, True)


def test_words_hold_for_their_ledger_alone(folder: Path) -> None:
    """Kept on paper, they find a ledger that was made anew, cut off, or is another one."""
    ours = parse_checkpoint(_second(folder).text)
    words = words_of(ours)
    size, text = _stored(folder)[0]
    older = parse_checkpoint(parse_note(text).text)
    assert len(words) == 12

    for kept, code in (
        (ours, 0), (older, 0), (Checkpoint(ours.origin, size, bytes(32)), 4),
        (Checkpoint(ours.origin, ours.size + 1, ours.root), 4),
        (Checkpoint(origin_of("elsewhere"), ours.size, ours.root), 4),
    ):  # fmt: skip
        expected = Worded("the words", parse_words(" ".join(words_of(kept)).upper()))
        assert _check(folder, outside=Outside(expected=(expected,))).exit_code == code


def test_words_written_down_wrongly_are_no_alarm() -> None:
    """A slip of the pen must not look like a broken ledger."""
    words = list(words_of(Checkpoint("tildawn/a", 1_234, bytes(range(32)))))
    short = " ".join(word[:4] for word in words)

    assert parse_words(short) == parse_words(", ".join(words))
    for wrong in (
        words[:11],
        [*words, "zoo"],
        ["tildawn", *words[1:]],
        [words[1], words[0], *words[2:]],
    ):
        with pytest.raises(BadValue):
            parse_words(" ".join(wrong))
    with pytest.raises(BadValue, match="has no words"):
        words_of(Checkpoint("tildawn/a", 2**32, bytes(32)))


def test_the_published_words() -> None:
    """The example of the specification; the list is the one that everybody has."""
    checkpoint = Checkpoint("tildawn/0198c5f0", 1_024, bytes(range(32)))

    assert " ".join(words_of(checkpoint)) == (
        "abandon ability ability dice gift burger glory system ethics pact owner surprise"
    )
