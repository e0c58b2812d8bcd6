"""Two sets of books: what differs is found, said, and made anew from the facts.

What it is not: a test of the loop that calls it at its hours; that is beside the runtime.
"""

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tildawn.errors import FoldFailed, LedgerBroken, PlanChanged
from tildawn.facts import quarantine, reconcile
from tildawn.facts.fact import Registry
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.reconcile import Reconciler, plan_hash
from tildawn.ledger.sqlite import replace
from tildawn.ledger.verdict import Verdict
from tildawn.ledger.verify import verify
from tildawn.projections.quarantine import QUARANTINE, quarantine_of
from tildawn.projections.reconcile import RECONCILE, DriftRow, drifts
from tildawn.testing import notebook
from tildawn.testing.clock import ManualClock
from tildawn.testing.notebook import Noted, Risen, Seated, Struck
from tildawn.units import Seq


REGISTRY = Registry([*notebook.REGISTRY.kinds().values(), *reconcile.KINDS, *quarantine.KINDS])
PROJECTIONS = (*notebook.PROJECTIONS, RECONCILE, QUARANTINE)


def at_once() -> bool:
    """No pause between slices."""
    return True


class Office:
    """A house with both sets of books."""

    def __init__(self, folder: Path) -> None:
        """Found it."""
        self.folder = folder
        self.clock = ManualClock()
        self.sits = ""
        self.open()

    def open(self) -> None:
        """Take the pen."""
        self.ledger = Ledger.open(
            self.folder, registry=REGISTRY, projections=PROJECTIONS, clock=self.clock,
            ids=Ids(self.clock), build="test",
        )  # fmt: skip
        self.books = Reconciler(
            self.ledger, self.folder, registry=REGISTRY, projections=PROJECTIONS,
            before=self._before, clock=self.clock,
        )  # fmt: skip

    def close(self) -> None:
        """Lay everything down."""
        self.books.close()
        self.ledger.close()

    def note(self, *keys: int, run: str = "aa", amount: int = 1) -> None:
        """Note something under each key."""
        for key in keys:
            entry = self.ledger.draft(Noted(key=key, amount=amount), run=run)
            self.ledger.append_now([entry])

    def sit(self, who: str) -> None:
        """Somebody takes the seat, after whoever has it has risen."""
        risen = [self.ledger.draft(Risen(who=self.sits))] if self.sits else []
        self.ledger.append_now([*risen, self.ledger.draft(Seated(who=who))])
        self.sits = who

    def tamper(self, *statements: str) -> None:
        """What somebody with the disk does; the writer's own memory is thrown away."""
        self.close()
        database = apsw.Connection(str(self.folder / "ledger.db"))
        for statement in statements:
            database.execute(statement).fetchall()
        database.close()
        self.open()

    def drifts(self) -> list[DriftRow]:
        """Every drift on record."""
        with self.ledger.read() as reader:
            return drifts(reader)

    def verified(self) -> Verdict:
        """The proof of the whole house."""
        return verify(self.folder, registry=REGISTRY, projections=PROJECTIONS)

    def _before(self, table: str, digest: str) -> int:
        with self.ledger.read() as reader:
            row = reader.get(DriftRow, table, digest)
        return 0 if row is None else row.times


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """A house with six notes and somebody in the seat, and its books."""
    made = Office(tmp_path / "house")
    made.note(1, 2, 3)
    made.note(1, 2, 3, run="bb")
    made.sit("ann")
    yield made
    made.close()


def test_equal_books_are_said_to_be_equal_and_nothing_is_written(office: Office) -> None:
    """A fact every five minutes that says nothing happened would be most of the ledger."""
    size = office.ledger.next_seq

    first, second = office.books.tail(at_once), office.books.tail(at_once)

    assert (first.whole, second.whole) == (True, False)
    assert (first.drifts, second.drifts) == ((), ())
    assert first.size == second.size == size == office.ledger.next_seq
    assert office.books.point() == size


