"""Space is set aside, given back when the disk is full, and set aside again by itself."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tildawn.ledger.ballast import Ballast
from tildawn.projections.storage import ballast_of, full_between
from tildawn.runtime.house import House
from tildawn.runtime.setting import Settings
from tildawn.runtime.space import LOW_BYTES, Room, forecast, space_of
from tildawn.runtime.stops import stops_of
from tildawn.testing.clock import ManualClock
from tildawn.units import Micros


SIZE = 1_000_000


class Disk:
    """The free space that the system reports, said by the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begin with plenty."""
        self.free = 10**10
        self.inodes = 10**6
        self._real = os.statvfs
        monkeypatch.setattr(os, "statvfs", self._said)

    def _said(self, place: Path) -> os.statvfs_result:
        values = list(self._real(place))
        values[1], values[4], values[7] = 1, self.free, self.inodes
        return os.statvfs_result(values)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk whose space the test says."""
    return Disk(monkeypatch)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """An open house."""
    with House.open(tmp_path / ".tildawn", Settings(), mode="write", clock=ManualClock()) as opened:
        yield opened


def _kinds(house: House) -> list[str]:
    with house.ledger.read() as reader:
        return [fact.kind for _, fact in reader.facts() if fact.kind.startswith(("Ball", "Stor"))]


def test_space_is_set_aside_once(house: House, disk: Disk) -> None:
    """The blocks are the disk's, and one fact says so."""
    room = Room(house.folder, SIZE)
    for _ in range(3):
        room.keep(house.ledger)

    assert (house.folder / "ballast").stat().st_blocks * 512 >= SIZE
    assert _kinds(house) == ["BallastLaid"]


def test_a_full_disk_is_recorded_and_ends_by_itself(house: House, disk: Disk) -> None:
    """Somebody reads in the morning when it was, and for how long."""
    room = Room(house.folder, SIZE)
    room.keep(house.ledger)
    assert house.ledger.ballast.release()
    disk.free = SIZE
    room.keep(house.ledger)
    room.keep(house.ledger)
    assert _kinds(house) == ["BallastLaid", "StorageExhausted"]
    assert house.ledger.ballast.size_bytes == 0

    disk.free = LOW_BYTES + 2 * SIZE
    room.keep(house.ledger)

    assert _kinds(house) == ["BallastLaid", "StorageExhausted", "BallastLaid"]
    with house.ledger.read() as reader:
        [full] = full_between(reader, Micros(0), Micros(2**60))
        assert (full.released_bytes, full.ended_at > 0) == (SIZE, True)
        assert ballast_of(reader) == SIZE


@pytest.mark.parametrize(("free", "inodes"), [(LOW_BYTES - 1, 10**6), (10**10, 5)])
def test_little_space_lets_nothing_new_begin(
    house: House, disk: Disk, free: int, inodes: int
) -> None:
    """What is under way needs the rest; it goes on by itself once there is more."""
    disk.free, disk.inodes = free, inodes
    with house.ledger.read() as reader:
        [stop] = stops_of(reader, house.folder)
    assert stop.name == "disk low"
    assert "by itself" in stop.next
    assert house.stops.look()
    assert house.stops.why() == "disk low"

    disk.free, disk.inodes = LOW_BYTES, 10**6

    assert not house.stops.look()
    assert house.stops.why() == ""


def test_space_that_cannot_be_set_aside_leaves_nothing_behind(tmp_path: Path) -> None:
    """Half of it would only be missing elsewhere."""
    ballast = Ballast(tmp_path / "ballast")

    with pytest.raises(OSError, match=r"."):
        ballast.lay(2**62)

    assert list(tmp_path.iterdir()) == []
    assert not ballast.release()


def test_a_new_house_takes_a_run_for_a_picture(house: House) -> None:
    """Nothing is known yet about what its runs leave."""
    with house.ledger.read() as reader:
        assert forecast(reader, house.folder, runs=3) == 6_000_000


def test_a_folder_that_is_not_there_yet_has_the_space_of_its_disk(tmp_path: Path) -> None:
    """It is asked before a house is made."""
    assert space_of(tmp_path / "not" / "there").free_bytes > 0
