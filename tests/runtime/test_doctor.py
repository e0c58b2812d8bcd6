"""The doctor: each thing that can be wrong is found, and what to do is said.

What it is not: a test of the machine that it runs on.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tildawn.clock import SystemClock
from tildawn.providers.sim.model import SimModel
from tildawn.providers.sim.server import SimServer
from tildawn.runtime import doctor
from tildawn.runtime.doctor import Check, State, examine
from tildawn.runtime.founding import found_house
from tildawn.runtime.house import House
from tildawn.runtime.setting import ProviderSettings, Settings
from tildawn.runtime.snapshot import Keeper
from tildawn.testing.clock import ManualClock
from tildawn.units import Micros


def checks(
    folder: Path, clock: Any = None, *, environ: Mapping[str, str] = {}, **provider: str
) -> dict[str, Check]:
    """What the doctor finds, by name."""
    settings = Settings(provider=ProviderSettings(**provider))
    found = asyncio.run(examine(folder, settings, clock or ManualClock(), environ=environ))
    return {one.name: one for one in found}


def take(folder: Path, settings: Settings, clock: ManualClock) -> None:
    """Take a snapshot of a house."""
    with House.open(folder, settings, mode="write", clock=clock) as house:
        Keeper(folder, settings, clock).take(house.ledger, "asked")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A house that is well."""
    found_house(tmp_path / ".tildawn", Settings(), clock=ManualClock(), example=False)
    return tmp_path / ".tildawn"


def test_a_house_that_is_well_has_no_advice(folder: Path) -> None:
    """Advice that is always there is not read."""
    found = checks(folder)

    for name in ("house", "writable", "sqlite", "keys", "clock", "pen"):
        assert found[name].verdict is State.OK, found[name]
        assert not found[name].advice


def test_what_is_not_ok_always_comes_with_what_to_do(folder: Path) -> None:
    """A finding without a next step is a worry."""
    (folder / "ledger.db").write_bytes(b"nothing" * 1_000)
    (folder / "keys" / "house.key").chmod(0o644)

    found = checks(folder)

    assert found["sqlite"].verdict is State.FAIL
    assert found["keys"].verdict is State.WARN
    assert all(one.advice for one in found.values() if one.verdict in {State.FAIL, State.WARN})


@pytest.mark.parametrize(
    ("free", "verdict"),
    [(50_000_000, State.FAIL), (500_000_000, State.WARN), (5_000_000_000, State.OK)],
)
def test_little_space_is_found_before_the_night(
    folder: Path, monkeypatch: pytest.MonkeyPatch, free: int, verdict: State
) -> None:
    """A full disk at three o'clock stops everything."""
    real = os.statvfs

    def said(place: Path) -> os.statvfs_result:
        values = list(real(place))
        values[1], values[4] = 1, free  # the size of a block, and how many of them are ours
        return os.statvfs_result(values)

    monkeypatch.setattr(os, "statvfs", said)

    assert checks(folder)["space"].verdict is verdict


def test_a_clock_that_was_lost_is_found(folder: Path) -> None:
    """Windows and due times of a machine in 1970 mean nothing."""
    assert checks(folder, ManualClock(wall=Micros(5)))["clock"].verdict is State.FAIL


def test_a_clock_behind_the_ledger_is_found(folder: Path) -> None:
    """Somebody set it back, or a battery is empty: the report would go back in time."""
    found = checks(folder, ManualClock(wall=Micros(ManualClock().wall() - 60_000_000)))

    assert found["clock"].verdict is State.WARN
    assert "60 s behind" in found["clock"].saw


def test_a_disk_that_syncs_in_no_time_is_not_believed(folder: Path) -> None:
    """Time stands still for this clock, as it does for a disk that only says so."""
    assert checks(folder)["sync"].verdict is State.WARN


def test_a_snapshot_that_is_old_is_found(folder: Path) -> None:
    """Nights in which none could be taken are told before the day one is needed."""
    assert checks(folder)["snapshot"].verdict is State.NOT_RUN
    take(folder, Settings(), ManualClock())
    assert checks(folder)["snapshot"].verdict is State.OK

    later = ManualClock(wall=Micros(ManualClock().wall() + 49 * 3_600 * 1_000_000))
    assert checks(folder, later)["snapshot"].verdict is State.WARN


def test_a_house_that_is_not_there_is_a_warning_with_the_command(tmp_path: Path) -> None:
    """Before `init` everything else can be examined already."""
    found = checks(tmp_path / ".tildawn")

    assert found["house"].advice == "tildawn init"
    assert found["space"].verdict is not State.NOT_RUN


def test_no_provider_is_not_run_and_never_ok(folder: Path) -> None:
    """What was not looked at is not called good."""
    assert checks(folder)["provider"].verdict is State.NOT_RUN


def test_a_missing_key_is_named_by_its_variable(folder: Path) -> None:
    """The next step can be copied."""
    found = checks(folder, name="openai")["provider"]

    assert found.verdict is State.FAIL
    assert "OPENAI_API_KEY" in found.advice


def test_a_provider_that_cannot_be_reached_is_found(folder: Path) -> None:
    """A wrong address looks the same as a provider that is down: both need a person."""
    found = checks(folder, SystemClock(), name="plain", base_url="http://127.0.0.1:9/v1")

    assert found["provider"].verdict is State.FAIL


def test_a_provider_that_answers_is_ok(folder: Path) -> None:
    """The list of models is free, so asking for it costs nothing."""

    async def look() -> Check:
        async with SimServer(SimModel(), clock=SystemClock()) as server:
            provider = ProviderSettings(name="sim", base_url=f"{server.url}/v1")
            found = await examine(
                folder, Settings(provider=provider), SystemClock(),
                environ={"SIM_API_KEY": "sim"},
            )  # fmt: skip
        return next(one for one in found if one.name == "provider")

    assert asyncio.run(look()).verdict is State.OK


def test_a_silent_provider_does_not_keep_the_doctor(folder: Path) -> None:
    """Three seconds are enough to know."""

    async def look() -> tuple[Check, ...]:
        async def hear(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.set()
            await gone.wait()
            writer.close()

        heard, gone, clock = asyncio.Event(), asyncio.Event(), ManualClock()
        server = await asyncio.start_server(hear, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        provider = ProviderSettings(name="plain", base_url=f"http://127.0.0.1:{port}/v1")
        asked = asyncio.create_task(examine(folder, Settings(provider=provider), clock, environ={}))
        await heard.wait()
        clock.advance(doctor.REACH_WAIT)
        found = await asked
        gone.set()
        server.close()
        return found

    assert asyncio.run(look())[-1].saw == "plain gave no answer in 3 s"


def test_a_switch_of_the_guard_that_says_nothing_known_is_found(folder: Path) -> None:
    """A typing error there would keep the worker from starting at eleven at night."""
    assert checks(folder)["guard"].verdict is State.OK
    assert checks(folder, environ={"GEN_BREAKER_ENABLED": "shadow"})["guard"].verdict is State.OK
    assert checks(folder, environ={"GEN_BREAKER_ENABLED": "onn"})["guard"].verdict is State.FAIL