DRIFTS = {
    "changed": ("UPDATE note SET amount = 7 WHERE run = 'aa' AND key = 2", "note", "amount is 7"),
    "removed": ("DELETE FROM note WHERE run = 'bb' AND key = 3", "note", "is not in the table"),
    "added": ("INSERT INTO note VALUES ('cc', 1, 1, 1)", "note", "no fact makes it"),
    "total": ("UPDATE total SET count = 9 WHERE run = 'aa'", "total", "count is 9, should be 3"),
    "empty": ("DELETE FROM seat", "seat", "is not in the table"),
    "index": ("DROP INDEX seat_one", "seat", "seat_one of the schema"),
    "table": ("DROP TABLE note", "note", "note of the schema"),
    "columns": ("ALTER TABLE seat ADD COLUMN more INTEGER", "seat", "seat of the schema"),
}


@pytest.mark.parametrize("name", DRIFTS)
def test_a_table_that_differs_is_found_said_and_made_anew(office: Office, name: str) -> None:
    """The facts are right, and a table is only what they make of it."""
    statement, table, words = DRIFTS[name]
    office.tamper(statement)

    found = office.books.whole(at_once)

    [drift] = found.drifts
    assert (drift.table, found.mended) == (table, (table,))
    assert words in drift.words[0]
    [row] = office.drifts()
    assert (row.about, row.times, row.rows) == (table, 1, drift.rows)
    assert row.mended > row.found
    with office.ledger.read() as reader:
        assert words in reader.payload(Seq(row.found), 0).decode()
    assert office.verified().exit_code == 0, office.verified()
    assert office.books.tail(at_once).drifts == ()


def test_the_tail_finds_a_touched_row_and_leaves_the_others_to_the_night(office: Office) -> None:
    """Every five minutes only what changed is compared; that is why it is cheap."""
    office.books.tail(at_once)
    office.note(4)
    office.tamper(
        "UPDATE note SET amount = 7 WHERE key = 4", "UPDATE note SET amount = 7 WHERE key = 1"
    )

    touched = office.books.tail(at_once)

    assert touched.whole, "a suspicion is proven by everything"
    assert touched.drifts[0].rows == 3
    office.tamper("UPDATE note SET amount = 7 WHERE key = 1 AND run = 'aa'")
    office.note(5)
    assert office.books.tail(at_once).drifts == ()
    assert office.books.whole(at_once).drifts[0].rows == 1


def test_work_goes_on_over_a_mended_table(office: Office) -> None:
    """The writer must not go by rows that it remembers from before."""
    office.tamper("UPDATE total SET count = 9, amount = 9 WHERE run = 'aa'")
    office.note(4)

    office.books.whole(at_once)
    office.note(5)

    with office.ledger.read() as reader:
        total = reader.get(notebook.Total, "aa")
    assert total is not None
    assert (total.count, total.amount) == (5, 5)
    assert office.verified().exit_code == 0


def test_the_same_drift_three_times_is_a_quarantine(office: Office) -> None:
    """Whoever makes the same hole again and again is not stopped by mending it."""
    found = []
    for _ in range(3):
        office.tamper("UPDATE note SET amount = amount + 1 WHERE run = 'aa' AND key = 2")
        found.append(office.books.whole(at_once))

    assert [one.quarantined for one in found] == [False, False, True]
    with office.ledger.read() as reader:
        row = quarantine_of(reader)
        assert row is not None
        assert (row.why, row.about, row.times) == ("drift", "note", 3)
        assert b"found 3 times: note ('aa', 2): amount is" in reader.payload(Seq(row.seq), 0)
    assert office.verified().exit_code == 0, "it was mended all the same"


def test_different_drifts_are_counted_apart(office: Office) -> None:
    """Three accidents are not one that comes back."""
    for key in (1, 2, 3):
        office.tamper(f"UPDATE note SET amount = 9 WHERE run = 'aa' AND key = {key}")
        assert not office.books.whole(at_once).quarantined

    assert [row.times for row in office.drifts()] == [1, 1, 1]


def test_facts_that_keep_coming_in_do_not_keep_the_walk_from_its_end(office: Office) -> None:
    """A house that never rests is compared at night like any other."""
    keys = count(10)

    def busy() -> bool:
        office.note(next(keys))
        return next(keys) < 400

    found = office.books.whole(busy)

    assert found.done


# -- what happens to the shadow ------------------------------------------------------------


def foreign(office: Office) -> None:
    """The shadow of another house, of the same length."""
    other = Office(office.folder.parent / "other")
    other.note(*range(7))
    other.books.tail(at_once)
    other.close()
    shutil.copy(other.folder / "shadow.db", office.folder / "shadow.db")


