"""Houses that are wrong: refused with what is wrong and what to do, and never changed.

What it is not: a test of the ledger's checks; those are beside the ledger.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import apsw
import pytest

from tildawn.engine.task import task
from tildawn.errors import (
    BadTask,
    HouseLocked,
    HouseTooNew,
    HouseUnusable,
    LedgerBroken,
    TildawnError,
)
from tildawn.facts.house import ClockJumped
from tildawn.guard.call import Door
from tildawn.ledger import disk
from tildawn.runtime.context import Context
from tildawn.runtime.founding import found_house
from tildawn.runtime.house import House, find_house
from tildawn.runtime.loops import LOOPS, Turning, watch_clock
from tildawn.runtime.setting import HouseSettings, ProviderSettings, Settings
from tildawn.runtime.working import working
from tildawn.testing.clock import ManualClock
from tildawn.units import SECOND, Micros


HEARTBEAT = ClockJumped(by_ms=0)
"""A fact without a meaning, for one turn of the writer."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A house that was laid down in order."""
    found_house(tmp_path / ".tildawn", Settings(), clock=ManualClock(), example=False)
    return tmp_path / ".tildawn"


def cut(folder: Path) -> None:
    """Half of the database is gone."""
    database = folder / "ledger.db"
    os.truncate(database, database.stat().st_size // 2 // 4_096 * 4_096)


def lose(folder: Path) -> None:
    """The database was removed."""
    (folder / "ledger.db").unlink()


def replace_it(folder: Path) -> None:
    """Something else has its name."""
    (folder / "ledger.db").write_bytes(b"no database at all, but long enough" * 500)


def lose_key(folder: Path) -> None:
    """The key was not in the backup."""
    (folder / "keys" / "house.key").unlink()


def age(folder: Path) -> None:
    """A newer version migrated it."""
    database = apsw.Connection(str(folder / "ledger.db"))
    database.pragma("user_version", 999)
    database.close()


def digest(folder: Path) -> str:
    """All bytes of the database that is there."""
    database = folder / "ledger.db"
    return hashlib.sha256(database.read_bytes() if database.exists() else b"").hexdigest()


@pytest.mark.parametrize(
    ("harm", "error", "said"),
    [
        (cut, LedgerBroken, "damaged|verify|missing|hash"),
        (lose, LedgerBroken, "had a ledger"),
        (replace_it, LedgerBroken, "damaged"),
        (lose_key, HouseUnusable, "key"),
        (age, HouseTooNew, "schema 999"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_harmed_house_is_refused_with_what_to_do_and_stays_as_it_is(
    folder: Path, harm: Callable[[Path], None], error: type[TildawnError], said: str
) -> None:
    """Evidence is never repaired away, and the way out is named."""
    harm(folder)
    before = digest(folder)

    with pytest.raises(error, match=said) as caught:
        House.open(folder, Settings(), mode="write", clock=ManualClock())

    assert caught.value.hint
    assert caught.value.exit_code in {2, 4}
    assert digest(folder) == before


def test_a_house_on_a_network_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locks do not hold there, so two processes would write."""
    monkeypatch.setattr(disk, "file_system_of", lambda _: "nfs4")

    with pytest.raises(HouseUnusable, match="network file system"):
        House.open(tmp_path / ".tildawn", Settings(), mode="write", clock=ManualClock())


def test_a_house_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """Where a file stands there is no folder; the message names the place."""
    (tmp_path / "file").write_text("")

    with pytest.raises(HouseUnusable, match="cannot be made"):
        House.open(tmp_path / "file" / ".tildawn", Settings(), mode="write", clock=ManualClock())


def test_a_house_has_one_writer_and_any_number_of_readers(folder: Path) -> None:
    """The second pen is refused at once, by name of the first."""
    clock = ManualClock()
    with (
        House.open(folder, Settings(), mode="write", clock=clock) as first,
        House.open(folder, Settings(), mode="read", clock=clock) as reader,
    ):
        with pytest.raises(HouseLocked, match=str(os.getpid())):
            House.open(folder, Settings(), mode="write", clock=clock)
        assert reader.ledger.name == first.ledger.name
        assert not reader.ledger.writable


def test_the_nearest_house_above_is_found(folder: Path) -> None:
    """One works in folders below the project's."""
    below = folder.parent / "a" / "b"
    below.mkdir(parents=True)

    assert find_house(below, environ={}) == folder


def test_a_chosen_house_wins_over_the_variable_and_that_over_the_place(
    folder: Path, tmp_path: Path
) -> None:
    """The nearer to the command, the stronger."""
    environ = {"TILDAWN_HOME": str(tmp_path / "other")}

    assert find_house(folder.parent, environ=environ) == tmp_path / "other" / ".tildawn"
    assert find_house(folder.parent, chosen=folder.parent, environ=environ) == folder
    assert find_house(folder.parent, chosen=folder, environ=environ) == folder


def test_a_module_of_the_settings_that_is_not_there_stops_the_work(folder: Path) -> None:
    """A night without its tasks would hold every run in its first minute."""
    settings = Settings(house=HouseSettings(tasks=("no_such_module",)))

    async def begin(house: House) -> None:
        async with working(house, env={}):
            pytest.fail("it began")

    with House.open(folder, settings, mode="write", clock=ManualClock()) as house:
        with pytest.raises(BadTask, match="no_such_module"):
            asyncio.run(begin(house))
        assert not house.working


def test_work_stops_with_its_block_and_the_house_stays_open(folder: Path) -> None:
    """What is going on returns to the queue, on record, before the pen is laid down."""

    @task
    async def waits(ctx: Context) -> str:
        return await ctx.event("go")

    async def work(house: House) -> str:
        house.tasks.add(waits)
        async with working(house, env={}):
            run = (await house.owner.enqueue(waits)).run
            while not house.engine.residents:
                await house.ledger.append(
                    [house.ledger.draft(HEARTBEAT)]
                )  # a turn of the writer, so that the engine has one too
        return run

    clock = ManualClock()
    with House.open(folder, Settings(), mode="write", clock=clock) as house:
        run = asyncio.run(work(house))
        with house.ledger.read() as reader:
            kinds = [fact.kind for _, fact in reader.history(run)]

    assert kinds[-1] == "RunInterrupted"
    assert not house.working


def test_a_chat_without_a_provider_is_refused_in_words(folder: Path) -> None:
    """The task learns what is missing, and nobody is asked by default."""
    said: list[str] = []

    @task
    async def ask(ctx: Context) -> str:
        try:
            return await ctx.outside("ask", "chat", {"prompt": "hello"})
        except TildawnError as error:
            said.append(str(error))
            raise

    async def work(house: House) -> None:
        house.tasks.add(ask)
        async with working(house, env={}):
            await house.owner.enqueue(ask)
            while not said:
                await house.ledger.append([house.ledger.draft(HEARTBEAT)])

    settings = Settings(provider=ProviderSettings())
    with House.open(folder, settings, mode="write", clock=ManualClock()) as house:
        asyncio.run(work(house))

    assert "no provider" in said[0]


@pytest.mark.parametrize(
    ("passed", "wall", "kinds"),
    [
        (5, 5, []),
        (3_600, 3_600, ["MachineSlept"]),
        (5, 3_605, ["ClockJumped"]),
        (5, -3_600, ["ClockJumped"]),
    ],
)
def test_sleeping_and_jumping_clocks_are_facts(
    folder: Path, passed: int, wall: int, kinds: list[str]
) -> None:
    """The report says when the laptop was closed, and never calls it work."""
    clock = TwoClocks()

    async def look(house: House) -> None:
        on = Turning(house.ledger, Door(house.ledger, clock, Random(0)), clock)
        clock.move(mono=passed, wall=wall)
        await watch_clock(on)

    with House.open(folder, Settings(), mode="write", clock=clock) as house:
        size = house.ledger.head().size
        asyncio.run(look(house))
        with house.ledger.read() as reader:
            found = [fact.kind for seq, fact in reader.facts() if seq >= size]

    assert found == kinds


def test_every_loop_says_what_a_crash_in_it_leaves() -> None:
    """One table, so that no loop hides, and each has an owner."""
    names = [loop.name for loop in LOOPS]

    assert sorted(set(names)) == sorted(names)
    assert all(loop.leaves and loop.owner for loop in LOOPS)
    assert all((loop.turn is None) == (loop.period is None) for loop in LOOPS)


class TwoClocks(ManualClock):
    """Wall time and steady time that move apart, as when somebody sets the clock."""

    def move(self, *, mono: int, wall: int) -> None:
        """Let so many seconds pass on each."""
        self.advance(Micros(mono * SECOND))
        self._wall = Micros(self._wall + (wall - mono) * SECOND)
