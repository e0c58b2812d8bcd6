"""A house with runs for two people, for tests of what is erased and what expires.

What it is not: the tests.
"""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tildawn.apps.night.desk import prepare
from tildawn.apps.night.night import NightOptions, run_night
from tildawn.apps.night.reporting import write_report
from tildawn.engine.owner import Options
from tildawn.engine.task import task
from tildawn.errors import Misused
from tildawn.facts.house import ClockJumped
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.verify import verify
from tildawn.projections.erasure import ErasureRow
from tildawn.projections.run import ENDED, RunRow
from tildawn.runtime.config import Config
from tildawn.runtime.context import Context
from tildawn.runtime.expiry import Expiry
from tildawn.runtime.founding import found_house
from tildawn.runtime.house import House
from tildawn.runtime.logbook import end_log, keep_log
from tildawn.runtime.operation import Desk
from tildawn.runtime.operations.erasure import ERASE, EraseInput
from tildawn.runtime.setting import LedgerSettings, Settings
from tildawn.runtime.snapshot import Keeper
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.runtime.working import working
from tildawn.testing.clock import ManualClock
from tildawn.units import MILLISECOND, SECOND, Micros


DAY = 86_400 * SECOND
ADA, BOB = "ada.lovelace@example.org", "bob.babbage@example.org"
WHO = {ADA: b"lovelace", BOB: b"babbage"}


def shouted(who: str) -> str:
    return f"HELLO {who}"


@task
async def child(ctx: Context, who: str) -> str:
    return f"child of {who}"


@task
async def greet(ctx: Context, who: str) -> str:
    ctx.log(f"greeting {who}")
    said = await ctx.step(shouted, who)
    told = await ctx.child(child, who)
    await ctx.artifact("letter.txt", f"Dear {who}".encode())
    return (said + told) * 3_000


@task
async def fails(ctx: Context, who: str) -> str:
    message = f"no such person: {who}"
    raise Misused(message)


@task
async def waits(ctx: Context, who: str) -> str:
    return await ctx.event("go")


class Home:
    """A house with runs for two people."""

    def __init__(self, folder: Path, settings: Settings | None = None) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.greet, self.fails, self.waits = greet, fails, waits
        self.settings = settings or Settings()
        self._open()
        self.log = keep_log(folder, Settings().log, self.house.ledger.secrets)

    @property
    def ledger(self) -> Ledger:
        return self.house.ledger

    def close(self) -> None:
        self.house.close()
        end_log(self.log)
        logging.getLogger().setLevel(logging.WARNING)

    def reopen(self) -> None:
        """What the next process does."""
        self.house.close()
        self._open()

    def _open(self) -> None:
        self.house = House.open(self.folder, self.settings, mode="write", clock=self.clock)
        for one in (greet, child, fails, waits):
            self.house.tasks.add(one)

    def work(self, *jobs: tuple[Any, str], rest: frozenset[str] = ENDED) -> list[str]:
        """Accept runs and work until they have ended."""

        async def scene() -> list[str]:
            async with working(self.house, env={}):
                owner = self.house.owner
                runs: list[str] = [
                    (await owner.enqueue(what, who, options=Options(
                        subject=who, label=f"for {who}", key=f"{what.name} {who}"))).run
                    for what, who in jobs
                ]  # fmt: skip
                while any(self.state(run) not in rest for run in runs):
                    await self.ledger.append([self.ledger.draft(ClockJumped(by_ms=0))])
            return runs

        return asyncio.run(scene())

    def night(self, items: str) -> None:
        """Play a night whose plan is beside the house."""
        plan = self.folder.parent / "plan.yaml"
        plan.write_text(f"version: 1\nwork:\n{items}")

        async def scene() -> None:
            async with working(self.house, env={}, prepare=(prepare,)):
                night = asyncio.ensure_future(
                    run_night(
                        self.house.engine, self.house.ids, plan=plan, options=NightOptions(),
                        leave=asyncio.Event(), announce=lambda _: None,
                    )
                )  # fmt: skip
                while not night.done():
                    await self.ledger.append([self.ledger.draft(ClockJumped(by_ms=0))])
                    self.clock.advance(Micros(100 * MILLISECOND))
                await night

        asyncio.run(scene())

    def report(self) -> None:
        """Write the report of the latest night into the house."""
        write_report(self.ledger, self.folder, night="", clock=self.clock, alive=False)

    def runs_of_rows(self) -> dict[int, RunRow]:
        """The runs of a night's rows, without looks."""
        with self.ledger.read() as reader:
            rows = reader.rows(RunRow, "night <> '' AND evidence_for = '' AND parent = ''")
        return {row.row: row for row in rows}

    def expire(self, days: int, keep: int = 90) -> int:
        """Let days pass, and take a turn of what expires."""
        self.clock.advance(Micros(days * DAY))
        keeper = Keeper(self.folder, Settings(), self.clock)
        expiry = Expiry(self.folder, keeper, Micros(keep * DAY))
        return expiry.turn(self.ledger, self.clock.wall())

    def until_ended(self, run: str) -> None:
        """Work until a run has ended."""

        async def scene() -> None:
            async with working(self.house, env={}):
                while self.state(run) not in ENDED:
                    await self.ledger.append([self.ledger.draft(ClockJumped(by_ms=0))])

        asyncio.run(scene())

    def state(self, run: str) -> str:
        with self.ledger.read() as reader:
            row = reader.get(RunRow, run)
        assert row is not None
        return row.state

    def erase(self, who: str = "", **said: Any) -> Any:
        desk = Desk(
            Config(settings=Settings(), explained=()), self.clock, folder=self.folder,
            house=self.house,
        )  # fmt: skip

        async def scene() -> Any:
            return await ERASE.run(desk, EraseInput(subject=who, **said))

        return asyncio.run(scene())

    def erasures(self) -> list[ErasureRow]:
        """What was erased so far."""
        with self.ledger.read() as reader:
            return reader.rows(ErasureRow)

    def holding(self, who: str) -> list[str]:
        """The files below the house that hold somebody."""
        return [
            str(path)
            for path in self.folder.rglob("*")
            if path.is_file() and WHO[who] in path.read_bytes()
        ]

    def verdict(self) -> str:
        found = verify(self.folder, registry=REGISTRY, projections=PROJECTIONS)
        return f"{found.state.value} {found.what}"

    def text(self, run: str, kind: str) -> bytes:
        with self.ledger.read() as reader:
            [seq] = [seq for seq, fact in reader.history(run) if fact.kind == kind]
            return reader.payload(seq, 0)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A founded house."""
    folder = tmp_path / ".tildawn"
    found_house(folder, Settings(), clock=ManualClock(), example=False)
    made = Home(folder)
    yield made
    made.close()


@pytest.fixture
def homes() -> type[Home]:
    """Opens houses."""
    return Home


@pytest.fixture
def mirrored(tmp_path: Path) -> Iterator[Home]:
    """A house whose copy is within its folder's sight."""
    folder = tmp_path / "house" / ".tildawn"
    (folder.parent / "copy").mkdir(parents=True)
    ledger = LedgerSettings(mirror="sync-degrade", mirror_folder=str(folder.parent / "copy"))
    found_house(folder, Settings(), clock=ManualClock(), example=False)
    made = Home(folder, Settings(ledger=ledger))
    yield made
    made.close()