HARMS: dict[str, Callable[[Office], object]] = {
    "gone": lambda office: (office.folder / "shadow.db").unlink(),
    "cut": lambda office: (office.folder / "shadow.db").write_bytes(
        (office.folder / "shadow.db").read_bytes()[: 3 * 4_096 + 100]
    ),
    "noise": lambda office: (office.folder / "shadow.db").write_bytes(b"no database" * 9_000),
    "empty": lambda office: (office.folder / "shadow.db").write_bytes(b""),
    "foreign": foreign,
}


@pytest.mark.parametrize("name", HARMS)
def test_a_shadow_of_no_use_is_made_again_and_harms_nothing(office: Office, name: str) -> None:
    """It may be lost at any time; what it says wrongly must never reach a table."""
    office.books.tail(at_once)
    office.close()
    HARMS[name](office)
    office.open()
    # Half a file may still have its first page; what is behind it is seen when it is read.
    assert name == "cut" or office.books.point() is None

    found = office.books.tail(at_once)

    assert (found.whole, found.drifts, office.drifts()) == (True, (), [])
    assert office.verified().exit_code == 0


def test_a_shadow_that_lies_is_thrown_away_and_its_table_is_left_alone(office: Office) -> None:
    """Of two books that differ, a third is made before either is believed."""
    office.books.tail(at_once)
    office.close()
    shadow = apsw.Connection(str(office.folder / "shadow.db"))
    shadow.execute("UPDATE total SET count = 50 WHERE run = 'aa'").fetchall()
    shadow.close()
    office.open()
    office.note(4)

    found = office.books.tail(at_once)

    assert (found.whole, found.drifts, office.drifts()) == (True, (), [])


def test_a_shadow_of_other_folds_is_made_again(office: Office, monkeypatch: Any) -> None:
    """A fold that changed makes other rows from the same facts."""
    office.books.tail(at_once)
    office.close()
    monkeypatch.setattr("tildawn.ledger.sqlite.shadow._made", lambda _: "another version")
    office.open()

    assert office.books.point() is None
    assert not (office.folder / "shadow.db").exists()


def test_a_fold_that_raises_is_said_and_leaves_the_tables(office: Office, monkeypatch: Any) -> None:
    """A second opinion that cannot be had is no reason to change anything."""
    office.books.tail(at_once)
    point = office.books.point()
    office.note(4)
    monkeypatch.setattr(office.books, "_projections", PROJECTIONS)
    broken = dict(notebook.PROJECTIONS[0].folds)

    def raises(*_: object) -> Any:
        message = "a bug"
        raise RuntimeError(message)

    monkeypatch.setitem(notebook.PROJECTIONS[0].folds, Noted, raises)
    office.books.close()
    with pytest.raises(FoldFailed, match="a bug"):
        office.books.tail(at_once)
    monkeypatch.setitem(notebook.PROJECTIONS[0].folds, Noted, broken[Noted])

    assert office.books.point() == point
    assert office.books.tail(at_once).drifts == ()


def test_a_comparison_that_is_broken_off_counts_for_nothing(office: Office) -> None:
    """A worker that is asked to go does not wait for its books."""
    office.books.tail(at_once)
    point = office.books.point()
    office.note(*range(10, 90))

    found = office.books.tail(lambda: False)

    assert not found.done
    assert office.books.point() == point
    assert office.books.tail(at_once).done
    assert not office.books.whole(lambda: False).done
    assert not (office.folder / "shadow.db.new").exists()


# -- crashes -------------------------------------------------------------------------------


class Stepping:
    """The writing connection of a replacement, with something that happens before each step."""

    def __init__(self, database: Any, before: Callable[[], None]) -> None:
        self.database = database
        self.before = before

    def execute(self, *args: Any) -> Any:
        """One statement."""
        self.before()
        return self.database.execute(*args)

    def executemany(self, *args: Any) -> Any:
        """One statement for many rows."""
        self.before()
        return self.database.executemany(*args)


def stepping(monkeypatch: pytest.MonkeyPatch, before: Callable[[], None]) -> None:
    """Let something happen before each step of a replacement."""
    real: Any = replace._replace  # pyright: ignore[reportPrivateUsage]  the steps are in it
    monkeypatch.setattr(
        replace, "_replace", lambda database, *rest: real(Stepping(database, before), *rest)
    )


