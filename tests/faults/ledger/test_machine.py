"""Any order of all that can happen to a house, against a list of the bodies that must be in it.

What it is not: failing disks one by one; those are beside this file.
"""

import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tildawn.clock import SystemClock
from tildawn.errors import LedgerBroken, PayloadErased
from tildawn.facts import erasure
from tildawn.facts.fact import Registry
from tildawn.facts.house import HouseRestored
from tildawn.ids import Ids
from tildawn.ledger import writer
from tildawn.ledger.erasure import erase, held_by
from tildawn.ledger.layout import Layout
from tildawn.ledger.opening import Setup
from tildawn.ledger.restore import Wish, restore
from tildawn.ledger.rotation import rotate_key
from tildawn.ledger.snapshot import take
from tildawn.ledger.source import Point
from tildawn.ledger.sqlite.prefix import Prefix
from tildawn.ledger.sqlite.store import Store
from tildawn.testing.bugs import planted
from tildawn.testing.clock import ManualClock
from tildawn.testing.notebook import REGISTRY, SIGNED, Note, note, open_notebook, verify_notebook
from tildawn.units import SECOND, Micros, Seq


pytestmark = pytest.mark.timeout(300)

GOLDEN = Path(__file__).parents[2] / "ledger" / "vectors" / "format-1"
KINDS = Registry([*REGISTRY.kinds().values(), *erasure.KINDS])
#: Whether each power cut left what was not synced; a campaign must have seen both.
CUTS: list[bool] = []
RUNS = st.sampled_from(["a", "b", "c"])


class HouseMachine(RuleBasedStateMachine):
    """A real house; the model is a list of bodies, and the texts of what we noted ourselves."""

    def __init__(self) -> None:
        """Nothing is there yet."""
        super().__init__()
        self.base = Path(tempfile.mkdtemp())
        self.folder = self.base / "0"
        self.clock, self.ids = ManualClock(), Ids(SystemClock())
        self.bodies: list[bytes] = []
        #: Position, run and text of our notes; None once it was erased.
        self.texts: dict[int, tuple[str, str | None]] = {}
        self.key = 100_000

    @initialize(golden=st.booleans())
    def found(self, golden: bool) -> None:
        """A new house, or one of the first format, which is upgraded by opening it."""
        if golden:
            shutil.copytree(GOLDEN, self.folder)
            database = sqlite3.connect(self.folder / "ledger.db")
            self.bodies = [one for (one,) in database.execute("SELECT body FROM fact ORDER BY seq")]
            database.close()
        self._open()

    def _open(self) -> None:
        self.ledger = open_notebook(
            self.folder, clock=self.clock, registry=KINDS, projections=SIGNED
        )
        self._grown()

    def _stored(self) -> list[bytes]:
        with self.ledger.read() as reader:
            return [body for (body,) in reader.query("SELECT body FROM fact ORDER BY seq")]

    def _grown(self) -> None:
        """What was there is there; the house itself may have added facts."""
        stored = self._stored()
        assert stored[: len(self.bodies)] == self.bodies, "what was recorded is not there"
        self.bodies = stored

    def _append(self, run: str, count: int, *, relaxed: bool = False) -> None:
        texts = [f'"{self.key + at} of {run}"' for at in range(count)]
        entries = [
            note(self.ledger, self.key + at, run=run, text=text) for at, text in enumerate(texts)
        ]
        self.key += count
        first = len(self.bodies)
        if relaxed:
            self._relaxed(entries)
        else:
            self.ledger.append_now(entries)
        self.bodies += [entry.body for entry in entries]
        self.texts |= {first + at: (run, text) for at, text in enumerate(texts)}

    def _relaxed(self, entries: list[Any]) -> None:
        request = writer.Request(entries, relaxed=True)
        assert self.ledger._writer is not None
        self.ledger._writer.perform(request)

    @rule(run=RUNS, count=st.integers(1, 4))
    def append(self, run: str, count: int) -> None:
        """Some notes, durable."""
        self._append(run, count)

    def _leave(self, log: bytes | None = None) -> None:
        """Go on in what is on the disk now, without the closing of the one who worked here."""
        there = self.base / str(int(self.folder.name) + 1)
        shutil.copytree(self.folder, there, ignore=shutil.ignore_patterns("*-shm", "pen"))
        if log is not None:
            (there / "ledger.db-wal").write_bytes(log)
        self.ledger.close()
        shutil.rmtree(self.folder)
        self.folder = there

    @rule()
    def crash(self) -> None:
        """The process is gone."""
        self._leave()
        self._open()
        assert self.ledger.unclean

    @rule(run=RUNS, count=st.integers(1, 4), share=st.floats(0, 1))
    def power_cut(self, run: str, count: int, share: float) -> None:
        """What was not synced is there up to some byte of the log, and it was not promised."""
        log = self.folder / "ledger.db-wal"
        before, synced = log.read_bytes(), len(self.bodies)
        self._append(run, count, relaxed=True)
        after = log.read_bytes()
        before += bytes(len(after) - len(before))
        changed = [
            at for at in range(0, len(after), 8) if after[at : at + 8] != before[at : at + 8]
        ]
        cut = changed[int(share * (len(changed) - 1))] + 8 * (share == 1)
        mine = self.bodies[synced:]
        self._leave(after[:cut] + before[cut:])
        del self.bodies[synced:]
        self._open()
        CUTS.append(self.bodies[synced : synced + count] == mine)
        if not CUTS[-1]:
            assert not set(mine) & set(self.bodies), "half an append"
            self.texts = {at: one for at, one in self.texts.items() if at < synced}

    @rule()
    def reopen(self) -> None:
        """An orderly end."""
        self.ledger.close()
        self._open()

    @rule()
    def seal(self) -> None:
        """A checkpoint."""
        self.ledger.checkpoint()

    @rule()
    def rotate(self) -> None:
        """Another key signs."""
        rotate_key(self.ledger, "asked", ids=self.ids)
        self._grown()

    @rule()
    def snapshot(self) -> None:
        """A whole copy, proven."""
        self.clock.advance(Micros(SECOND))
        made = take(Layout(self.folder), clock=self.clock, build="test", why="asked")
        assert made.manifest.size == len(self.bodies)

    @rule(run=RUNS)
    def erase(self, run: str) -> None:
        """What one run said goes, and its facts stay."""
        with self.ledger.read() as reader:
            going = held_by(reader, [run])
        erase(self.ledger, self.folder, going, runs=1, why="asked")
        gone = {at: (run, None) for at, (whose, _) in self.texts.items() if whose == run}
        self.texts |= gone
        self._grown()

    @precondition(lambda self: len(self.texts) > 3)
    @rule(share=st.floats(0, 1))
    def restore(self, share: float) -> None:
        """Back to an earlier position; what was erased since stays erased."""
        noted = sorted(self.texts)
        size = noted[int(share * (len(noted) - 1))] + 1
        self.ledger.close()
        self.clock.advance(Micros(SECOND))
        setup = Setup(
            registry=KINDS, projections=SIGNED, clock=self.clock, ids=self.ids, build="test"
        )
        restore(Layout(self.folder), setup, Wish(to=Point(size=size)), lambda _: ())
        self.bodies = self.bodies[:size]
        self.texts = {at: one for at, one in self.texts.items() if at < size}
        self._open()
        assert isinstance(KINDS.decode(self.bodies[size]).data, HouseRestored)

    @rule()
    def verify(self) -> None:
        """It can be proven at any moment."""
        verdict = verify_notebook(self.folder, registry=KINDS, projections=SIGNED)
        assert verdict.what == "", verdict

    @invariant()
    def agrees(self) -> None:
        """Bodies, tables and values are what the model has."""
        if not hasattr(self, "ledger"):
            return
        assert self._stored() == self.bodies
        with self.ledger.read() as reader:
            rows = {row.seq for row in reader.rows(Note, "key >= 100000")}
            assert rows == set(self.texts)
            for seq, (_, text) in self.texts.items():
                try:
                    found = reader.payload(Seq(seq), 0).decode()
                except PayloadErased:
                    found = None
                assert found == text, seq

    def teardown(self) -> None:
        """Close, prove it once more, and remove."""
        if hasattr(self, "ledger"):
            self.ledger.close()
            self.verify()
        shutil.rmtree(self.base)


