"""Any sequence of appends, refusals, crashes and reopenings, against a list and a dictionary.

What it is not: failing disks; a crash here leaves what was written, as a killed process does.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tildawn.errors import FoldFailed, InvariantViolated
from tildawn.facts.fact import FactData
from tildawn.ledger.entry import Committed, Entry, Unmet
from tildawn.ledger.fold import Expect
from tildawn.ledger.ledger import Ledger
from tildawn.testing.clock import ManualClock
from tildawn.testing.notebook import (
    Note,
    Noted,
    Puzzled,
    Risen,
    Seat,
    Seated,
    Struck,
    Total,
    open_notebook,
    verify_notebook,
)


# Shrinking a failure on a slow disk takes longer than a minute.
pytestmark = pytest.mark.timeout(300)

RUNS = st.sampled_from(["a", "b"])
KEYS = st.integers(0, 5)
CHANGES = st.lists(
    st.tuples(
        RUNS,
        st.one_of(
            st.builds(Noted, key=KEYS, amount=st.integers(-3, 9)),
            st.builds(Struck, key=KEYS),
            st.builds(Seated, who=st.sampled_from("xyz")),
            st.builds(Risen, who=st.sampled_from("xyz")),
            st.builds(Puzzled, why=st.sampled_from(["", "", "x"])),
        ),
    ),
    min_size=1,
    max_size=4,
)


class Model:
    """What a ledger of notes must be: plain values, and rules as short as possible."""

    def __init__(self) -> None:
        self.facts: list[tuple[str, FactData]] = []
        self.notes: dict[tuple[str, int], int] = {}
        self.totals: dict[str, tuple[int, int]] = {}
        self.sits: dict[str, int] = {}

    def copy(self) -> "Model":
        """An independent copy, to try an append on."""
        other = Model()
        other.facts, other.notes = list(self.facts), dict(self.notes)
        other.totals, other.sits = dict(self.totals), dict(self.sits)
        return other

    def take(self, run: str, data: FactData) -> bool:
        """Apply one fact; whether it is allowed."""
        self.facts.append((run, data))
        if isinstance(data, Noted):
            if (run, data.key) in self.notes:
                return False
            self.notes[run, data.key] = data.amount
        elif isinstance(data, Struck):
            if self.notes.pop((run, data.key), None) is None:
                return True
        elif isinstance(data, Seated | Risen):
            self.sits[data.who] = int(isinstance(data, Seated))
            return sum(self.sits.values()) <= 1
        else:
            return not (isinstance(data, Puzzled) and data.why)
        amounts = [amount for (whose, _), amount in self.notes.items() if whose == run]
        self.totals[run] = (len(amounts), sum(amounts))
        return True


class LedgerMachine(RuleBasedStateMachine):
    """The real ledger beside the model."""

    @initialize()
    def found(self) -> None:
        """A new house."""
        self.base = Path(tempfile.mkdtemp())
        self.number = 0
        self.clock = ManualClock()
        self.model = Model()
        self.epoch = 1
        self.ledger = self._open()

    def _open(self) -> Ledger:
        return open_notebook(self.base / str(self.number), clock=self.clock)

    def _entries(self, changes: Sequence[tuple[str, FactData]]) -> list[Entry]:
        return [self.ledger.draft(data, run=run) for run, data in changes]

    @rule(changes=CHANGES)
    def append(self, changes: list[tuple[str, FactData]]) -> None:
        """All of it or nothing."""
        tried = self.model.copy()
        allowed = all(tried.take(run, data) for run, data in changes)
        try:
            answer = self.ledger.append_now(self._entries(changes))
        except (FoldFailed, InvariantViolated):
            answer = None
        assert isinstance(answer, Committed) == allowed, (changes, answer)
        if allowed:
            self.model = tried

    @rule(changes=CHANGES, run=RUNS, key=KEYS, wanted=st.booleans())
    def expect(self, changes: list[tuple[str, FactData]], run: str, key: int, wanted: bool) -> None:
        """Nothing happens where the expectation is false, whatever the facts are."""
        there = (run, key) in self.model.notes
        expect = Expect(
            row=Note, key=(run, key), test=lambda row: (row is not None) == wanted, why="asked"
        )
        if there == wanted:
            return
        answer = self.ledger.append_now(self._entries(changes), expect=[expect])
        assert isinstance(answer, Unmet)
        assert (answer.why, answer.row is not None) == ("asked", there)

    @rule()
    def reopen(self) -> None:
        """Closing and opening changes nothing but the epoch."""
        self.ledger.close()
        self.epoch += 1
        self.ledger = self._open()

    @rule()
    def crash(self) -> None:
        """What is on the disk now is opened by a successor, without the first one's closing."""
        here, there = self.base / str(self.number), self.base / str(self.number + 1)
        there.mkdir()
        for name in ("ledger.db", "ledger.db-wal"):
            shutil.copy(here / name, there / name)
        for name in ("keys", "marks"):
            shutil.copytree(here / name, there / name)
        self.ledger.close()
        shutil.rmtree(here)
        self.number += 1
        self.epoch += 1
        self.ledger = self._open()

    @precondition(lambda self: len(self.model.facts) % 5 == 4)
    @rule()
    def verify(self) -> None:
        """It can be proven at any moment."""
        verdict = verify_notebook(self.base / str(self.number))
        assert verdict.what == "", verdict

    @invariant()
    def agrees(self) -> None:
        """Facts in order and tables as the model has them."""
        if not hasattr(self, "ledger"):
            return
        with self.ledger.read() as reader:
            facts = [
                (fact.run, fact.data)
                for _, fact in reader.facts()
                if not type(fact.data).__module__.endswith("house")
            ]
            notes = {(row.run, row.key): row.amount for row in reader.rows(Note)}
            totals = {row.run: (row.count, row.amount) for row in reader.rows(Total)}
            sits = {row.who: row.sits for row in reader.rows(Seat)}
        assert facts == self.model.facts
        assert notes == self.model.notes
        assert totals == self.model.totals
        assert sits == self.model.sits
        assert self.ledger.epoch == self.epoch

    def teardown(self) -> None:
        """Close and remove."""
        if hasattr(self, "ledger"):
            self.ledger.close()
            shutil.rmtree(self.base)


TestLedger = LedgerMachine.TestCase
# Without the phase that explains: it runs for minutes and a time limit then hides what failed.
TestLedger.settings = settings(
    stateful_step_count=25,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
