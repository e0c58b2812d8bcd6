"""Permits on the command line: minted, shown, revoked, and a token that does what it may.

What it is not: the rules; those are beside the guard.
"""

from pathlib import Path
from typing import Any, cast

import pytest

from tildawn.clock import SystemClock
from tildawn.faces.catalog import BY_NAME, OPERATIONS
from tildawn.facts.permit import ASKED
from tildawn.projections.run import RunRow
from tildawn.runtime.house import House
from tildawn.runtime.operation import Permission
from tildawn.runtime.setting import Settings
from tildawn.runtime.token import PREFIX, operation_word


@pytest.fixture
def token(shell: Any) -> Path:
    """A file with a token that may enqueue any task for eight hours."""
    made = shell.ask("permit", "mint", "--operations", "work", "--expires", "8h", "--token")
    file = shell.folder / "token"
    file.write_text(made["token"] + "\n")
    return file


def bytes_of(folder: Path) -> bytes:
    """Everything that a house keeps."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_permit_says_what_was_asked_for_it(shell: Any) -> None:
    """Whoever mints must read what the house understood."""
    said = shell(
        "permit", "mint", "--operations", "read,chat", "--routes", "sim:*", "--max-calls", "5",
        "--max-cost", "$1", "--expires", "8h", "--purpose", "the demo",
    ).out  # fmt: skip
    assert "chat file:read http:GET http:HEAD" in said
    [one] = shell.ask("permit", "list")["permits"]
    assert (one["max_calls"], one["max_cost_micro_usd"], one["calls"]) == (5, 1_000_000, 0)
    assert (one["routes"], one["purpose"], one["state"]) == (["sim:*"], "the demo", "open")
    shown = shell.ask("permit", "show", one["permit"][-8:])
    assert shown == one


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["--operations", "teleport"], "teleport", 3),
        (["--operations", ","], "allows nothing", 2),
        (["--operations", "chat", "--token"], "needs an end", 2),
        (["--operations", "chat", "--expires", "soon"], "soon", 2),
        (["--operations", "chat", "--max-cost", "1.0000001"], "1.0000001", 2),
        (["--operations", "chat", "--parent", "f00d"], "no permit is called f00d", 2),
        (["--operations", "chat", "--routes", "x" * 300], "pattern", 2),
        (["--operations", "chat", "--run", "q-77"], "q-77", 2),
    ],
)
def test_a_permit_that_cannot_be_is_refused(shell: Any, words, said, code) -> None:
    """Nothing is minted from what was mistyped."""
    assert said in shell("permit", "mint", *words, code=code).err
    assert shell.ask("permit", "list", "--all")["permits"] == []


def test_a_child_has_what_its_parent_has_unless_it_has_less(shell: Any) -> None:
    """What is left out is not unlimited."""
    parent = shell.ask(
        "permit", "mint", "--operations", "http", "--routes", "http:*", "--resources",
        "https://api.shop/**", "--expires", "8h", "--max-calls", "9",
    )["permit"]  # fmt: skip
    child = shell.ask(
        "permit",
        "mint",
        "--parent",
        parent["permit"],
        "--operations",
        "http:GET",
        "--expires",
        "1h",
    )["permit"]
    assert (child["routes"], child["resources"]) == (parent["routes"], parent["resources"])
    assert child["max_calls"] == 9
    assert child["expires_at"] < parent["expires_at"]


@pytest.mark.parametrize(
    "words",
    [
        ["--operations", "http,shell"],
        ["--operations", "http", "--expires", "9h"],
        ["--operations", "http", "--expires", "never"],
        ["--operations", "http", "--max-calls", "10"],
        ["--operations", "http", "--routes", "**"],
    ],
)
def test_a_child_wider_than_its_parent_is_refused_with_a_fact(shell: Any, words) -> None:
    """A typed refusal, and what was tried is on record."""
    parent = shell.ask(
        "permit", "mint", "--operations", "http", "--routes", "http:*", "--expires", "8h",
        "--max-calls", "9",
    )["permit"]["permit"]  # fmt: skip
    said = shell("permit", "mint", "--parent", parent, *words, code=3).err
    assert "not-permitted" in said
    assert "wider" in said
    assert shell.ask("permit", "show", parent)["refused"] == 1
    assert "PermitRefused" in shell("logs").out


def test_nothing_hangs_on_a_permit_that_is_over(shell: Any) -> None:
    """A child of a revoked permit would be a way back."""
    parent = shell.ask("permit", "mint", "--operations", "chat")["permit"]["permit"]
    child = shell.ask("permit", "mint", "--operations", "chat", "--parent", parent)["permit"]
    assert shell.ask("permit", "revoke", parent, "--reason", "done")["state"] == "revoked"
    assert shell.ask("permit", "show", child["permit"])["state"] == "cut off"
    assert shell.ask("permit", "list")["permits"] == []
    for one in (parent, child["permit"]):
        said = shell("permit", "mint", "--operations", "chat", "--parent", one, code=3).err
        assert "is over" in said


def test_the_limits_of_a_permit_are_not_those_of_a_budget(shell: Any) -> None:
    """A budget that can be raised must not be a way around a permit."""
    made = shell.ask("permit", "mint", "--operations", "chat", "--max-cost", "1")["permit"]
    said = shell("budget", f"permit/{made['permit']}", "9", code=2).err
    assert "never change" in said


def test_a_token_is_nowhere_in_the_house(shell: Any, token: Path, total: str) -> None:
    """Whoever reads the disk cannot act with it."""
    text = token.read_text().strip()
    assert text.startswith(PREFIX)
    shell("enqueue", total, "shops=1", "--token-file", str(token))
    assert text.encode() not in bytes_of(shell.house)
    assert text not in shell("permit", "list").out


def test_a_run_of_a_token_acts_under_its_permit(
    shell: Any, token: Path, total: str, monkeypatch
) -> None:
    """The file and the variable do the same."""
    first = shell.ask("enqueue", total, "shops=1", "--token-file", str(token))["run"]
    monkeypatch.setenv("TILDAWN_TOKEN", token.read_text())
    second = shell.ask("enqueue", total, "shops=2")["run"]
    [permit] = shell.ask("permit", "list")["permits"]
    opened = House.open(shell.house, Settings(), mode="read", clock=SystemClock())
    with opened as house, house.ledger.read() as reader:
        permits = [cast("RunRow", reader.get(RunRow, run)).permit for run in (first, second)]
    assert permits == [permit["permit"]] * 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--operations", "look", "--expires", "1h"], "does not allow enqueue"),
        (["--operations", "enqueue", "--expires", "1h"], "does not allow task"),
        (
            ["--operations", "work", "--routes", "task:other", "--expires", "1h"],
            "does not allow the route task:total",
        ),
        (["--operations", "work", "--expires", "1ms"], "has expired"),
    ],
)
def test_a_token_that_may_not_enqueue_is_refused_with_a_fact(
    shell: Any, total: str, monkeypatch, words, said
) -> None:
    """Nothing is accepted, and who tried is on record."""
    made = shell.ask("permit", "mint", *words, "--token")
    monkeypatch.setenv("TILDAWN_TOKEN", made["token"])
    assert said in shell("enqueue", total, "shops=1", code=3).err
    assert shell.ask("runs")["runs"] == []
    assert shell.ask("permit", "show", made["permit"]["permit"])["refused"] == 1


def test_a_token_that_nobody_made_leaves_nothing(shell: Any, total: str, monkeypatch) -> None:
    """Rubbish must not fill the ledger."""
    shell("permit", "mint", "--operations", "work")
    for rubbish in ("tdp_" + "A" * 43, "x", "tdp_"):
        monkeypatch.setenv("TILDAWN_TOKEN", rubbish)
        assert "no such token" in shell("enqueue", total, "shops=1", code=3).err
    assert "PermitRefused" not in shell("logs").out


def test_a_revoked_token_is_refused(shell: Any, token: Path, total: str) -> None:
    """To revoke a permit is to revoke its tokens."""
    [permit] = shell.ask("permit", "list")["permits"]
    shell("permit", "revoke", permit["permit"])
    said = shell("enqueue", total, "shops=1", "--token-file", str(token), code=3).err
    assert "was revoked" in said


def test_an_empty_token_file_is_no_owner(shell: Any, total: str) -> None:
    """A script whose token was lost must not get more than it had."""
    (shell.folder / "empty").write_text("\n")
    assert "holds no token" in shell("enqueue", total, "--token-file", "empty", code=2).err


def test_every_operation_has_a_word_that_a_permit_can_allow() -> None:
    """An operation without one could be asked for by no token, and nobody would know why."""
    assert {operation_word(one) for one in OPERATIONS} <= set(ASKED)
    assert operation_word(BY_NAME["permit.mint"]) == Permission.OWN.value
    assert {word for word in ASKED if "task" not in word} == {
        operation_word(one) for one in OPERATIONS
    }


def test_a_token_in_an_argument_is_refused_before_it_is_recorded(
    shell: Any, token: Path, total: str
) -> None:
    """Somebody will put it there, and a ledger keeps what it is given."""
    text = token.read_text().strip()
    said = shell("enqueue", total, "shops=1", f"name={text}", code=3)
    assert "secret-found" in said.err
    assert text not in said.err
    assert text.encode() not in bytes_of(shell.house)
