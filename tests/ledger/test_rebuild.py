"""Projections made again: when, from what, and what a failure leaves.

What it is not: a repair; a table that differs from its facts is verify's to report.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import apsw
import pytest
from msgspec.structs import replace

from tildawn.errors import BadValue, HouseUnusable, LedgerBroken
from tildawn.facts.fact import Fact
from tildawn.ledger.fold import Change, Get, Projection, Put, Row, Table
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.verdict import State
from tildawn.ledger.verify import verify
from tildawn.testing.notebook import (
    PROJECTIONS,
    REGISTRY,
    Note,
    Noted,
    Total,
    note,
    verify_notebook,
)
from tildawn.units import Seq


Open = Callable[..., Ledger]
NOTES, SEATS = PROJECTIONS


class Tally(Row, frozen=True, kw_only=True):
    """A table that no earlier version had."""

    run: str
    loud: int | None = None


def _tally(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    assert isinstance(fact.data, Noted)
    before = get(Tally, fact.run)
    loud = (before.loud or 0) if before else 0
    yield Put(Tally(run=fact.run, loud=loud + 10 * fact.data.amount))


TALLIES = Projection(
    name="tallies",
    version=1,
    tables=(Table(name="tally", row=Tally, key=("run",)),),
    folds={Noted: _tally},
)


def _written(house: Open) -> None:
    ledger = house()
    ledger.append_now([note(ledger, key, run="r") for key in range(10)])
    ledger.close()


def test_a_new_projection_is_made_from_all_facts(house: Open) -> None:
    """An application that is installed later sees the whole past."""
    _written(house)
    ledger = house(projections=(*PROJECTIONS, TALLIES))
    ledger.append_now([note(ledger, 10, run="r")])

    with ledger.read() as reader:
        assert reader.rows(Tally) == [Tally(run="r", loud=110)]


def test_a_new_fold_version_makes_the_tables_again(house: Open, folder: Path) -> None:
    """An upgrade that changes a fold must not leave rows of the old one."""
    _written(house)

    def doubled(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
        for change in NOTES.folds[Noted](seq, fact, get):
            if isinstance(change, Put) and isinstance(change.row, Total):
                yield Put(replace(change.row, amount=2 * change.row.count))
            else:
                yield change

    changed = (replace(NOTES, version=2, folds={Noted: doubled}), SEATS)
    ledger = house(projections=changed)

    with ledger.read() as reader:
        assert reader.get(Total, "r") == Total(run="r", count=10, amount=20, last=11)
    ledger.close()
    assert verify(folder, registry=REGISTRY, projections=changed).state is State.PROVEN
    assert verify_notebook(folder).state is State.NOT_PROVABLE


def test_other_columns_make_the_tables_again_without_a_new_version(house: Open) -> None:
    """A forgotten version number must not end in rows that do not fit."""
    first = house(projections=(*PROJECTIONS, TALLIES))
    first.append_now([note(first, 1, run="r")])
    first.close()
    table = replace(TALLIES.tables[0], sql=("CREATE INDEX {table}_loud ON {table} (loud)",))
    ledger = house(projections=(*PROJECTIONS, replace(TALLIES, tables=(table,))))

    with ledger.read() as reader:
        assert reader.query("SELECT name FROM sqlite_schema WHERE name = 'tally_loud'")
        assert reader.rows(Tally) == [Tally(run="r", loud=10)]


def test_an_unchanged_house_folds_nothing_at_opening(house: Open) -> None:
    """A house of a million facts must open at once."""
    _written(house)

    def never(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
        message = "folded"
        raise AssertionError(message)

    folds = dict.fromkeys(NOTES.folds, never)
    house(projections=(replace(NOTES, folds=folds), SEATS)).close()


def test_a_fold_that_fails_over_the_past_leaves_the_old_tables(house: Open, folder: Path) -> None:
    """The swap is one commit: the old version can still be started afterwards."""
    _written(house)

    def twice(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
        for change in NOTES.folds[Noted](seq, fact, get):
            yield change
            yield change

    with pytest.raises(LedgerBroken, match="fact 2"):
        house(projections=(replace(NOTES, version=2, folds={Noted: twice}), SEATS))

    assert verify_notebook(folder).state is State.PROVEN
    ledger = house()
    with ledger.read() as reader:
        assert reader.count(Note) == 10


def test_reading_waits_for_a_rebuild_by_the_holder_of_the_pen(house: Open) -> None:
    """A reader may not write, and must not show rows of other folds as if they were its own."""
    _written(house)

    with pytest.raises(HouseUnusable, match="notes"):
        house(mode="read", projections=(replace(NOTES, version=2), SEATS))


def test_a_large_past_is_folded_in_pieces(house: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded, and pieces must not change what comes out."""
    monkeypatch.setattr("tildawn.ledger.sqlite.rebuild.FLUSH_FACTS", 3)
    _written(house)
    ledger = house(projections=(replace(NOTES, version=2), SEATS))

    with ledger.read() as reader:
        assert reader.count(Note) == 10
        assert reader.get(Total, "r") == Total(run="r", count=10, amount=10, last=11)


class Odd(Row, frozen=True, kw_only=True):
    """A row with a column that SQLite does not have."""

    run: str
    share: float


@pytest.mark.parametrize(
    "table",
    [
        Table(name="odd", row=Odd, key=("run",)),
        Table(name="fact", row=Tally, key=("run",)),
        Table(name="note", row=Tally, key=("run",)),
        Table(name="Bad Name", row=Tally, key=("run",)),
        Table(name="tally", row=Tally, key=("nothing",)),
        Table(name="tally", row=Tally, key=()),
    ],
)
def test_a_table_that_cannot_be_is_refused(house: Open, table: Table, folder: Path) -> None:
    """At the start, with its name, and not with the first fact."""
    one = replace(TALLIES, tables=(table,))
    with pytest.raises(BadValue):
        house(projections=(*PROJECTIONS, one))


def test_a_column_may_be_empty(house: Open) -> None:
    """None is a value of its own, in the row and in the table."""

    def empty(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
        yield Put(Tally(run=fact.run))

    ledger = house(projections=(*PROJECTIONS, replace(TALLIES, folds={Noted: empty})))
    ledger.append_now([note(ledger, 1, run="r")])

    with ledger.read() as reader:
        assert reader.rows(Tally, "loud IS NULL") == [Tally(run="r")]
        assert reader.get(Tally, "nobody") is None


def test_a_table_that_was_emptied_is_not_filled_silently(house: Open, folder: Path) -> None:
    """Never repaired silently: what somebody did to the house is for verify to say."""
    _written(house)
    other: Any = apsw.Connection(str(folder / "ledger.db"))
    other.execute("DELETE FROM note")
    other.close()

    house().close()

    assert verify_notebook(folder).state is State.BROKEN
