"""A second copy: each way in which one can be lost, behind, ahead or contradict the other.

What it is not: faults while it is written; test_mirror_faults.py has those.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tildawn.errors import LedgerBroken
from tildawn.facts.mirror import MirrorJoined, MirrorLost, MirrorPrevailed
from tildawn.ledger import mirror as mirrors
from tildawn.ledger import shelf as shelves
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.mirror import State, Wish
from tildawn.ledger.shelf import Shelf
from tildawn.testing.mirror import LONG, audit, fill, mirror_of, notes, said
from tildawn.testing.notebook import Note, Noted, note, open_notebook


Open = Callable[..., Ledger]


# --- the two copies are one ---------------------------------------------------------------


@pytest.mark.parametrize("mode", ["async", "sync-degrade"])
def test_the_mirror_has_everything_that_the_database_has(
    mirrored: Open, folder: Path, copy: Path, mode: str
) -> None:
    """Facts, payloads short and long, blobs and their uses: all but the keys."""
    with mirrored(mode) as ledger:
        fill(ledger, 1, 2, 3)
        fill(ledger, 4, text=LONG)
        blob = ledger.blobs.put(b"picture")
        ledger.append_now([ledger.draft(Noted(key=9), run="r", blobs=[blob])])
    assert audit(folder, copy) == []
    with mirrored(mode) as ledger:
        fill(ledger, 5)
    assert audit(folder, copy) == []
    assert said(folder, MirrorLost) == []


def test_an_answer_means_that_both_copies_have_the_fact(mirrored: Open, copy: Path) -> None:
    """An answer that comes before the mirror's sync is no second copy."""
    ledger = mirrored()
    for key in range(5):
        fill(ledger, key)
        assert Shelf(copy).find_end().size == ledger.next_seq
    assert mirror_of(ledger).state is State.IN_STEP


def test_a_commit_without_facts_goes_past_the_mirror(
    mirrored: Open, folder: Path, copy: Path
) -> None:
    """Checkpoints and the cutting of a log are commits too, and no fact goes with them."""
    ledger = mirrored()
    fill(ledger, 1)
    ledger.scrub()
    fill(ledger, 2)
    ledger.close()
    assert audit(folder, copy) == []


