"""Anchors as their owner uses them: set, asked for, shown, and the one thing that they find."""

import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def anchored(program: Any) -> Any:
    """A project whose ledger is kept in another folder too."""
    (program.folder / "disk").mkdir()
    (program.folder / "tildawn.toml").write_text('[anchor."disk"]\nkind = "file"\npath = "disk"\n')
    return program


def test_without_an_anchor_nothing_is_proven(program: Any) -> None:
    """Missing is never fine."""
    assert "no anchor is set" in program.run("anchor", "verify", code=3).stdout
    listed = program.run("anchor", "list").stdout
    assert "No anchor is set" in listed
    assert "Key for a witness: tildawn/" in listed


def test_a_ledger_is_anchored_and_verified(anchored: Any) -> None:
    """What is there, what is owed and what it cannot prove are all said."""
    assert "not tried" not in anchored.run("anchor", "verify", code=3).stdout
    assert "has " in anchored.run("anchor", "now").stdout
    told = anchored.run("anchor", "verify").stdout
    assert "Proven: every place has seen the beginning of this ledger." in told
    assert "it proves nothing to those who do not trust you" in told
    assert "Anchor disk: " in anchored.run("status").stdout
    assert "anchors" in anchored.run("doctor").stdout


def test_an_older_copy_of_the_house_is_found(anchored: Any, tmp_path: Path) -> None:
    """The house itself verifies; the other folder has seen more."""
    shutil.copytree(anchored.house, tmp_path / "copy")
    anchored.run("anchor", "now")
    shutil.rmtree(anchored.house)
    shutil.copytree(tmp_path / "copy", anchored.house)

    anchored.run("verify")
    told = anchored.run("anchor", "verify", code=4).stdout
    assert "it was cut" in told
    assert "copy the house away and keep it" in told


def test_an_anchor_that_fails_is_seen_and_stops_nothing(anchored: Any) -> None:
    """The exit code says it, doctor and status say it, and work is accepted all the same."""
    (anchored.folder / "disk").rmdir()
    assert "is not there" in anchored.run("anchor", "now", code=3).stdout
    assert "unanchored for" in anchored.run("status").stdout
    [check] = [one for one in anchored.ask("doctor")["checks"] if one["name"] == "anchors"]
    assert (check["verdict"], check["advice"]) == ("warn", "tildawn anchor now")
    jobs = anchored.folder / "jobs.py"
    anchored.run("enqueue", f"{jobs}:total", "shops=1")


def test_the_holder_of_the_pen_anchors_when_it_is_asked(anchored: Any) -> None:
    """A working house asks its own places; nobody takes the pen from it."""
    anchored.up()
    asked = anchored.ask("anchor", "now")

    assert [one["state"] for one in asked["standings"]] == ["anchored"]
    assert anchored.ask("anchor", "verify")["exit_code"] == 0
