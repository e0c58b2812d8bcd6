"""A folder as an anchor: it keeps what was there, and shows a ledger that was cut or rewritten.

What a place does when it hangs is asked of every kind in tests/runtime.
"""

import asyncio
import os
from pathlib import Path

import pytest

from tildawn.errors import AnchorFailed, ProofBroken
from tildawn.ledger.anchor_file import FileAnchor
from tildawn.testing.log import GrowingLog


pytestmark = pytest.mark.anyio


def kept(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.checkpoint"))


def written(path: Path, text: str) -> None:
    path.write_text(text)


def gone(path: Path) -> None:
    path.rmdir() if path.is_dir() else path.unlink()


def absent(path: Path) -> bool:
    return not path.exists()


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The folder on the second disk."""
    folder = tmp_path / "other"
    folder.mkdir()
    return folder


@pytest.fixture
def anchor(tmp_path: Path, other: Path) -> FileAnchor:
    """An anchor into it."""
    return FileAnchor("disk", other, house=tmp_path)


async def test_each_checkpoint_stays_as_a_file_of_its_own(anchor: FileAnchor, other: Path) -> None:
    """The older ones are what an older copy of the ledger can be compared with."""
    log = GrowingLog(5)
    first = await anchor.anchor(log.claim())
    log.grow(6)
    second = await anchor.anchor(log.claim())

    paths = kept(other)
    assert [path.read_text() for path in paths] == [
        log.claim(5).note.dump(), log.claim(11).note.dump(),
    ]  # fmt: skip
    assert [first.text, second.text] == [str(path) for path in paths]
    assert (second.size, second.root) == (11, log.checkpoint().root)
    assert await anchor.check(log.claim()) == second


async def test_the_same_checkpoint_again_changes_nothing(anchor: FileAnchor, other: Path) -> None:
    """A try whose answer was lost is made again."""
    claim = GrowingLog(5).claim()
    first = await anchor.anchor(claim)
    [path] = kept(other)
    before = path.stat().st_mtime_ns

    assert await anchor.anchor(claim) == first
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("method", ["anchor", "check"])
async def test_a_smaller_tree_is_refused_and_nothing_is_overwritten(
    anchor: FileAnchor, other: Path, method: str
) -> None:
    """A ledger that was cut is consistent in itself; only another place knows better."""
    log = GrowingLog(9)
    await anchor.anchor(log.claim())

    with pytest.raises(ProofBroken, match="seen 9 facts of this ledger, and here are 7"):
        await getattr(anchor, method)(log.claim(7))
    assert len(kept(other)) == 1


@pytest.mark.parametrize("size", [9, 20])
async def test_a_tree_that_did_not_grow_from_it_is_refused(anchor: FileAnchor, size: int) -> None:
    """Cut and written on, or rewritten at the same length: it is not the ledger that was seen."""
    await anchor.anchor(GrowingLog(9).claim())

    with pytest.raises(ProofBroken, match="the first 9 facts of this ledger are not those"):
        await anchor.anchor(GrowingLog(size, forked_at=7).claim())


async def test_a_kept_file_that_nobody_signed_is_told(anchor: FileAnchor, other: Path) -> None:
    """Whoever can write there may only do damage, not speak for the ledger."""
    log = GrowingLog(9)
    await anchor.anchor(log.claim())
    [path] = kept(other)
    written(path, log.checkpoint(4).text + "\n")

    with pytest.raises(ProofBroken, match="holds what this log did not sign"):
        await anchor.check(log.claim())


async def test_a_folder_that_is_missing_is_not_made(anchor: FileAnchor, other: Path) -> None:
    """It is a disk that is not mounted; made here, it would be on the disk of the house."""
    gone(other)

    with pytest.raises(AnchorFailed, match="is not there"):
        await anchor.anchor(GrowingLog(9).claim())
    assert absent(other)


async def test_a_folder_that_refuses_is_a_failure(anchor: FileAnchor, other: Path) -> None:
    """Whatever stands in the way is told with the place."""
    written(other / "tildawn", "a file")

    with pytest.raises(AnchorFailed, match="the folder of anchor disk cannot be used"):
        await anchor.anchor(GrowingLog(9).claim())


async def test_the_same_file_system_is_said(anchor: FileAnchor) -> None:
    """One broken disk, or one thief, takes both; it is allowed, and said."""
    evidence = await anchor.anchor(GrowingLog(9).claim())

    assert evidence.warning == "it is on the same file system as the house"


async def test_nothing_there_is_nothing(anchor: FileAnchor) -> None:
    """Missing is told apart from good and from broken."""
    assert await anchor.check(GrowingLog(9).claim()) is None


async def test_a_disk_that_hangs_is_asked_by_one_thread_alone(
    anchor: FileAnchor, other: Path
) -> None:
    """Each try would leave another thread behind otherwise, all night long."""
    log = GrowingLog(9)
    place = other / "tildawn" / "a"
    place.mkdir(parents=True)
    pipe = place / f"{5:020}.checkpoint"
    os.mkfifo(pipe)  # opening it waits for a writer, as a dead disk does
    hung = asyncio.ensure_future(anchor.check(log.claim()))
    await asyncio.wait({hung}, timeout=0)  # one turn of the loop: the thread has begun
    hung.cancel()
    await asyncio.wait({hung})

    with pytest.raises(AnchorFailed, match="still hangs"):
        await anchor.check(log.claim())
    stuck = anchor._stuck
    written(pipe, log.claim(5).note.dump())
    assert stuck is not None
    assert stuck.wait(30)
    gone(pipe)
    assert await anchor.check(log.claim()) is None
