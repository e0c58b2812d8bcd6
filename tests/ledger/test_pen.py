"""The pen against a small reference model: two who want to write, locks that break, takeovers.

What it is not: about two processes; those are in ``test_house`` and in ``tests/faults``.  An
flock belongs to the open file, so two holders of one process stand for two processes.
"""

from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tildawn.errors import HouseLocked, StaleWriter
from tildawn.facts.house import PenTaken
from tildawn.ledger.ledger import Ledger
from tildawn.testing.clock import ManualClock
from tildawn.testing.notebook import Noted, open_notebook


WHO = st.sampled_from(["ann", "bob"])


class PenMachine(RuleBasedStateMachine):
    """Two would-be holders; the model is who holds the lock, who holds the epoch, how many facts."""

    base: ClassVar[Path]

    def __init__(self) -> None:
        """An empty folder."""
        super().__init__()
        self.folder = self.base / f"h{len(list(self.base.iterdir()))}"
        self.open: dict[str, Ledger] = {}
        self.zombies: list[Ledger] = []
        self.locked_by: str | None = None
        #: Whose epoch is the present one.
        self.current: str | None = None
        self.epochs: list[int] = []
        self.written: list[str] = []

    @rule(who=WHO, takeover=st.booleans())
    def take(self, who: str, takeover: bool) -> None:
        """Try to take the pen; only the lock decides, whatever was asked for."""
        if who in self.open:
            return
        try:
            ledger = open_notebook(self.folder, clock=ManualClock(), takeover=takeover)
        except HouseLocked:
            assert self.locked_by is not None, "a free pen was refused"
            return
        assert self.locked_by is None, "a pen that is held was given away"
        self.open[who] = ledger
        self.locked_by = self.current = who
        self.epochs.append(ledger.epoch)

    @rule(who=WHO)
    def write(self, who: str) -> None:
        """Write; one whose epoch is over must be refused, though it believes in its pen."""
        if who not in self.open:
            return
        ledger = self.open[who]
        data = Noted(key=len(self.written), amount=1)
        try:
            ledger.append_now([ledger.draft(data, run=who)])
        except StaleWriter:
            assert self.current != who, "the holder was refused"
        else:
            assert self.current == who, "two holders wrote"
            self.written.append(who)

    @rule(who=WHO)
    def lose(self, who: str) -> None:
        """The lock breaks under a holder that lives on and knows nothing of it."""
        if who in self.open and self.locked_by == who:
            _drop(self.open[who])
            self.locked_by = None

    @rule(who=WHO)
    def crash(self, who: str) -> None:
        """A holder is gone without a word."""
        if who in self.open:
            self.lose(who)
            self.zombies.append(self.open.pop(who))

    @rule(who=WHO)
    def lay(self, who: str) -> None:
        """A holder leaves in order, or what it takes for order."""
        if who in self.open:
            self.open.pop(who).close()
            if self.locked_by == who:
                self.locked_by = None

    @invariant()
    def epochs_rise(self) -> None:
        """Each holder has an epoch of its own, higher than all before."""
        assert self.epochs == sorted(set(self.epochs))

    def teardown(self) -> None:
        """Everything that was said to be written is there, in that order, once."""
        for ledger in [*self.open.values(), *self.zombies]:
            ledger.close()
        if self.epochs:
            with open_notebook(self.folder, mode="read") as ledger, ledger.read() as reader:
                facts = [fact for _, fact in reader.facts()]
            assert self.written == [fact.run for fact in facts if fact.kind == "Noted"]
            taken = [fact.data for fact in facts if isinstance(fact.data, PenTaken)]
            assert self.epochs == [one.epoch for one in taken]


def _drop(ledger: Ledger) -> None:
    """Let go of the lock behind the back of its holder."""
    pen = ledger._opened.pen
    assert pen is not None
    pen.lay()


HOW = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_there_are_never_two_writers_and_epochs_only_rise(tmp_path: Path) -> None:
    """The lock keeps honest holders apart, the epoch those whose lock broke."""
    PenMachine.base = tmp_path
    run_state_machine_as_test(PenMachine, settings=HOW)


def _no_lock(_file: int, _how: int) -> None:
    """A planted bug: the lock is never taken."""


def test_the_model_sees_a_pen_without_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that agrees with a broken pen proves nothing."""
    PenMachine.base = tmp_path
    monkeypatch.setattr("tildawn.ledger.pen.fcntl.flock", _no_lock)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(PenMachine, settings=settings(HOW, phases=[Phase.generate]))
