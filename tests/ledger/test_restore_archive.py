"""Going back in a house whose bodies have left for the archive.

What it is not: the archive itself; test_archive.py and test_segment.py have that.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tildawn.clock import SystemClock
from tildawn.errors import ArchiveMissing, TildawnError
from tildawn.facts.fact import Fact, RawFact
from tildawn.ids import Ids
from tildawn.ledger.layout import Layout
from tildawn.ledger.opening import Setup
from tildawn.ledger.restore import Restored, Wish, restore
from tildawn.ledger.snapshot import take
from tildawn.ledger.source import Point
from tildawn.ledger.verdict import State
from tildawn.runtime.segment import let_leave
from tildawn.testing.archive import (
    FACTS,
    PROJECTIONS,
    REGISTRY,
    open_archiving,
    seal_all,
    small_segments,
    verify_archiving,
)
from tildawn.testing.notebook import note


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]  a fixture for every test here
    with small_segments():
        yield


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A closed house with four sealed segments; the bodies of three have left."""
    folder = tmp_path / "house"
    with open_archiving(folder) as ledger:
        for key in range(4 * FACTS + 5):
            ledger.append_now([note(ledger, key, run="r", text=f'"{key}"')])
    with open_archiving(folder) as ledger:
        assert len(seal_all(ledger)) == 4
        assert let_leave(ledger, range(3)) == 3
    return folder


def _back(folder: Path, size: int, source: Path | None = None) -> Restored:
    clock = SystemClock()
    setup = Setup(
        registry=REGISTRY, projections=PROJECTIONS, clock=clock, ids=Ids(clock), build="test"
    )
    wish = Wish(to=Point(size=size), source=source)
    return restore(Layout(folder), setup, wish, lambda _: ())


def _facts(folder: Path, size: int) -> list[Fact | RawFact]:
    with open_archiving(folder, mode="read") as ledger, ledger.read() as reader:
        return [fact for seq, fact in reader.facts(limit=size) if seq < size]


@pytest.mark.parametrize("size", [5, 2 * FACTS, 3 * FACTS + 7, 4 * FACTS + 16])
@pytest.mark.parametrize("from_snapshot", [False, True])
def test_bodies_come_back_from_the_archive(house: Path, size: int, *, from_snapshot: bool) -> None:
    """They are compared with their leaves, and the house is whole whichever part of it is kept."""
    was = _facts(house, size)
    snapshot = None
    if from_snapshot:
        clock = SystemClock()
        snapshot = take(Layout(house), clock=clock, build="test", why="asked").folder
        shutil.rmtree(house / "archive")

    done = _back(house, size, snapshot)

    assert _facts(house, size) == was
    assert verify_archiving(house).state is State.PROVEN
    assert (done.aside / "archive").is_dir()


def test_segments_of_the_old_log_do_not_stand_for_those_of_the_new_one(house: Path) -> None:
    """Its files are in the place of the next segments, and must be written anew."""
    _back(house, FACTS + 3)
    with open_archiving(house) as ledger:
        for key in range(1_000, 1_000 + 4 * FACTS):
            ledger.append_now([note(ledger, key, run="r", text=f'"{key}"')])
    with open_archiving(house) as ledger:
        made = seal_all(ledger)
        assert made
        let_leave(ledger, [one.number for one in made[:2]])

    assert verify_archiving(house).state is State.PROVEN
    with open_archiving(house) as ledger:
        assert ledger.name != ""


def test_without_its_archive_a_house_does_not_go_back(house: Path) -> None:
    """A prefix without its bodies could not be folded; nothing is changed."""
    shutil.rmtree(house / "archive")
    before = (house / "ledger.db").read_bytes()

    with pytest.raises(TildawnError) as refused:
        _back(house, 3 * FACTS)

    assert isinstance(refused.value, ArchiveMissing)
    assert (house / "ledger.db").read_bytes() == before
