"""A table that refuses facts: that it did is on record, and three times of the same is too much.

What it is not: a test of the refusal itself; that is with appending.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tildawn.errors import InvariantViolated
from tildawn.facts import quarantine, reconcile
from tildawn.facts.fact import Fact, Registry
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.verify import verify
from tildawn.ledger.violation import ALL_MOST, SAME_MOST, WINDOW
from tildawn.projections.quarantine import QUARANTINE, quarantine_of
from tildawn.projections.reconcile import RECONCILE, InvariantRow
from tildawn.testing import notebook
from tildawn.testing.clock import ManualClock
from tildawn.testing.notebook import Noted, Seated


REGISTRY = Registry([*notebook.REGISTRY.kinds().values(), *reconcile.KINDS, *quarantine.KINDS])
PROJECTIONS = (*notebook.PROJECTIONS, RECONCILE, QUARANTINE)


@pytest.fixture
def clock() -> ManualClock:
    """Time that moves when it is told to."""
    return ManualClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: ManualClock) -> Iterator[Ledger]:
    """A house in which ann sits on the one seat."""
    made = notebook.open_notebook(
        tmp_path / "house", clock=clock, registry=REGISTRY, projections=PROJECTIONS
    )
    made.append_now([made.draft(Seated(who="ann"))])
    yield made
    made.close()


def sit(ledger: Ledger, who: str) -> None:
    """Sit down where somebody sits: the table refuses it."""
    with pytest.raises(InvariantViolated):
        ledger.append_now([ledger.draft(Noted(key=1), run="aa"), ledger.draft(Seated(who=who))])


def facts(ledger: Ledger, kind: str) -> list[Fact]:
    """Every fact of a kind, after all that is queued."""
    ledger.append_now([ledger.draft(Noted(key=ledger.next_seq), run="bb")])
    with ledger.read() as reader:
        found = [fact for _, fact in reader.facts(limit=-1)]
    return [fact for fact in found if isinstance(fact, Fact) and fact.kind == kind]


def test_a_refusal_by_a_table_is_a_fact_with_the_rule_and_the_kinds(ledger: Ledger) -> None:
    """A bug that is refused silently is a bug that stays."""
    sit(ledger, "bob")

    [fact] = facts(ledger, "InvariantBroken")
    said = fact.data
    assert isinstance(said, reconcile.InvariantBroken)
    assert said.table == "seat"
    assert "seat.sits" in said.rule
    assert said.refused == {"Noted": 1, "Seated": 1}
    with ledger.read() as reader:
        [row] = reader.rows(InvariantRow)
        assert quarantine_of(reader) is None
    assert (row.about, row.times) == ("seat", 1)


def test_the_same_rule_three_times_in_ten_minutes_is_a_quarantine(ledger: Ledger) -> None:
    """A loop that runs against a wall does not stop by itself."""
    for who in ("bob", "eve", "joe"):
        sit(ledger, who)

    assert len(facts(ledger, "HouseQuarantined")) == 1
    with ledger.read() as reader:
        row = quarantine_of(reader)
    assert row is not None
    assert (row.why, row.about, row.times) == ("invariant", "seat", SAME_MOST)


def test_refusals_far_apart_are_no_quarantine(ledger: Ledger, clock: ManualClock) -> None:
    """One accident a day is no loop."""
    for who in ("bob", "eve", "joe", "kim"):
        sit(ledger, who)
        facts(ledger, "InvariantBroken")
        clock.advance(WINDOW)

    assert len(facts(ledger, "InvariantBroken")) == 4
    assert facts(ledger, "HouseQuarantined") == []


def test_a_loop_of_refusals_does_not_fill_the_disk(ledger: Ledger) -> None:
    """What is refused ten thousand times is told three times."""
    for number in range(50):
        sit(ledger, f"guest {number}")

    assert len(facts(ledger, "InvariantBroken")) == SAME_MOST
    assert len(facts(ledger, "HouseQuarantined")) == 1
    assert SAME_MOST <= ALL_MOST


def test_a_house_with_refusals_is_proven(ledger: Ledger, tmp_path: Path) -> None:
    """What was refused left nothing but the word about it."""
    sit(ledger, "bob")
    facts(ledger, "InvariantBroken")
    ledger.close()

    verdict = verify(tmp_path / "house", registry=REGISTRY, projections=PROJECTIONS)

    assert verdict.exit_code == 0, verdict
