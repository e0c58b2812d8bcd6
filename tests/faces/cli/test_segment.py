"""The archive as it is typed: what leaves, what does not and why, and that everything reads as before.

What it is not: the segments themselves; tests/ledger/test_archive.py has those.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tildawn.clock import SystemClock
from tildawn.runtime.house import House
from tildawn.runtime.segment import FOR_EVER, keep, seal_full
from tildawn.runtime.setting import Settings
from tildawn.testing.archive import FACTS, small_segments
from tildawn.units import SECOND, Micros


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]  a fixture for every test here
    with small_segments():
        yield


def _open(shell: Any) -> House:
    return House.open(Path(shell.house), Settings(), mode="write", clock=SystemClock())


@pytest.fixture
def sealed(shell: Any, total: str) -> list[str]:
    """A house with some sealed segments; its runs, which were cancelled."""
    runs: list[str] = []
    for number in range(10):
        run = shell.ask("enqueue", total, f"shops={number}")["run"]
        shell.ask("cancel", run)
        runs.append(run)
    with _open(shell) as house:
        assert seal_full(house.ledger) >= 2
    return runs


def test_segments_are_listed(shell: Any, sealed: list[str]) -> None:
    """An owner sees where old facts are."""
    listed = shell.ask("archive")["segments"]

    assert [one["number"] for one in listed] == list(range(len(listed)))
    assert {(one["moved_at"], one["pruned_at"]) for one in listed} == {(0, 0)}
    assert "database and archive" in shell("archive").out


def test_a_house_without_segments_says_so(shell: Any) -> None:
    """Most houses are small."""
    assert "No segment yet" in shell("archive").out


def test_old_facts_leave_and_everything_reads_as_before(shell: Any, sealed: list[str]) -> None:
    """The plan says what would be done; doing it changes no answer."""
    before = [shell.ask("show", run) for run in sealed]
    planned = shell.ask("archive", "--move-before", "32", "--plan")
    assert planned["segments"] == [0, 1]
    assert shell.ask("archive")["segments"][0]["moved_at"] == 0

    done = shell("archive", "--move-before", "32", "--compact").out

    assert "segments 0 to 1 have left" in done
    assert "written anew" in done
    assert [shell.ask("show", run) for run in sealed] == before
    assert [bool(one["moved_at"]) for one in shell.ask("archive")["segments"]][:3] == [
        True, True, False,
    ]  # fmt: skip
    assert shell("verify").code == 0
    assert shell.ask("archive", "--move-before", "32")["segments"] == []


def test_a_run_that_has_not_ended_keeps_its_facts(shell: Any, total: str) -> None:
    """Its history is asked for at every waking, so it stays where reading is quick."""
    waiting = shell.ask("enqueue", total, "shops=0")["run"]
    for number in range(10):
        shell.ask("cancel", shell.ask("enqueue", total, f"shops={number + 1}")["run"])
    with _open(shell) as house:
        seal_full(house.ledger)

    held = shell.ask("archive", "--move-before", "2100-01-01", "--plan")
    assert held["segments"] == []
    assert waiting in held["stopped_by"]
    shell.ask("cancel", waiting)
    assert shell.ask("archive", "--move-before", "2100-01-01", "--plan")["segments"]


def test_what_is_away_is_said_by_name(shell: Any, sealed: list[str]) -> None:
    """With the archive on another disk the house works; what needs it names it, with 3."""
    shell("archive", "--move-before", "2100-01-01")
    (shell.house / "archive").rename(shell.folder / "away")

    assert "segment 0" in shell("verify", code=3).out
    assert shell("verify", "--hashes").code == 0
    assert "archive-missing" in shell("show", sealed[0], code=3).err
    assert "archive-missing" in shell("logs", "--limit", "1000", code=3).err
    shell("status")


@pytest.mark.parametrize("words", [["--move-before", "soon"], ["--plan"]])
def test_nonsense_is_refused(shell: Any, words: list[str]) -> None:
    """Whoever moves facts must have said which."""
    assert shell("archive", *words, code=2).err


def test_settings_do_it_by_themselves(shell: Any, sealed: list[str]) -> None:
    """What is older than the setting leaves, what is older still is dropped; else nothing."""
    with _open(shell) as house:
        now = house.clock.wall()
        assert keep(house.ledger, now, hot=FOR_EVER, kept=FOR_EVER) == (0, 0)
        later = Micros(now + 100 * SECOND)
        assert keep(house.ledger, now, hot=Micros(3_600 * SECOND), kept=FOR_EVER) == (0, 0)
        moved, dropped = keep(house.ledger, later, hot=Micros(SECOND), kept=FOR_EVER)
        assert moved >= 2
        assert dropped == 0
        assert keep(house.ledger, later, hot=Micros(SECOND), kept=Micros(SECOND)) == (0, moved)
        assert house.ledger.next_seq > 2 * FACTS
    said = shell("verify", code=3).out
    assert "dropped when their time was over" in said
    assert "dropped" in shell("archive").out
