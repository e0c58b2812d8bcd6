"""What is counted of a played night, from facts that are said by hand.

What it is not: a played night; see tests/runtime/rehearsal/test_night.py.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tildawn.facts.call import (
    CallAnsweredLate,
    CallDispatched,
    CallHoldReleased,
    CallLookedUp,
    CallServed,
    CallSettled,
)
from tildawn.facts.route import RouteHeard
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.projections.traffic import PROBES
from tildawn.runtime.rehearsal.account import Account, account_of
from tildawn.runtime.rehearsal.script import parse
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.testing.clock import ManualClock
from tildawn.testing.history import History


ROUTE = "sim:chat"
SCRIPT = parse(
    """
    length = "6m"
    [[stream]]
    kind = "chat"
    every = "4s"
    """
)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    clock = ManualClock()
    ledger = Ledger.open(
        tmp_path, registry=REGISTRY, projections=PROJECTIONS, clock=clock, ids=Ids(clock),
        build="test",
    )  # fmt: skip
    yield History(ledger, clock, ROUTE)
    ledger.close()


def counted(history: History) -> Account:
    return account_of(history.ledger, SCRIPT, began=history.clock.wall(), mode="on")


def lose(history: History, path: str, *, run: str = "1" * 32, probe: bool = False) -> None:
    """An attempt of which nobody knows what became; 40 are held for it."""
    sent = CallDispatched(
        name="chat", route=ROUTE, attempt=1, key=path, args="a", repeat="safe", deadline=0,
        timeout_ms=1, reserve_micro_usd=40, probe=probe,
    )  # fmt: skip
    end = CallSettled(
        attempt=1, final=False, effect="unknown", fault="timeout", spend_micro_usd=40,
        spend_source="held",
    )  # fmt: skip
    history.say(sent, run=run, path=path)
    history.say(end, run=run, path=path)


@pytest.mark.parametrize("probe", [False, True])
@pytest.mark.parametrize(
    ("word", "spend"),
    [
        (None, 40),
        (CallAnsweredLate(attempt=1, spend_micro_usd=25, spend_source="reported"), 25),
        (CallAnsweredLate(attempt=1), 40),
        (CallHoldReleased(attempt=1, why="unsent"), 0),
        (CallLookedUp(answer="absent"), 0),
    ],
)
def test_money_counts_once_whatever_becomes_of_a_lost_attempt(
    history: History, word, spend: int, probe: bool
) -> None:
    """A bill takes the place of what was held, and what was let go was not spent."""
    run = PROBES if probe else "1" * 32
    history.attempt(spend=7)
    lose(history, "p", run=run, probe=probe)
    if word is not None:
        history.say(word, run=run, path="p")

    found = counted(history)

    assert (found.spend, found.probe_spend) == (7 + spend, spend if probe else 0)


def test_a_primary_that_times_out_behind_its_substitute_is_a_timeout(history: History) -> None:
    """Whoever watches is served in time; the other side was as bad as without that."""
    sent = CallDispatched(
        name="chat", route=ROUTE, attempt=1, key="k", args="a", repeat="safe", deadline=0,
        timeout_ms=1, reserve_micro_usd=40,
    )  # fmt: skip
    at = history.say(sent, run="1" * 32, path="p")
    history.say(
        CallServed(name="chat", route=ROUTE, args="a", tier="exact", instead="late", out=""),
        run="1" * 32, path="p",
    )  # fmt: skip
    history.say(RouteHeard(route=ROUTE, generation=0, dispatched=at, limit_ms=1, fault="timeout"))

    found = counted(history)

    assert (found.attempts, found.timeouts, found.spend) == (1, 1, 40)
