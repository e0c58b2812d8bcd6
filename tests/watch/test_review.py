"""The looks after a promotion: due when they were promised, the same however late.

What it is not: the loop that takes them.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tildawn.facts.route import RoutePromoted
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.projections.traffic import DAY, HOUR
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.testing.clock import ManualClock
from tildawn.testing.history import History
from tildawn.watch.review import due_reviews


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    clock = ManualClock()
    ledger = Ledger.open(
        tmp_path, registry=REGISTRY, projections=PROJECTIONS, clock=clock, ids=Ids(clock),
        build="test",
    )  # fmt: skip
    yield History(ledger, clock, "shop:create")
    ledger.close()


def promote(history: History) -> None:
    now = history.clock.wall()
    history.say(
        RoutePromoted(route="shop:create", policy="p", watch_at=now + HOUR, review_at=now + DAY)
    )


def due(history: History):
    with history.ledger.read() as reader:
        return due_reviews(reader, history.clock.wall())


def test_nothing_is_due_before_the_hour_is_over(history: History) -> None:
    """A look at half an hour says nothing."""
    promote(history)
    history.wait(3_599)

    assert due(history) == []


def test_the_look_after_an_hour_counts_from_the_promotion(history: History) -> None:
    """What happened before was under other numbers."""
    history.attempt("timeout")
    history.wait(60)
    promote(history)
    for _ in range(30):
        history.attempt()
    history.wait(3_600)

    [look] = due(history)

    assert (look.look, look.good, look.attempts, look.timeouts) == ("watch", True, 30, 0)


def test_a_look_that_comes_late_says_the_same(history: History) -> None:
    """A machine that slept over it must not count the morning."""
    promote(history)
    history.attempt()
    history.wait(3_600)
    [early] = due(history)
    history.attempt("timeout")
    history.wait(7_200)

    assert due(history) == [early]


def test_a_look_that_was_taken_is_not_due_again(history: History) -> None:
    """Once each: after an hour, and after a day."""
    promote(history)
    history.wait(3_600)
    [watch] = due(history)
    history.say(watch)
    assert due(history) == []
    history.turn("open", cause="share", wait=5)
    history.wait(300)
    history.turn("ramp", cause="proven")
    history.wait(86_400)

    [review] = due(history)

    assert (review.look, review.good, review.open_ms) == ("review", False, 300_000)
