"""Snapshots of an open house: taken at night, put on record, dropped by the settings.

What it is not: the copy and its proof; tests/ledger/test_snapshot.py has those.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tildawn.facts.house import BlobsSwept, SnapshotDropped, SnapshotTaken
from tildawn.ledger.layout import Layout
from tildawn.ledger.snapshot import snapshots
from tildawn.runtime.house import House
from tildawn.runtime.setting import LedgerSettings, Settings
from tildawn.runtime.snapshot import OWN_FACTS, Keeper
from tildawn.testing.clock import ManualClock
from tildawn.units import SECOND, Micros


HOUR = 3_600 * SECOND


@pytest.fixture
def clock() -> ManualClock:
    """Noon of a day in the zone of the house, and it moves only by hand."""
    return ManualClock(Micros(1_800_014_400 * SECOND))


@pytest.fixture
def house(tmp_path: Path, clock: ManualClock) -> Iterator[House]:
    """An open house that keeps three days and one week."""
    settings = Settings(ledger=LedgerSettings(snapshots_daily=3, snapshots_weekly=1))
    with House.open(tmp_path / ".tildawn", settings, mode="write", clock=clock) as opened:
        yield opened


def _grow(house: House) -> None:
    ledger = house.ledger
    facts = [BlobsSwept(count=1, size_bytes=1)] * (OWN_FACTS + 1)
    ledger.append_now([ledger.draft(fact) for fact in facts])


def test_the_loop_takes_one_snapshot_a_night_and_none_of_a_house_that_rests(
    house: House, clock: ManualClock
) -> None:
    """Sixty nights of which every third brings work: no copy of what is there already."""
    keeper, taken = Keeper(house.folder, house.settings, clock), 0
    for night in range(60):
        if night % 3 == 0:
            _grow(house)
        for _ in range(4):
            clock.advance(Micros(6 * HOUR))
            taken += keeper.turn(house.ledger)

    there = snapshots(Layout(house.folder))
    with house.ledger.read() as reader:
        facts = [fact.data for _, fact in reader.facts(limit=-1)]
    made = [fact.name for fact in facts if isinstance(fact, SnapshotTaken)]
    dropped = [fact.name for fact in facts if isinstance(fact, SnapshotDropped)]
    assert taken == len(made) == 20
    assert [one.name for one in there] == made[-3:]
    assert dropped == made[:-3]


def test_the_first_snapshot_waits_for_the_first_night(house: House, clock: ManualClock) -> None:
    """A house that was founded a minute ago has nothing to go back to."""
    keeper = Keeper(house.folder, house.settings, clock)
    _grow(house)

    assert not keeper.turn(house.ledger)
    clock.advance(Micros(24 * HOUR))
    assert keeper.turn(house.ledger)


def test_the_reason_is_a_payload(house: House, clock: ManualClock) -> None:
    """It is the owner's text, and can be erased like any other."""
    made = Keeper(house.folder, house.settings, clock).take(house.ledger, "asked", reason="before")

    with house.ledger.read() as reader:
        [seq] = [seq for seq, fact in reader.facts() if isinstance(fact.data, SnapshotTaken)]
        assert reader.payload(seq, 0) == b'"before"'
    assert b"before" not in (made.folder / "manifest.json").read_bytes()
