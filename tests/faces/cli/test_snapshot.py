"""Snapshots as they are typed, with and without a process that holds the house.

What it is not: the rules of when one is due; tests/ledger/test_snapshot.py has those.
"""

from typing import Any


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
