"""Dead letters and repair, as they are typed.

What it is not: what they do to a house; the operations are tried beside the runtime.
"""

from pathlib import Path
from typing import Any

import pytest

from tildawn.facts.call import CallSettled
from tildawn.facts.picture import Drawn
from tildawn.facts.run import RunFailed, RunStarted
from tildawn.providers.sim.drawing import png
from tildawn.runtime.house import House
from tildawn.runtime.setting import Settings


def say(shell: Any, run: str, *facts: Any, blobs: tuple[str, ...] = ()) -> None:
    """Put facts of a run on record, as the engine and the door do."""
    with House.open(shell.house, Settings(), mode="write") as house:
        house.ledger.append_now([house.ledger.draft(one, run=run, blobs=blobs) for one in facts])


@pytest.fixture
def dead(shell: Any, total: str) -> str:
    """A run that has failed for good."""
    run = shell.ask("enqueue", total, "shops=3", "--label", "VAL-001")["run"]
    say(shell, run, RunStarted(attempt=1), RunFailed(error="", kind="refused_content"))
    return run


def test_a_dead_letter_is_listed_with_its_reason_and_what_to_type(shell: Any, dead: str) -> None:
    """Who reads it at seven in the morning has not read the manual."""
    said = shell("dead").out

    assert "q-1" in said
    assert "VAL-001" in said
    assert "the other side refuses what it asks for" in said
    assert "tildawn retry q-1" in said
    [letter] = shell.ask("dead")["letters"]
    assert (letter["run"], letter["why"], letter["next"]) == (
        dead, "refused_content", "tildawn retry q-1",
    )  # fmt: skip
    assert shell.ask("dead", "--night", "-")["total"] == 1
    assert shell.ask("dead", "--night", "4")["total"] == 0


def test_retry_takes_a_letter_off_the_list(shell: Any, dead: str) -> None:
    """One verb for all of them."""
    assert shell.ask("retry", dead)["changed"]

    assert shell("dead").out == "No dead letter.\n"
    assert shell.ask("show", dead)["run"]["state"] == "queued"


def test_a_letter_that_was_seen_leaves_the_list_and_says_so_once(shell: Any, dead: str) -> None:
    """The list is for what still wants something."""
    assert "Off the list: q-1, failed." in shell("dead", "--seen", dead, "--reason", "old").out
    assert "It was not on the list" in shell("dead", "--seen", dead).out

    assert shell.ask("dead")["total"] == 0
    assert shell.ask("show", dead)["run"]["state"] == "failed"


@pytest.fixture
def lost(shell: Any, dead: str) -> Drawn:
    """A picture of the run, whose file is gone."""
    content = png("p", 16, 8)
    with House.open(shell.house, Settings(), mode="write") as house:
        blob = house.ledger.blobs.put(content)
        path = house.ledger.blobs.path(blob)
    drawn = Drawn(blob, "image/png", 16, 8, len(content))
    settled = CallSettled(attempt=1, final=True, effect="applied", picture=drawn)
    say(shell, dead, settled, blobs=(blob,))
    path.unlink()
    return drawn


def test_repair_says_what_it_would_do_and_does_exactly_that(shell: Any, lost: Drawn) -> None:
    """Nobody agrees to what was not shown."""
    planned = shell("repair", "--plan").out
    hash_ = shell.ask("repair")["plan"]

    assert "- condemn" in planned
    assert "was missing" in planned
    assert f"Next: tildawn repair --apply {hash_}" in planned
    assert shell.ask("repair")["pictures"] == 1
    done = shell("repair", "--apply", hash_).out
    assert "0 files put back, 0 pictures measured, 1 condemned" in done
    assert "Nothing to repair." in shell("repair").out
    assert "done before" in shell("repair", "--apply", hash_).out


def test_a_hash_that_is_not_of_now_is_refused_with_what_to_type(shell: Any, lost: Drawn) -> None:
    """Exit code 3: a gate says no, and nothing was touched."""
    said = shell("repair", "--apply", "0" * 64, code=3)

    assert "[plan-changed]" in said.err
    assert "Next: tildawn repair --plan" in said.err
    assert shell.ask("repair")["pictures"] == 1


def test_a_file_comes_back_from_a_copy_that_is_named(
    shell: Any, lost: Drawn, tmp_path: Path
) -> None:
    """The words that the plan prints can be typed as they are."""
    copy = tmp_path / "copy"
    (copy / ".tildawn" / "blobs" / lost.blob[:2]).mkdir(parents=True)
    (copy / ".tildawn" / "blobs" / lost.blob[:2] / lost.blob).write_bytes(png("p", 16, 8))
    planned = shell("repair", "--plan", "--from", "copy").out
    words = planned.split("Next: tildawn ")[1].split()

    assert "1 files put back" in shell(*words).out
    assert "Nothing to repair." in shell("repair").out


@pytest.mark.parametrize(
    "words", [["--plan", "--apply", "x"], ["--from", "nowhere"]], ids=["both", "no-folder"]
)
def test_what_makes_no_sense_is_refused_before_anything_is_looked_at(
    shell: Any, words: list[str]
) -> None:
    """A typing error must not become a repair."""
    shell("repair", *words, code=2)
