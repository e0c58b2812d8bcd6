"""Snapshots as they are typed, with and without a process that holds the house.

What it is not: the rules of when one is due; tests/ledger/test_snapshot.py has those.
"""

from typing import Any

import pytest


def test_a_snapshot_is_taken_and_listed(shell: Any, total: str) -> None:
    """Whoever is about to change something types one word."""
    shell.ask("enqueue", total, "shops=3")
    assert "No snapshot yet" in shell("snapshot", "--list").out

    said = shell("snapshot", "--reason", "before the new prices").out

    assert "verified." in said
    [one] = shell.ask("snapshot", "--list")["snapshots"]
    assert one["name"] in said
    assert (one["why"], one["damaged"]) == ("asked", 0)
    assert one["name"] in shell("snapshot", "--list").out
    assert "SnapshotTaken" in shell("logs").out


def test_a_snapshot_is_taken_while_the_house_is_held(program: Any) -> None:
    """A night must not end so that somebody can be careful."""
    program.run("init")
    program.up()

    made = program.ask("snapshot")

    assert program.ask("snapshot", "--list")["snapshots"] == [made]


def test_a_house_goes_back_as_it_is_typed(shell: Any, total: str) -> None:
    """The plan first, then a question; what is left is named with its folder."""
    shell.ask("enqueue", total, "shops=3")
    facts = shell.ask("status")["facts"]
    run = shell.ask("enqueue", total, "shops=4")["run"]

    planned = shell("restore", "--to", str(facts), "--plan").out
    done = shell("restore", "--to", str(facts), "--yes", "--reason", "a wrong plan")

    assert f"Would go back to {facts} facts" in planned
    assert "1 runs were accepted since then" in planned
    assert f"Went back to {facts} facts" in done.out
    assert "aside" in done.out
    assert run not in {one["run"] for one in shell.ask("runs")["runs"]}
    assert shell.ask("verify")["state"] == "proven"


def test_a_reason_for_going_back_holds_no_secret(
    shell: Any, total: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is recorded before a ledger is open that would look."""
    monkeypatch.setenv("SHOP_WORD", "not-a-real-one")
    settings = ("--set", "ledger.secrets=SHOP_WORD")
    asked = ("restore", "--to", "latest", "--yes", "--reason", "was not-a-real-one")

    said = shell(*asked, *settings, code=3)

    assert "SHOP_WORD" in said.err
    assert b"not-a-real-one" not in (shell.house / "ledger.db").read_bytes()
    assert not (shell.house / "aside").exists()


def test_a_point_behind_the_end_is_refused(shell: Any, total: str) -> None:
    """With a word about what there is, and exit code 2."""
    shell.ask("enqueue", total, "shops=3")

    said = shell("restore", "--to", "100000", "--yes", code=2)

    assert "the last one is" in said.err
    assert "--to latest" in shell("restore", code=2).err


def test_a_drill_says_what_it_proved(shell: Any, total: str) -> None:
    """Exit code 3 where there is nothing to try, 0 where it was tried."""
    shell.ask("enqueue", total, "shops=3")
    assert "there is no snapshot" in shell("restore", "drill", code=3).out
    shell("snapshot")

    said = shell("restore", "drill", "--seed", "5").out

    assert "Proven in" in said
    assert "seed 5" in said
