"""Snapshots: taken while the house works, opened and proven before they count, kept by a rule.

What it is not: the way back; that is in test_restore.py.
"""

import fcntl
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import apsw
import pytest
from msgspec.structs import replace

from tildawn.errors import Busy, LedgerBroken
from tildawn.facts.house import SnapshotTaken
from tildawn.ledger.layout import Layout
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.manifest import MANIFEST
from tildawn.ledger.retention import due, retained
from tildawn.ledger.snapshot import (
    PACKED,
    TAKING,
    Snapshot,
    check_blobs,
    drop,
    newest_snapshot,
    read_snapshot,
    snapshots,
    snapshots_holding,
    take,
    unpack,
)
from tildawn.testing.clock import ManualClock
from tildawn.testing.notebook import PROJECTIONS, note
from tildawn.units import SECOND, Micros


Open = Callable[..., Ledger]
LONG = "x" * 70_000
DAY = 24 * 3_600 * SECOND


@pytest.fixture
def layout(folder: Path) -> Layout:
    """Where its files are."""
    return Layout(folder)


@pytest.fixture
def shoot(layout: Layout, clock: ManualClock) -> Callable[[], Snapshot]:
    """Takes a snapshot."""
    return lambda: take(layout, clock=clock, build="test", why="asked")


def _write(ledger: Ledger, first: int, count: int) -> None:
    ledger.append_now(
        [note(ledger, key, run="r", text=f'"{key}"') for key in range(first, first + count)]
    )


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    # A link shares its bytes with the house, so the damage goes into a file of its own.
    path.unlink()
    path.write_bytes(content)


def test_a_snapshot_of_a_working_house_is_what_the_house_was(
    ledger: Ledger, shoot: Callable[[], Snapshot], tmp_path: Path
) -> None:
    """It is taken while facts are written, and must be one moment of them."""
    _write(ledger, 0, 5)
    ledger.append_now([note(ledger, 5, run="r", text=f'"{LONG}"')])
    was = ledger.head()
    made = shoot()
    _write(ledger, 6, 5)

    said = unpack(made, tmp_path)
    check_blobs(made)

    assert (said.size, said.chain, said.root) == (was.size, was.chain, was.root)
    assert (made.manifest.house, made.manifest.epoch) == (ledger.name, ledger.epoch)
    assert len(made.manifest.blobs) == 1
    assert made.manifest.damaged == ()


def test_every_file_of_a_snapshot_is_proven(
    ledger: Ledger, shoot: Callable[[], Snapshot], tmp_path: Path
) -> None:
    """A bit that turned must be found before anybody goes back to it."""
    ledger.append_now([note(ledger, 5, run="r", text=f'"{LONG}"')])
    made = shoot()
    files = [path for path in made.folder.rglob("*") if path.is_file()]
    assert len(files) == 3

    for number, path in enumerate(files):
        copy = tmp_path / str(number)
        shutil.copytree(made.folder, copy)
        _flip(copy / path.relative_to(made.folder))
        with pytest.raises(LedgerBroken):
            _prove(copy, tmp_path)


def test_a_snapshot_that_lost_a_file_is_refused(
    ledger: Ledger, shoot: Callable[[], Snapshot], tmp_path: Path
) -> None:
    """Missing is never fine, whichever file it is; a shortened one neither."""
    ledger.append_now([note(ledger, 5, run="r", text=f'"{LONG}"')])
    made = shoot()
    for path in [path for path in made.folder.rglob("*") if path.is_file()]:
        copy = tmp_path / path.name
        shutil.copytree(made.folder, copy)
        (copy / path.relative_to(made.folder)).unlink()
        with pytest.raises(LedgerBroken):
            _prove(copy, tmp_path)
    cut = made.folder / PACKED
    cut.write_bytes(cut.read_bytes()[:-20])
    with pytest.raises(LedgerBroken, match="does not hash"):
        unpack(made, tmp_path)


