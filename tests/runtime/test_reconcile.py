"""The hours of the books: after a crash, every five minutes, at night, and when asked.

What it is not: the comparison itself; that is beside the ledger.
"""

import asyncio
import shutil
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import apsw
import pytest

from tildawn.errors import PlanChanged
from tildawn.facts.house import ClockJumped
from tildawn.facts.reconcile import DriftFound
from tildawn.ledger.reconcile import Compared
from tildawn.projections.quarantine import quarantine_of
from tildawn.runtime import reconcile
from tildawn.runtime.config import load
from tildawn.runtime.founding import found_house
from tildawn.runtime.house import House
from tildawn.runtime.operation import Desk
from tildawn.runtime.operations import rebuild
from tildawn.runtime.operations.house import Nothing
from tildawn.runtime.reconcile import EVERY, FACTS, night_after
from tildawn.runtime.setting import Settings
from tildawn.runtime.working import working
from tildawn.testing.clock import ManualClock
from tildawn.units import SECOND, Micros


T = TypeVar("T")
TAMPER = "UPDATE incident SET amount = 77 WHERE seq = (SELECT max(seq) FROM incident)"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else works here, so slices need no pauses."""
    monkeypatch.setattr(reconcile, "PAUSE", 0)


@pytest.fixture
def clock() -> ManualClock:
    """Time that moves when it is told to."""
    return ManualClock()


@pytest.fixture
def folder(tmp_path: Path, clock: ManualClock) -> Path:
    """A house."""
    found_house(tmp_path / ".tildawn", Settings(), clock=clock, example=False)
    return tmp_path / ".tildawn"


def opened(folder: Path, clock: ManualClock) -> House:
    """The house, open to write."""
    return House.open(folder, Settings(), mode="write", clock=clock)


def say(house: House, count: int = 1) -> None:
    """Some facts that make rows."""
    house.ledger.append_now([house.ledger.draft(ClockJumped(by_ms=1)) for _ in range(count)])


def tamper(folder: Path, statement: str = TAMPER) -> None:
    """What somebody with the disk does."""
    database = apsw.Connection(str(folder / "ledger.db"))
    database.execute(statement).fetchall()
    database.close()


def done(asked: Awaitable[T]) -> T:
    """The outcome, on a loop of its own."""

    async def wait() -> T:
        return await asked

    return asyncio.run(wait())


def turn(house: House) -> Compared | None:
    """One turn of the loop, and its files closed again."""

    async def once() -> Compared | None:
        try:
            return await house.books.turn()
        finally:
            await house.books.leave()

    return asyncio.run(once())


def desk(house: House) -> Desk:
    """What an operation gets."""
    config = load(house.folder.parent, environ={})
    return Desk(config, house.clock, folder=house.folder, house=house)


def test_the_books_are_compared_every_five_minutes(folder: Path, clock: ManualClock) -> None:
    """What goes wrong is known before much is built on it."""
    with opened(folder, clock) as house:
        say(house)
        assert turn(house) is None
        clock.advance(EVERY)
        first = turn(house)
        assert first is not None
        assert first.whole
        clock.advance(EVERY)
        assert turn(house) is None, "nothing happened since"
        say(house)
        assert turn(house) is not None, "it had been long enough"
        say(house)
        clock.advance(Micros(EVERY - SECOND))
        assert turn(house) is None
        clock.advance(SECOND)
        second = turn(house)
        assert second is not None
        assert not second.whole


def test_the_books_are_compared_after_so_many_facts(folder: Path, clock: ManualClock) -> None:
    """A busy house makes more in five minutes than a start after a crash may look at."""
    with opened(folder, clock) as house:
        clock.advance(EVERY)
        turn(house)
        for _ in range(FACTS // 4_096):
            say(house, 4_096)

        found = turn(house)

    assert found is not None
    assert not found.whole


def test_everything_is_compared_after_three_at_night(folder: Path, clock: ManualClock) -> None:
    """A row that no fact touches any more is found as well, once a day."""
    with opened(folder, clock) as house:
        say(house)
        clock.advance(EVERY)
        turn(house)
    tamper(folder)
    with opened(folder, clock) as house:
        clock.advance(EVERY)
        tail = turn(house)
        assert tail is not None
        assert tail.drifts == ()
        clock.advance(Micros(night_after(clock.wall(), "UTC") - clock.wall()))

        found = turn(house)

        assert found is not None
        assert found.mended == ("incident",)
        assert turn(house) is None


@pytest.mark.parametrize(
    ("zone", "at", "night"),
    [
        ("UTC", 1_792_000_000, 1_792_033_200),
        ("Europe/Berlin", 1_792_000_000, 1_792_026_000),
        ("Nowhere/At/All", 1_792_033_199, 1_792_033_200),
        ("UTC", 1_792_033_200, 1_792_119_600),
    ],
)
def test_three_at_night_is_told_by_the_zone_of_the_house(zone: str, at: int, night: int) -> None:
    """Night is when its owner sleeps."""
    assert night_after(Micros(at * SECOND), zone) == night * SECOND


def crashed(folder: Path, clock: ManualClock, *, compared: bool) -> Path:
    """A copy of a house as a kill leaves it, with a row that is not what its fact says."""
    copy = folder.parent / "left"
    with opened(folder, clock) as house:
        if compared:
            clock.advance(EVERY)
            turn(house)
        say(house)
        shutil.copytree(folder, copy)
    tamper(copy)
    return copy


def test_after_a_crash_the_tail_is_compared_before_work_begins(
    folder: Path, clock: ManualClock
) -> None:
    """The last thing that happened is what a crash can have torn."""
    left = crashed(folder, clock, compared=True)

    async def begin(house: House) -> None:
        async with working(house, env={}):
            assert house.stops.why() == ""

    with opened(left, clock) as house:
        assert house.ledger.unclean
        asyncio.run(begin(house))
        with house.ledger.read() as reader:
            kinds = [fact.kind for _, fact in reader.facts(limit=-1)]
    assert [kind for kind in kinds if kind.startswith("Drift")] == ["DriftFound", "DriftMended"]


def test_after_a_clean_end_and_without_a_shadow_nothing_blocks(
    folder: Path, clock: ManualClock
) -> None:
    """A start is quick; what is not urgent is left to the background."""
    left = crashed(folder, clock, compared=False)

    with opened(left, clock) as house:
        assert done(house.books.opening()) is None
        done(house.books.leave())
    with opened(folder, clock) as house:
        clock.advance(EVERY)
        turn(house)
    with opened(folder, clock) as house:
        assert done(house.books.opening()) is None
        done(house.books.leave())


def test_drift_that_comes_back_three_times_stops_the_work(folder: Path, clock: ManualClock) -> None:
    """A person must look for whoever makes it."""
    with opened(folder, clock) as house:
        say(house)
    for round_ in range(3):
        tamper(folder)
        with opened(folder, clock) as house:
            done(house.books.whole())
            house.stops.look()
            assert house.stops.why() == ("quarantined" if round_ == 2 else "")
            done(house.books.leave())
    with opened(folder, clock) as house, house.ledger.read() as reader:
        row = quarantine_of(reader)
        assert row is not None
        assert (row.about, row.times) == ("incident", 3)


def test_a_plan_names_column_and_values_and_its_hash_makes_the_table_anew(
    folder: Path, clock: ManualClock
) -> None:
    """What is replaced is what a person has seen."""
    with opened(folder, clock) as house:
        say(house)
    tamper(folder)
    with House.open(folder, Settings(), mode="read", clock=clock) as house:
        planned = done(rebuild.REBUILD_PLAN.run(desk(house), Nothing()))
    [table] = planned.tables
    [one] = table.differences
    assert (table.table, table.rows) == ("incident", 1)
    assert (one.column, one.is_, one.should) == ("amount", "77", "1")

    with opened(folder, clock) as house:
        with pytest.raises(PlanChanged):
            done(rebuild.REBUILD_APPLY.run(desk(house), rebuild.ApplyInput(plan="f" * 64)))
        rebuilt = done(
            rebuild.REBUILD_APPLY.run(desk(house), rebuild.ApplyInput(plan=planned.plan))
        )
    assert rebuilt.tables == ("incident",)
    with House.open(folder, Settings(), mode="read", clock=clock) as house:
        assert done(rebuild.REBUILD_PLAN.run(desk(house), Nothing())).tables == ()


def test_drift_that_could_not_be_mended_stops_the_work(folder: Path, clock: ManualClock) -> None:
    """Nothing is built on a table that is known to be wrong."""
    with opened(folder, clock) as house:
        say(house)
        data = DriftFound(table="incident", rows=1, digest="d" * 64)
        house.ledger.append_now([house.ledger.draft(data)])
        house.stops.look()
        assert house.stops.why() == "drift"
        assert house.stops.standing[0].next == "tildawn rebuild --plan"