def test_files_end_at_their_number_of_facts(
    mirrored: Open, folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An erasure must not have to rewrite the whole history."""
    monkeypatch.setattr(shelves, "FILE_FACTS", 10)
    for turn in range(3):
        with mirrored() as ledger:
            for key in range(12):
                fill(ledger, turn * 12 + key)
    assert len(list(copy.glob("*.frames"))) >= 4
    assert audit(folder, copy) == []


def test_a_house_without_a_mirror_hands_nothing_over(ledger: Ledger) -> None:
    """What is off costs nothing."""
    fill(ledger, 1)
    store = ledger._opened.store
    assert ledger.mirror is None
    assert store is not None
    assert store.twin is None
    assert store._written == []


# --- opening ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["async", "sync-degrade"])
def test_a_mirror_that_is_behind_catches_up(
    mirrored: Open, house: Open, folder: Path, copy: Path, mode: str
) -> None:
    """Whoever worked without it, or a kill in between, leaves it behind by any amount."""
    with mirrored(mode) as ledger:
        fill(ledger, 1)
    had = Shelf(copy).find_end().size
    with house() as ledger:
        fill(ledger, 2, 3)
        fill(ledger, 4, text=LONG)
    with house(mode="read") as ledger:
        has = ledger.next_seq
    with mirrored(mode):
        pass
    assert audit(folder, copy) == []
    assert [one.behind for one in said(folder, MirrorJoined)] == [has - had]


def test_a_long_way_behind_is_caught_up_in_turns(
    mirrored: Open, house: Open, folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening must not wait for a million facts; a commit closes the last gap."""
    monkeypatch.setattr(mirrors, "NEAR_FACTS", 3)
    monkeypatch.setattr(mirrors, "CHUNK_FACTS", 2)
    with house() as ledger:
        fill(ledger, *range(20))
    ledger = mirrored()
    assert mirror_of(ledger).state is State.BEHIND
    fill(ledger, 20)
    mirror_of(ledger).turn()
    fill(ledger, 21)
    assert mirror_of(ledger).state is State.IN_STEP
    ledger.close()
    assert audit(folder, copy) == []
    assert len(said(folder, MirrorJoined)) == 1


def test_a_mirror_that_was_emptied_is_filled_again(
    mirrored: Open, folder: Path, copy: Path
) -> None:
    """The database has everything; the record says that for a while nothing else had."""
    with mirrored() as ledger:
        fill(ledger, 1, 2)
    for path in copy.iterdir():
        path.unlink()
    with mirrored():
        pass
    assert audit(folder, copy) == []
    assert len(said(folder, MirrorJoined)) == 1


def test_facts_that_only_the_mirror_has_come_back(
    mirrored: Open, folder: Path, copy: Path, tmp_path: Path
) -> None:
    """A disk that lied about its syncs loses many batches; the longer valid side wins."""
    with mirrored() as ledger:
        fill(ledger, 1)
    shutil.copy(folder / "ledger.db", tmp_path / "old.db")
    old, epoch = Shelf(copy).find_end().size, 0
    for turn in range(2):
        with mirrored() as ledger:
            fill(ledger, 10 * turn + 2, 10 * turn + 3)
            fill(ledger, 10 * turn + 4, text=LONG)
            blob = ledger.blobs.put(b"picture %d" % turn)
            ledger.append_now([ledger.draft(Noted(key=90 + turn), run="r", blobs=[blob])])
            epoch = ledger.epoch
    shutil.copy(tmp_path / "old.db", folder / "ledger.db")
    shutil.rmtree(folder / "blobs")
    more = Shelf(copy).find_end().size - old
    with mirrored() as ledger:
        assert ledger.epoch == epoch + 1
        assert not ledger.unclean
        with ledger.read() as reader:
            assert sorted(row.key for row in reader.rows(Note)) == [1, 2, 3, 4, 12, 13, 14, 90, 91]
        fill(ledger, 99)
    assert audit(folder, copy) == []
    assert [one.count for one in said(folder, MirrorPrevailed)] == [more]


def test_a_long_tail_comes_back_in_bounded_memory(
    mirrored: Open, folder: Path, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part is a transaction of its own, and epochs follow."""
    monkeypatch.setattr("tildawn.ledger.reunion.TAKE_FACTS", 3)
    with mirrored() as ledger:
        fill(ledger, 1)
    shutil.copy(folder / "ledger.db", tmp_path / "old.db")
    for key in range(2, 9):
        with mirrored() as ledger:
            fill(ledger, key)
    shutil.copy(tmp_path / "old.db", folder / "ledger.db")
    with mirrored():
        pass
    assert notes(folder) == list(range(1, 9))
    assert audit(folder, copy) == []


def test_copies_that_contradict_each_other_stop_the_house(
    mirrored: Open, house: Open, folder: Path, copy: Path, tmp_path: Path
) -> None:
    """Which of two histories is true only a person can say."""
    with mirrored() as ledger:
        fill(ledger, 1)
        split = ledger.next_seq + 1  # behind the pen laid down
    shutil.copy(folder / "ledger.db", tmp_path / "old.db")
    with mirrored() as ledger:
        fill(ledger, 2)
        theirs = ledger.head().root
    shutil.copy(tmp_path / "old.db", folder / "ledger.db")
    with house() as ledger:
        fill(ledger, 3, 4, 5)
    before = {path: path.read_bytes() for path in copy.glob("*.frames")}
    with pytest.raises(LedgerBroken) as caught:
        mirrored()
    # The clock stands still, so that pen taken and tail verified are the same in both.
    assert caught.value.fields["seq"] == split + 2
    assert f"fact {split + 2} " in caught.value.message
    assert caught.value.message.count(" root ") == 2
    assert theirs not in caught.value.message  # that root is one fact older
    assert "stop and ask" in (caught.value.hint or "")
    assert {path: path.read_bytes() for path in copy.glob("*.frames")} == before
    with house() as ledger:
        fill(ledger, 6)


def test_the_mirror_of_another_house_is_refused(
    mirrored: Open, folder: Path, copy: Path, tmp_path: Path
) -> None:
    """Two houses in one folder would overwrite each other."""
    with mirrored() as ledger:
        fill(ledger, 1)
    wish = Wish(mode="sync-degrade", folder=copy)
    with pytest.raises(LedgerBroken):
        open_notebook(tmp_path / "other", mirror=wish)
    with open_notebook(tmp_path / "third") as other:
        other.append_now([note(other, 1)])
    with pytest.raises(LedgerBroken):
        open_notebook(tmp_path / "third", mirror=wish)
    with mirrored():
        pass
    assert audit(folder, copy) == []


def test_a_lost_database_is_never_replaced_silently(
    mirrored: Open, folder: Path, copy: Path
) -> None:
    """A new beginning under an old name, or an old copy as the new one, is for a person."""
    with mirrored() as ledger:
        fill(ledger, 1)
    (folder / "ledger.db").unlink()
    with pytest.raises(LedgerBroken) as caught:
        mirrored()
    assert "tildawn mirror recover" in (caught.value.hint or "")
    assert not (folder / "ledger.db").exists()
    (folder / "marks" / "founded").unlink()
    with pytest.raises(LedgerBroken) as caught:
        mirrored()
    assert "tildawn mirror recover" in (caught.value.hint or "")


def test_a_torn_batch_at_the_end_is_cut_at_each_of_its_bytes(
    mirrored: Open, house: Open, folder: Path, copy: Path
) -> None:
    """A batch without its seal was never answered for, and half an append is none."""
    with mirrored() as ledger:
        fill(ledger, 1)
        end = Shelf(copy).find_end()
    mirrored().close()
    path = copy / "000000000000.frames"
    whole = path.read_bytes()
    for cut in range(end.offset, len(whole)):
        path.write_bytes(whole[:cut])
        (copy / "tail").unlink(missing_ok=True)
        found = Shelf(copy).find_end()
        assert found.size >= end.size
        assert found.offset + found.torn == cut
    # The last one goes through a whole opening.
    with mirrored() as ledger:
        fill(ledger, 2)
    assert audit(folder, copy) == []


def test_a_torn_end_that_nobody_else_has_is_put_aside(
    mirrored: Open, folder: Path, copy: Path, tmp_path: Path
) -> None:
    """When the database lacks even what is whole, the torn part may have been answered for."""
    with mirrored() as ledger:
        fill(ledger, 1)
    shutil.copy(folder / "ledger.db", tmp_path / "old.db")
    with mirrored() as ledger:
        fill(ledger, 2)
    path = copy / "000000000000.frames"
    (copy / "tail").unlink()
    path.write_bytes(path.read_bytes()[:-3])
    shutil.copy(tmp_path / "old.db", folder / "ledger.db")
    with mirrored():
        pass
    assert notes(folder) == [1, 2]
    assert len(list(copy.glob("torn-*"))) == 1
    assert audit(folder, copy) == []


def test_damage_in_what_was_promised_heals_from_the_database_or_stops(
    mirrored: Open, folder: Path, copy: Path, tmp_path: Path
) -> None:
    """A cut that reaches below the noted end is damage; with both copies short nobody may go on."""
    with mirrored() as ledger:
        fill(ledger, 1)
    shutil.copy(folder / "ledger.db", tmp_path / "old.db")
    with mirrored() as ledger:
        fill(ledger, 2)
        fill(ledger, 3)
    path = copy / "000000000000.frames"
    whole, tail = path.read_bytes(), (copy / "tail").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with mirrored():
        pass
    assert audit(folder, copy) == []
    path.write_bytes(whole[:-300])
    (copy / "tail").write_bytes(tail)
    shutil.copy(tmp_path / "old.db", folder / "ledger.db")
    with pytest.raises(LedgerBroken):
        mirrored()