def test_a_manifest_answers_for_itself(ledger: Ledger, shoot: Callable[[], Snapshot]) -> None:
    """Also what no other file shows, such as which house it is and when it was taken."""
    path = shoot().folder / MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"asked"', b'"night"'))

    with pytest.raises(LedgerBroken, match="does not hash"):
        read_snapshot(path.parent)


def _prove(folder: Path, place: Path) -> None:
    found = read_snapshot(folder)
    unpack(found, place)
    check_blobs(found)


def test_a_house_that_does_not_verify_leaves_no_snapshot(
    ledger: Ledger, shoot: Callable[[], Snapshot], layout: Layout
) -> None:
    """One that was not verified would be found out on the worst day."""
    _write(ledger, 0, 5)
    other: Any = apsw.Connection(str(layout.database))
    other.execute("DROP TRIGGER fact_never_changes")
    other.execute("UPDATE fact SET body = x'7B7D' WHERE seq = 3")
    other.close()

    with pytest.raises(LedgerBroken, match="fact 3"):
        shoot()

    assert [path.name for path in layout.snapshots.iterdir()] == ["lock"]


def test_what_a_crash_leaves_counts_for_nothing(
    ledger: Ledger, shoot: Callable[[], Snapshot], layout: Layout
) -> None:
    """Neither a snapshot that was never finished nor one that was half removed is offered."""
    first = shoot()
    (layout.snapshots / TAKING).mkdir()
    (layout.snapshots / TAKING / "ledger.db").write_bytes(b"half")
    (first.folder / MANIFEST).unlink()

    assert snapshots(layout) == []
    second = shoot()

    assert snapshots(layout) == [second]
    assert not (layout.snapshots / TAKING).exists()
    # The clock stands still, and the first one still has its name.
    assert second.name == f"{first.name}-2"


def test_only_one_snapshot_is_taken_at_a_time(
    ledger: Ledger, shoot: Callable[[], Snapshot], layout: Layout
) -> None:
    """Two would work in one folder."""
    shoot()
    handle = os.open(layout.snapshots / "lock", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)

    with pytest.raises(Busy):
        shoot()

    os.close(handle)
    shoot()


def test_a_blob_that_the_house_lost_is_named(
    ledger: Ledger, shoot: Callable[[], Snapshot], layout: Layout, tmp_path: Path
) -> None:
    """The facts are worth keeping all the same, and nobody is told that everything is there."""
    ledger.append_now([note(ledger, 1, run="r", text=f'"{LONG}"')])
    [blob] = list(layout.blobs.glob("??/*"))
    blob.unlink()

    made = shoot()

    assert (made.manifest.blobs, made.manifest.damaged) == ((), (blob.name,))
    unpack(made, tmp_path)


def test_snapshots_say_which_facts_they_have(
    ledger: Ledger, shoot: Callable[[], Snapshot], layout: Layout
) -> None:
    """Erasure must find every one that still has a payload, and no other need go."""
    old = shoot()
    _write(ledger, 0, 1)
    new = shoot()

    assert snapshots_holding(layout, old.manifest.size) == [new]
    assert newest_snapshot(layout) in {old, new}
    drop(new)
    assert snapshots(layout) == [old]


# -- upgrades ------------------------------------------------------------------------------


def test_a_snapshot_is_taken_before_an_upgrade(house: Open, layout: Layout) -> None:
    """Whoever must go back to the older version finds the house as that version left it."""
    first = house()
    _write(first, 0, 5)
    first.close()
    house().close()
    assert snapshots(layout) == []
    changed = (replace(PROJECTIONS[0], version=2), PROJECTIONS[1])

    upgraded = house(projections=changed)

    [made] = snapshots(layout)
    with upgraded.read() as reader:
        facts = [fact.data for _, fact in reader.facts() if isinstance(fact.data, SnapshotTaken)]
    assert [(one.name, one.why, one.size) for one in facts] == [
        (made.name, "upgrade", made.manifest.size)
    ]
    assert facts[0].manifest == made.digest


