"""Anchors as their owner uses them: set, asked for, shown, and the one thing that they find."""

import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def anchored(shell: Any) -> Any:
    """A project whose ledger is kept in another folder too."""
    (shell.folder / "disk").mkdir()
    (shell.folder / "tildawn.toml").write_text('[anchor."disk"]\nkind = "file"\npath = "disk"\n')
    return shell


def test_without_an_anchor_nothing_is_proven(shell: Any) -> None:
    """Missing is never fine."""
    assert "no anchor is set" in shell("anchor", "verify", code=3).out
    listed = shell("anchor", "list").out
    assert "No anchor is set" in listed
    assert "Key for a witness: tildawn/" in listed


def test_a_ledger_is_anchored_and_verified(anchored: Any) -> None:
    """What is there, what is owed and what it cannot prove are all said."""
    assert "not tried" not in anchored("anchor", "verify", code=3).out
    assert "has " in anchored("anchor", "now").out
    told = anchored("anchor", "verify").out
    assert "Proven: every place has seen the beginning of this ledger." in told
    assert "it proves nothing to those who do not trust you" in told
    assert "Anchor disk: " in anchored("status").out
    assert "anchors" in anchored("doctor").out


def test_an_older_copy_of_the_house_is_found(anchored: Any, tmp_path: Path) -> None:
    """The house itself verifies; the other folder has seen more."""
    shutil.copytree(anchored.house, tmp_path / "copy")
    anchored("anchor", "now")
    shutil.rmtree(anchored.house)
    shutil.copytree(tmp_path / "copy", anchored.house)

    anchored("verify")
    told = anchored("anchor", "verify", code=4).out
    assert "it was cut" in told
    assert "copy the house away and keep it" in told


def test_an_anchor_that_fails_is_seen_and_stops_nothing(anchored: Any, total: str) -> None:
    """The exit code says it, doctor and status say it, and work is accepted all the same."""
    (anchored.folder / "disk").rmdir()
    assert "is not there" in anchored("anchor", "now", code=3).out
    assert "unanchored for" in anchored("status").out
    [check] = [one for one in anchored.ask("doctor")["checks"] if one["name"] == "anchors"]
    assert (check["verdict"], check["advice"]) == ("warn", "tildawn anchor now")
    anchored("enqueue", total, "shops=1")


def test_the_holder_of_the_pen_anchors_when_it_is_asked(program: Any) -> None:
    """A working house asks its own places; nobody takes the pen from it."""
    (program.folder / "disk").mkdir()
    (program.folder / "tildawn.toml").write_text('[anchor."disk"]\nkind = "file"\npath = "disk"\n')
    program.up()

    asked = program.ask("anchor", "now")
    assert [one["state"] for one in asked["standings"]] == ["anchored"]
