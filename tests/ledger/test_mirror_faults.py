"""A second copy whose disk fails, hangs, goes away; erasure; and where it may be.

What it is not: what opening makes of it; test_mirror.py has that.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tildawn.errors import HouseUnusable, StoreFull
from tildawn.facts.mirror import MirrorJoined, MirrorLost
from tildawn.ledger import mirror as mirrors
from tildawn.ledger import shelf as shelves
from tildawn.ledger.entry import Committed
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.mirror import State, Wish
from tildawn.ledger.request import Request
from tildawn.ledger.shelf import Shelf
from tildawn.testing.disk import Fault, FaultyDisk
from tildawn.testing.mirror import audit, fill, mirror_of, notes, read_frames, said
from tildawn.testing.notebook import Note, Seated, note
from tildawn.units import Seq


Open = Callable[..., Ledger]


# --- faults while running -----------------------------------------------------------------


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Errors of the mirror's own calls, by name: what is set here is raised."""
    faults: dict[str, int] = {}
    write, sync = os.write, shelves.sync

    def bad_write(handle: int, content: Any) -> int:
        number = faults.get("write", 0)
        if number and handle >= 0 and ".frames" in str(Path(f"/proc/self/fd/{handle}").readlink()):
            write(handle, bytes(content)[: len(content) // 2])
            raise OSError(number, os.strerror(number))
        return write(handle, content)

    def bad_sync(handle: int) -> None:
        if number := faults.get("sync", 0):
            raise OSError(number, os.strerror(number))
        sync(handle)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("the fault is put in by the names of open files, which only Linux tells")
    monkeypatch.setattr(shelves.os, "write", bad_write)
    monkeypatch.setattr(shelves, "sync", bad_sync)
    return faults


@pytest.mark.parametrize("call", ["write", "sync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_mirror_that_fails_is_told_once_and_comes_back_by_itself(
    mirrored: Open, folder: Path, copy: Path, failing: dict[str, int], call: str, number: int
) -> None:
    """The night goes on with one copy, says so, and has two again as soon as it can."""
    ledger = mirrored()
    fill(ledger, 1)
    failing[call] = number
    for key in range(2, 5):
        fill(ledger, key)
    mirror_of(ledger).turn()
    mirror_of(ledger).turn()
    assert mirror_of(ledger).state is State.LOST
    failing.clear()
    mirror_of(ledger).turn()
    fill(ledger, 5)
    assert mirror_of(ledger).state is State.IN_STEP
    ledger.close()
    assert audit(folder, copy) == []
    assert [one.why for one in said(folder, MirrorLost)] == [errno.errorcode[number]]
    assert len(said(folder, MirrorJoined)) == 1


@pytest.mark.parametrize("mode", ["async", "sync-degrade"])
def test_a_folder_that_goes_away_and_comes_back_is_taken_up_again(
    mirrored: Open, folder: Path, copy: Path, mode: str
) -> None:
    """A cable that was pulled: nothing is made in its place on the wrong disk."""
    ledger = mirrored(mode)
    fill(ledger, 1)
    mirror_of(ledger).turn()
    away = copy.with_name("away")
    copy.rename(away)
    mirror_of(ledger).shelf.close()
    fill(ledger, 2)
    mirror_of(ledger).turn()
    assert mirror_of(ledger).state is State.LOST
    assert not copy.exists()
    away.rename(copy)
    mirror_of(ledger).turn()
    fill(ledger, 3)
    ledger.close()
    assert audit(folder, copy) == []
    assert len(said(folder, MirrorLost)) == len(said(folder, MirrorJoined)) == 1


def test_a_mirror_that_is_not_there_at_opening_is_lost_and_joins_later(
    mirrored: Open, folder: Path, copy: Path
) -> None:
    """A disk that is not plugged in must not keep a house shut."""
    copy.rmdir()
    ledger = mirrored()
    fill(ledger, 1)
    assert mirror_of(ledger).state is State.LOST
    copy.mkdir()
    mirror_of(ledger).turn()
    fill(ledger, 2)
    assert mirror_of(ledger).state is State.IN_STEP
    ledger.close()
    assert audit(folder, copy) == []
    assert [one.why for one in said(folder, MirrorLost)] == ["ENOENT"]


def test_a_mirror_whose_disk_hangs_does_not_stop_the_night(
    mirrored: Open, folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch, gate: Any
) -> None:
    """A disk can also neither answer nor fail; it is taken up again when it has answered."""
    sync = shelves.sync

    def hang(handle: int) -> None:
        gate.entered.set()
        gate.open.wait(30)
        sync(handle)

    ledger = mirrored()
    fill(ledger, 1)
    patient = mirror_of(ledger).wish
    # Only for the hanging sync: a loaded machine must not decide about the others.
    mirror_of(ledger).wish = Wish(mode="sync-degrade", folder=copy, patience=0.01)
    monkeypatch.setattr(shelves, "sync", hang)
    fill(ledger, 2)
    assert gate.entered.wait(30)
    fill(ledger, 3)
    mirror_of(ledger).turn()
    assert mirror_of(ledger).state is State.LOST
    monkeypatch.setattr(shelves, "sync", sync)
    mirror_of(ledger).wish = patient
    gate.open.set()
    while mirror_of(ledger).state is State.LOST:
        mirror_of(ledger).turn()
    ledger.close()
    assert audit(folder, copy) == []
    assert "hung" in [one.why for one in said(folder, MirrorLost)]


def test_a_commit_that_is_refused_is_taken_back_from_the_mirror(
    mirrored: Open, folder: Path, copy: Path
) -> None:
    """Else a refused fact would come back at the next opening."""
    with FaultyDisk("full") as disk:
        ledger = mirrored(vfs="full")
        fill(ledger, 1)
        refused = 0
        for behind in range(1, 9):
            disk.faults[:] = [Fault(kind="write", at=disk.counts["write"] + behind, what="full")]
            try:
                fill(ledger, 10 + behind)
            except StoreFull:
                refused += 1
                assert Shelf(copy).find_end().size == ledger.next_seq
        disk.faults.clear()
        assert refused
        fill(ledger, 2)
        ledger.close()
    assert {1, 2} <= set(notes(folder))
    assert audit(folder, copy) == []


def test_one_bad_append_of_a_batch_leaves_the_others_in_both_copies(
    mirrored: Open, folder: Path, copy: Path, gate: Any
) -> None:
    """A batch that is done again append by append is mirrored as it ended."""
    ledger = mirrored()
    writer = ledger._writer
    assert writer is not None
    ledger.append_now([ledger.draft(Seated(who="a"))])
    requests = [Request([note(ledger, 0)], expect=[gate.expect()])]
    requests += [Request([note(ledger, 1, text='"x"')]), Request([ledger.draft(Seated(who="b"))])]
    requests += [Request([note(ledger, 2, text='"y"')])]
    for request in requests:
        writer.submit(request)
    gate.open.set()
    fill(ledger, 9)
    assert isinstance(requests[3].outcome, Committed)
    assert not isinstance(requests[2].outcome, Committed)
    ledger.close()
    assert audit(folder, copy) == []


# --- erasure ------------------------------------------------------------------------------


def test_what_is_forgotten_is_in_no_file_of_the_mirror(
    mirrored: Open, folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An erasure that leaves the second copy erases nothing."""
    monkeypatch.setattr(shelves, "FILE_FACTS", 6)
    ledger = mirrored()
    for key in range(12):
        fill(ledger, key, text=f'"canary-{key}-end"')
    fill(ledger, 20, text='"' + "canary-long " * 7_000 + '"')
    with ledger.read() as reader:
        row = reader.get(Note, "r", 3)
        last = reader.get(Note, "r", 20)
        [(blob,)] = reader.query("SELECT blob FROM payload WHERE blob IS NOT NULL")
    assert row is not None
    assert last is not None
    mirror = mirror_of(ledger)
    assert mirror.forget([row.seq * 8, last.seq * 8], [blob], erased=Seq(99)) == 2
    assert mirror.forget([row.seq * 8], [blob], erased=Seq(99)) == 0
    fill(ledger, 30)
    ledger.close()
    everything = b"".join(path.read_bytes() for path in copy.rglob("*") if path.is_file())
    assert b"canary-3-end" not in everything
    assert b"canary-long" not in everything
    assert b"canary-4-end" in everything
    facts, payloads, _ = read_frames(copy)
    assert payloads[row.seq * 8] == (None, None, None, 99)
    assert len(facts) == Shelf(copy).find_end().size
    with mirrored() as ledger:
        fill(ledger, 31)
    assert said(folder, MirrorLost) == []


def test_a_lost_mirror_says_that_it_forgets_nothing_now(mirrored: Open, copy: Path) -> None:
    """Silence would be a promise."""
    copy.rmdir()
    ledger = mirrored()
    with pytest.raises(HouseUnusable):
        mirror_of(ledger).forget([8], erased=Seq(1))


# --- where it may be ----------------------------------------------------------------------


def test_a_folder_inside_the_house_is_refused(house: Open, folder: Path) -> None:
    """A copy that burns with the house is none."""
    (folder / "copy").mkdir(parents=True)
    for place in (folder, folder / "copy"):
        with pytest.raises(HouseUnusable):
            house(mirror=Wish(mode="async", folder=place))


def test_a_network_file_system_is_for_async_only(
    mirrored: Open, folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every commit would wait for the network; a copy that follows need not hold locks."""
    monkeypatch.setattr(mirrors, "file_system_of", lambda _: "nfs4")
    with pytest.raises(HouseUnusable):
        mirrored()
    with mirrored("async") as ledger:
        fill(ledger, 1)
    assert audit(folder, copy) == []


def test_a_follower_that_is_too_far_behind_counts_as_lost(
    mirrored: Open, folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lag without a bound is no copy."""
    monkeypatch.setattr(mirrors, "LAG_FACTS_MAX", 5)
    ledger = mirrored("async")
    fill(ledger, *range(10))
    mirror_of(ledger).turn()
    ledger.close()
    assert [one.why for one in said(folder, MirrorLost)] == ["slow"]
    assert len(said(folder, MirrorJoined)) == 1
    assert audit(folder, copy) == []