def test_a_broken_ledger_is_not_upgraded(house: Open, layout: Layout) -> None:
    """What an older version could still show must not be changed on top of damage."""
    first = house()
    _write(first, 0, 5)
    first.close()
    other: Any = apsw.Connection(str(layout.database))
    other.execute("DROP TRIGGER fact_never_changes")
    other.execute("UPDATE fact SET body = x'7B7D' WHERE seq = 3")
    made = other.execute("SELECT value FROM meta WHERE key = 'projection:notes'").fetchall()
    other.close()

    with pytest.raises(LedgerBroken, match="fact 3"):
        house(projections=(replace(PROJECTIONS[0], version=2), PROJECTIONS[1]))

    other = apsw.Connection(str(layout.database))
    assert other.execute("SELECT value FROM meta WHERE key = 'projection:notes'").fetchall() == made
    other.close()


# -- the rules ------------------------------------------------------------------------------


def _at(text: str, zone: str = "UTC") -> Micros:
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return Micros(int(moment.timestamp()) * SECOND)


def test_seven_days_and_four_weeks_stay() -> None:
    """Sixty nights: what is kept is bounded, and reaches back a month."""
    kept: list[Micros] = []
    now = _at("2026-09-01T03:30:00")
    for _ in range(60):
        kept = sorted({*retained([*kept, now], now, UTC, daily=7, weekly=4)})
        now = Micros(now + DAY)

    ages = [(kept[-1] - at) // DAY for at in reversed(kept)]
    # The newest of this week and of last week are among the days.
    assert ages[:7] == [0, 1, 2, 3, 4, 5, 6]
    assert len(ages) <= 11
    assert 14 <= ages[-1] <= 28
    assert all(
        datetime.fromtimestamp(at // SECOND, UTC).weekday() == 6
        for at in kept
        if at <= kept[-1] - 7 * DAY
    )


def test_what_was_taken_today_stays_and_the_newest_in_any_case() -> None:
    """Whoever asked for one before a change looks for it an hour later; one is never none."""
    now = _at("2026-09-10T12:00:00")
    today = [Micros(now - hour * 3_600 * SECOND) for hour in range(10)]

    assert retained(today, now, UTC, daily=1, weekly=0) == set(today)
    assert retained([_at("2020-01-01T00:00:00")], now, UTC, daily=1, weekly=0)
    assert retained([], now, UTC, daily=7, weekly=4) == set()


@pytest.mark.parametrize(
    ("now", "last", "expected"),
    [
        ("2026-11-20T03:29:59", "2026-11-19T03:31:00", False),
        ("2026-11-20T03:30:00", "2026-11-19T03:31:00", True),
        ("2026-11-20T18:00:00", "2026-11-20T03:30:05", False),
        ("2026-11-20T18:00:00", "2026-11-20T03:29:00", True),
        # A house that was closed for a week catches up at once, whatever the hour.
        ("2026-11-20T01:00:00", "2026-11-12T03:30:05", True),
        # 03:30 comes once in the night in which clocks go back, and in that in which they go on.
        ("2026-10-25T04:00:00", "2026-10-25T03:31:00", False),
        ("2026-03-29T03:31:00", "2026-03-28T03:31:00", True),
    ],
)
def test_a_snapshot_is_due_once_half_past_three_is_over(
    now: str, last: str, expected: bool
) -> None:
    """In the zone of the house, whose nights are what it is about."""
    zone = ZoneInfo("Europe/Berlin")

    assert due(_at(now, "Europe/Berlin"), _at(last, "Europe/Berlin"), zone) is expected


def test_a_loop_that_looks_all_night_takes_one_snapshot_a_night() -> None:
    """Also in the two nights of a year that have another length."""
    zone = ZoneInfo("Europe/Berlin")
    now, taken = _at("2026-10-20T12:00:00"), [_at("2026-10-20T12:00:00")]
    for _ in range(10 * 24 * 12):
        now = Micros(now + 300 * SECOND)
        if due(now, taken[-1], zone):
            taken.append(now)

    days = [datetime.fromtimestamp(at // SECOND, zone).date() for at in taken]
    assert days == [days[0] + timedelta(days=number) for number in range(11)]