def test_a_kill_at_each_step_of_the_replacement_leaves_all_or_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table half made anew would be worse than one that differs in a row."""
    office.tamper("UPDATE note SET amount = 9", "UPDATE total SET count = 9")
    copies: list[Path] = []

    def copy() -> None:
        """What the disk holds now is what a kill would leave."""
        copies.append(office.folder.parent / f"step-{len(copies)}")
        shutil.copytree(office.folder, copies[-1])

    stepping(monkeypatch, copy)
    office.books.whole(at_once)

    monkeypatch.undo()
    assert len(copies) == 6
    for folder in copies:
        left = Office(folder)
        with left.ledger.read() as reader:
            assert {row.amount for row in reader.rows(notebook.Note)} == {9}
        again = left.books.tail(at_once)
        assert {one.table for one in again.drifts} == {"note", "total"}
        assert left.verified().exit_code == 0
        left.close()


@pytest.mark.parametrize("step", range(6))
def test_an_error_at_each_step_of_the_replacement_changes_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """What cannot be mended is said, and the writer works on."""
    office.tamper("UPDATE note SET amount = 9", "UPDATE total SET count = 9")
    numbers = count()

    def fail() -> None:
        if next(numbers) == step:
            message = "no such thing"
            raise apsw.SQLError(message)

    stepping(monkeypatch, fail)
    with pytest.raises(LedgerBroken, match="no such thing"):
        office.books.whole(at_once)
    monkeypatch.undo()

    with office.ledger.read() as reader:
        assert {row.amount for row in reader.rows(notebook.Note)} == {9}
    office.note(9)
    assert office.books.whole(at_once).mended == ("note", "total")
    assert office.verified().exit_code == 0


# -- plans ---------------------------------------------------------------------------------


def test_a_plan_says_what_differs_and_changes_nothing(office: Office) -> None:
    """Who is to replace a table wants to see first what would change."""
    office.tamper("UPDATE note SET amount = 7 WHERE run = 'aa' AND key = 2")
    size = office.ledger.next_seq

    planned = office.books.plan()

    assert [one.words for one in planned.drifts] == [("note ('aa', 2): amount is 7, should be 1",)]
    assert office.ledger.next_seq == size
    assert not (office.folder / "shadow.db").exists()


def test_a_plan_that_no_longer_fits_replaces_nothing(office: Office) -> None:
    """What was looked at is what is done, or nothing is."""
    office.tamper("UPDATE note SET amount = 7 WHERE run = 'aa' AND key = 2")
    plan = plan_hash(office.books.plan().drifts)
    office.tamper("UPDATE note SET amount = 7 WHERE run = 'aa' AND key = 3")

    with pytest.raises(PlanChanged):
        office.books.whole(at_once, plan=plan)
    assert office.drifts() == []
    plan = plan_hash(office.books.plan().drifts)
    assert office.books.whole(at_once, plan=plan).mended == ("note",)


# -- any order of things -------------------------------------------------------------------

ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("note"), st.integers(0, 30)),
        st.tuples(st.just("strike"), st.integers(0, 30)),
        st.tuples(st.just("sit"), st.integers(0, 3)),
        st.tuples(st.just("tail"), st.just(0)),
        st.tuples(st.just("whole"), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0)),
    ),
    max_size=40,
)


@given(acts=ACTS)
@settings(max_examples=25, deadline=None)
def test_facts_in_any_order_and_comparisons_anywhere_are_always_equal(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, int]]
) -> None:
    """A false alarm would stop a night that is well."""
    office = Office(tmp_path_factory.mktemp("any") / "house")
    try:
        for act, number in acts:
            _act(office, act, number)
        assert office.books.tail(at_once).drifts == ()
        assert office.books.whole(at_once).drifts == ()
    finally:
        office.close()


def _act(office: Office, act: str, number: int) -> None:
    ledger = office.ledger
    if act == "note":
        ledger.append_now([ledger.draft(Noted(key=number), run="aa")])
    elif act == "strike":
        ledger.append_now([ledger.draft(Struck(key=number), run="aa")])
    elif act == "sit":
        office.sit(f"guest {number}")
    elif act == "reopen":
        office.close()
        office.open()
    elif act in {"tail", "whole"}:
        found = getattr(office.books, act)(at_once)
        assert found.done
        assert found.drifts == ()
