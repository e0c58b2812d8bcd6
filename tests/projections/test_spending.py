"""Whose calls are in doubt, and which healed: what a report may say of them.

What it is not: the tables of calls; those are tried beside this file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tildawn.facts import call as calls
from tildawn.facts import house, run, step
from tildawn.facts.call import CallDispatched, CallResolved, CallSettled
from tildawn.facts.fact import FactData, Registry
from tildawn.facts.run import RunAccepted, RunAnswered, RunFailed, RunHeld, RunStarted
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.projections.call import CALL
from tildawn.projections.run import RUN
from tildawn.projections.spending import healed_by_route, runs_in_doubt
from tildawn.projections.tally import healed
from tildawn.testing.clock import ManualClock


NIGHT = "n" * 32
RUN_NAME = "1" * 32


class Night:
    """A night with one run, told by hand."""

    def __init__(self, folder: Path) -> None:
        """Begin it."""
        clock = ManualClock()
        registry = Registry((*house.KINDS, *run.KINDS, *step.KINDS, *calls.KINDS))
        self.ledger = Ledger.open(
            folder, registry=registry, projections=(RUN, CALL), clock=clock, ids=Ids(clock),
            build="test",
        )  # fmt: skip
        self.say(RunAccepted(task="t", args="", night=NIGHT), RunStarted(attempt=1))

    def say(self, *facts: FactData, path: str = "") -> None:
        """Append facts of the run."""
        entries = [self.ledger.draft(fact, run=RUN_NAME, path=path) for fact in facts]
        self.ledger.append_now(entries)

    def lost(self, repeat: str) -> None:
        """A call was sent, and nobody knows what became of it."""
        sent = CallDispatched(
            name="c", route="shop", attempt=1, key="k", args="a", repeat=repeat, deadline=0,
            timeout_ms=1,
        )  # fmt: skip
        gone = CallSettled(attempt=1, final=False, effect="unknown", fault="timeout")
        self.say(sent, gone, path="p")

    def doubted(self) -> bool:
        """Whether the run may have had an effect that nobody knows of."""
        with self.ledger.read() as reader:
            return RUN_NAME in runs_in_doubt(reader, NIGHT)

    def healed(self) -> list[Any]:
        """What healed, by both questions."""
        with self.ledger.read() as reader:
            return [*healed(reader, night=NIGHT), *healed_by_route(reader, NIGHT)]


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    """A night."""
    made = Night(tmp_path / "house")
    yield made
    made.ledger.close()


def test_a_keyed_call_is_in_no_doubt_while_its_run_goes_on(night: Night) -> None:
    """It is sent again by itself under its key, so nobody has to look."""
    night.lost("keyed")
    assert not night.doubted()

    night.say(RunHeld(why="paused", choices=("resume",)))
    assert night.doubted()
    night.say(RunAnswered(choice="resume"), RunStarted(attempt=2))
    assert not night.doubted()
    night.say(RunFailed(error=""))
    assert night.doubted()


def test_a_call_that_must_not_be_repeated_is_in_doubt_at_once(night: Night) -> None:
    """Nothing will clear it up by itself."""
    night.lost("never")

    assert night.doubted()


@pytest.mark.parametrize(
    ("choice", "doubted"), [("applied", False), ("not-applied", False), ("give-up", True)]
)
def test_a_call_given_up_stays_in_doubt_and_one_that_was_settled_does_not(
    night: Night, choice: str, doubted: bool
) -> None:
    """Giving up ends the asking, not the not-knowing."""
    night.lost("never")
    night.say(CallResolved(choice=choice), path="p")

    assert night.doubted() is doubted


def test_what_its_owner_resolved_did_not_heal_itself(night: Night) -> None:
    """Healed is what the machine did; the owner knows what the owner did."""
    night.lost("never")
    night.say(
        CallResolved(choice="applied"), CallSettled(attempt=1, final=True, effect="applied"),
        path="p",
    )  # fmt: skip

    assert night.healed() == []


def test_what_was_answered_after_a_failure_healed(night: Night) -> None:
    """The other side of the rule: without this the line could never be printed."""
    night.lost("safe")
    sent = CallDispatched(
        name="c", route="shop", attempt=2, key="k", args="a", repeat="safe", deadline=0,
        timeout_ms=1,
    )  # fmt: skip
    night.say(sent, CallSettled(attempt=2, final=True, effect="applied"), path="p")

    assert len(night.healed()) == 2
