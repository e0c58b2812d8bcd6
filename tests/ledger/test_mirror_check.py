"""Comparing a house with its mirror, and making a lost house anew from it.

What it is not: what opening makes of a mirror; test_mirror.py has that.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tildawn.clock import SystemClock
from tildawn.errors import HouseUnusable, LedgerBroken
from tildawn.ledger import shelf as shelves
from tildawn.ledger.layout import Layout
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.likeness import compare, standing
from tildawn.ledger.mirror import Mode, Wish
from tildawn.ledger.recovery import Recovered, recover
from tildawn.ledger.shelf import Shelf
from tildawn.testing.mirror import LONG, audit, fill, notes, read_frames
from tildawn.testing.notebook import (
    PROJECTIONS,
    REGISTRY,
    SIGNED,
    Noted,
    open_notebook,
    verify_notebook,
)


Open = Callable[..., Ledger]


def _compare(folder: Path, copy: Path, mode: Mode = "sync-degrade") -> tuple[int, int | None]:
    found = compare(Layout(folder), Wish(mode=mode, folder=copy))
    return found.exit_code, found.seq


def _recover(folder: Path, copy: Path) -> Recovered:
    return recover(
        folder, copy, registry=REGISTRY, projections=PROJECTIONS, clock=SystemClock(), build="test"
    )


@pytest.fixture
def filled(mirrored: Open, folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A closed house with three files of frames, payloads and blobs."""
    monkeypatch.setattr(shelves, "FILE_FACTS", 12)
    with mirrored() as ledger:
        for key in range(20):
            fill(ledger, key, text=f'"t{key}"')
        fill(ledger, 30, text=LONG)
        blob = ledger.blobs.put(b"picture")
        ledger.append_now([ledger.draft(Noted(key=31), run="r", blobs=[blob])])
    assert len(Shelf(copy).files()) >= 2
    return folder


def test_a_mirror_that_is_whole_compares_as_the_same(filled: Path, copy: Path) -> None:
    """What opening only believes is read here from the first byte."""
    assert _compare(filled, copy) == (0, None)


def test_a_changed_byte_of_a_mirror_is_found_wherever_it_stands(filled: Path, copy: Path) -> None:
    """Some forty bytes of each file, from its first line on."""
    for path in sorted(copy.glob("*.frames")):
        whole = path.read_bytes()
        for at in range(0, len(whole), max(1, len(whole) // 40)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            assert _compare(filled, copy)[0] != 0, f"byte {at} of {path.name}"
        path.write_bytes(whole)
    assert _compare(filled, copy) == (0, None)


def test_a_changed_payload_or_blob_of_the_mirror_is_named(filled: Path, copy: Path) -> None:
    """Also one whose seal was made anew."""
    kept = {place: row for place, row in read_frames(copy)[1].items() if row[1] == b'"t3"'}
    [place] = kept
    before = {path: path.read_bytes() for path in copy.glob("*.frames")}
    assert Shelf(copy).forget([place], (), erased=9) == 1
    assert _compare(filled, copy) == (4, place // 8)
    for path, content in before.items():
        path.write_bytes(content)
    assert _compare(filled, copy) == (0, None)
    blob = next((copy / "blobs").glob("??/*"))
    blob.write_bytes(b"another")
    assert _compare(filled, copy)[0] == 4


def test_a_mirror_that_lacks_facts_or_is_gone_proves_nothing(
    filled: Path, house: Open, copy: Path
) -> None:
    """Missing is never fine, except for the lag that a follower may have."""
    with house() as ledger:
        fill(ledger, 50)
    assert _compare(filled, copy)[0] == 3
    assert _compare(filled, copy, "async")[0] == 0
    assert standing(Layout(filled), Wish(mode="async", folder=copy)).behind > 0
    shutil.rmtree(copy)
    assert _compare(filled, copy)[0] == 3
    assert not standing(Layout(filled), Wish(mode="async", folder=copy)).reached
    copy.mkdir()
    assert _compare(filled, copy)[0] == 3


def test_a_lost_database_is_made_anew_and_proven(filled: Path, mirrored: Open, copy: Path) -> None:
    """Every fact, payload, blob and table; only the keys must come from elsewhere."""
    had, root = notes(filled), verify_notebook(filled).root
    (filled / "ledger.db").unlink()
    shutil.rmtree(filled / "blobs")
    # A log of the lost database must not be applied to the new one.
    (filled / "ledger.db-wal").write_bytes(b"old")
    made = _recover(filled, copy)
    assert made.root == root
    assert notes(filled) == had
    assert audit(filled, copy) == []
    with mirrored() as ledger:
        assert not ledger.unclean
        fill(ledger, 60)
    assert audit(filled, copy) == []


def test_a_machine_that_burnt_is_made_anew_from_mirror_and_keys(
    filled: Path, mirrored: Open, copy: Path, tmp_path: Path
) -> None:
    """Nothing of the old folder is needed but the keys."""
    shutil.copytree(filled / "keys", tmp_path / "keys")
    had = notes(filled)
    shutil.rmtree(filled)
    _recover(filled, copy)
    shutil.copytree(tmp_path / "keys", filled / "keys")
    mirrored().close()
    assert notes(filled) == had


def test_a_machine_that_burnt_is_sealed_again_by_its_key(
    mirrored: Open, folder: Path, copy: Path, tmp_path: Path
) -> None:
    """A mirror has no checkpoints; without one, a ledger that was signed is not opened to write."""
    with mirrored(projections=SIGNED) as ledger:
        fill(ledger, 1)
    shutil.copytree(folder / "keys", tmp_path / "keys")
    shutil.rmtree(folder)
    folder.mkdir()
    shutil.copytree(tmp_path / "keys", folder / "keys")

    recover(folder, copy, registry=REGISTRY, projections=SIGNED, clock=SystemClock(), build="test")

    with mirrored(projections=SIGNED) as ledger:
        fill(ledger, 2)
    assert verify_notebook(folder, projections=SIGNED).exit_code == 0


def test_a_database_that_is_there_is_never_replaced(filled: Path, copy: Path) -> None:
    """Whoever types the command in the wrong folder loses nothing."""
    before = (filled / "ledger.db").read_bytes()
    with pytest.raises(HouseUnusable):
        _recover(filled, copy)
    assert (filled / "ledger.db").read_bytes() == before


@pytest.mark.parametrize("file", [0, 1])
def test_a_damaged_mirror_makes_no_database(filled: Path, copy: Path, file: int) -> None:
    """Half a history must not look like a whole one."""
    path = sorted(copy.glob("*.frames"))[file]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + b"\x00" + whole[len(whole) // 2 + 1 :])
    (filled / "ledger.db").unlink()
    with pytest.raises(LedgerBroken):
        _recover(filled, copy)
    assert not (filled / "ledger.db").exists()


def test_the_mirror_of_another_house_makes_no_database(
    filled: Path, copy: Path, tmp_path: Path
) -> None:
    """The mark in the house says whose it was."""
    with open_notebook(tmp_path / "other"):
        pass
    (tmp_path / "other" / "ledger.db").unlink()
    with pytest.raises(LedgerBroken):
        _recover(tmp_path / "other", copy)
    (tmp_path / "empty").mkdir()
    with pytest.raises(HouseUnusable):
        _recover(tmp_path / "other", tmp_path / "empty")