def _run(examples: int, steps: int, *, shrink: bool = True) -> None:
    phases = [Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if shrink else [])]
    plan = settings(
        max_examples=examples, stateful_step_count=steps, phases=phases, report_multiple_bugs=False
    )
    # Nobody moves the log while the power is about to go: that would sync what is to be lost.
    with patch.object(writer, "IDLE_WAIT", 1e6):
        run_state_machine_as_test(HouseMachine, settings=plan)


def test_whatever_happens_to_a_house_in_whatever_order() -> None:
    """Each kind of trouble is tested alone; here one finds what another has left."""
    CUTS.clear()
    _run(16, 20)
    assert CUTS, "no power cut was tried"


@pytest.mark.chaos
@pytest.mark.timeout(0)
def test_whatever_happens_to_a_house_for_long() -> None:
    """The same in thousands of orders; what was relaxed is both lost and kept on the way."""
    CUTS.clear()
    _run(2_000, 40)
    assert {True, False} == set(CUTS)


@pytest.mark.parametrize("bug", ["fold-skips", "chain-forgets"])
def test_the_model_sees_planted_bugs(bug: str) -> None:
    """A model that agrees with everything proves nothing."""
    with planted(bug), pytest.raises((AssertionError, LedgerBroken)):
        _run(10, 10, shrink=False)


@pytest.mark.chaos
@pytest.mark.parametrize(("place", "name"), [(Store, "_erase"), (Prefix, "erased_since")])
def test_the_model_sees_what_is_left_out(place: type, name: str) -> None:
    """An erasure that is only said, and one that a restore forgets."""

    def nothing(*_: object) -> tuple[object, ...]:
        return ()

    with (
        patch.object(place, name, nothing),
        pytest.raises((AssertionError, LedgerBroken)),
    ):
        _run(40, 20, shrink=False)
