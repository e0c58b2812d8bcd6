"""Quarantine: a house that is read and not worked in, until its owner says so.

What it is not: what puts a house there; that is beside the ledger.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from tildawn.engine.task import task
from tildawn.errors import Misused
from tildawn.facts.house import ClockJumped
from tildawn.facts.quarantine import HouseQuarantined
from tildawn.projections.run import RunRow
from tildawn.runtime.config import load
from tildawn.runtime.context import Context
from tildawn.runtime.doctor import State, examine
from tildawn.runtime.founding import found_house
from tildawn.runtime.house import House
from tildawn.runtime.operation import Desk
from tildawn.runtime.operations import house as operations
from tildawn.runtime.operations import quarantine as quarantines
from tildawn.runtime.setting import Settings
from tildawn.runtime.stops import Stop, told
from tildawn.runtime.working import working
from tildawn.testing.clock import ManualClock
from tildawn.watch.build import build_report


T = TypeVar("T")


@task
async def quick(ctx: Context) -> str:
    """Ends at once."""
    return "done"


@task
async def patient(ctx: Context) -> str:
    """Ends when it is told to."""
    await ctx.event("go")
    return "done"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A house."""
    found_house(tmp_path / ".tildawn", Settings(), clock=ManualClock(), example=False)
    return tmp_path / ".tildawn"


def opened(folder: Path) -> House:
    """The house, open to write."""
    return House.open(folder, Settings(), mode="write", clock=ManualClock())


def quarantine(house: House, text: str = "table note differs") -> None:
    """What a finding says."""
    said = house.ledger.payload(msgspec.json.encode(text))
    data = HouseQuarantined(why="drift", table="note", times=3, text=said.digest)
    house.ledger.append_now([house.ledger.draft(data, payloads=(said,))])


def desk(house: House) -> Desk:
    """What an operation gets."""
    config = load(house.folder.parent, environ={})
    return Desk(config, house.clock, folder=house.folder, house=house)


def answered(asked: Awaitable[T]) -> T:
    """The answer of an operation, on a loop of its own."""

    async def wait() -> T:
        return await asked

    return asyncio.run(wait())


async def settled(house: House, done: Callable[[], bool], turns: int = 200) -> bool:
    """Let everything happen that can happen without time; whether it came to pass."""
    for _ in range(turns):
        if done():
            return True
        await house.ledger.append([house.ledger.draft(ClockJumped(by_ms=0))])
        await asyncio.sleep(0)
    return False


def state(house: House, run: str) -> str:
    """The state of a run."""
    with house.ledger.read() as reader:
        row = reader.get(RunRow, run)
    assert row is not None
    return row.state


def test_nothing_new_begins_in_quarantine_and_all_of_it_when_lifted(folder: Path) -> None:
    """Work on tables that differ from the facts would build on sand."""

    async def play() -> None:
        with opened(folder) as house:
            house.tasks.add(quick)
            quarantine(house)
            async with working(house, env={}):
                run = (await house.owner.enqueue(quick)).run
                assert not await settled(house, lambda: state(house, run) != "queued", 40)
                assert house.stops.why() == "quarantined"

                await quarantines.LIFT.run(
                    desk(house), quarantines.LiftInput(reason="looked at it")
                )

                assert await settled(house, lambda: state(house, run) == "done")

    asyncio.run(play())


def test_what_is_under_way_may_end_in_quarantine(folder: Path) -> None:
    """What has begun is on record step by step; breaking it off would gain nothing."""

    async def play() -> None:
        with opened(folder) as house:
            house.tasks.add(patient)
            async with working(house, env={}):
                run = (await house.owner.enqueue(patient)).run
                assert await settled(house, lambda: state(house, run) == "running")
                quarantine(house)
                house.stops.look()

                await house.owner.emit(run, "go", b"null")

                assert await settled(house, lambda: state(house, run) == "done")

    asyncio.run(play())


def test_whoever_watches_hears_of_a_stop_once_and_of_its_end(folder: Path) -> None:
    """Without a word it would look as if the work hung."""
    heard: list[tuple[Stop, ...]] = []
    with opened(folder) as house:
        house.stops.on_change.append(heard.append)
        house.stops.look()
        quarantine(house, "row 7 of table note")
        house.stops.look()
        house.stops.look()
        answered(quarantines.LIFT.run(desk(house), quarantines.LiftInput(reason="looked at it")))

    assert [len(stops) for stops in heard] == [1, 0]
    assert "row 7 of table note" in told(heard[0])
    assert "Next: tildawn verify" in told(heard[0])
    assert told(heard[1]) == "tildawn: work begins again"


def test_status_doctor_and_report_name_the_quarantine(folder: Path) -> None:
    """A person must meet it wherever they look first."""
    with opened(folder) as house:
        quarantine(house, "row 7 of table note")
    with House.open(folder, Settings(), mode="read", clock=ManualClock()) as house:
        status = answered(operations.STATUS.run(desk(house), operations.Nothing()))
        with house.ledger.read() as reader:
            report = build_report(
                reader, night=None, now=house.clock.wall(), alive=False, build="test"
            )
    found = asyncio.run(examine(folder, Settings(), ManualClock(), environ={}))
    [work] = [one for one in found if one.name == "work"]

    assert [stop.name for stop in status.stops] == ["quarantined"]
    assert "row 7 of table note" in status.stops[0].says
    assert work.verdict is State.FAIL
    assert "row 7 of table note" in work.saw
    assert report.needs[0].name == "quarantine"
    assert report.needs[0].detail.text == "row 7 of table note"


def test_lifting_takes_a_reason_and_a_quarantine(folder: Path) -> None:
    """The next reader of the ledger must find out why somebody let it go on."""
    with opened(folder) as house:
        for reason in ("", "there is none"):
            with pytest.raises(Misused):
                answered(quarantines.LIFT.run(desk(house), quarantines.LiftInput(reason=reason)))


def test_two_findings_are_one_quarantine_and_end_together(folder: Path) -> None:
    """A lift that leaves a quarantine behind would have to be guessed at."""
    with opened(folder) as house:
        quarantine(house)
        quarantine(house)
        after = answered(
            quarantines.LIFT.run(desk(house), quarantines.LiftInput(reason="looked at both"))
        )

    assert not after.quarantined
    assert after.stops == ()
