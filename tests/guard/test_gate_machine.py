"""Any interleaving of calls, answers, faults, waits and deaths keeps the promises of a gate.

What it is not: the rules one by one; see `test_gate.py` and the files of the rules.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tildawn.facts.route import RouteTurned
from tildawn.guard.call import Door
from tildawn.guard.gate import Gate
from tildawn.guard.latency import Ring
from tildawn.guard.policy import PRESETS, BreakerPolicy, RatePolicy
from tildawn.guard.request import Answer, Ended, Later
from tildawn.guard.retry import RetryPolicy
from tildawn.projections.attempts import samples
from tildawn.projections.route import health_of
from tildawn.testing.clock import ManualClock
from tildawn.units import SECOND, Micros, MicroUsd, Seq


ROUTE = "shop:create"
BURST, EVERY = 6, Micros(10 * SECOND)
POLICY = msgspec.structs.replace(
    PRESETS["http"], requests=RatePolicy(burst=BURST, every=EVERY), concurrency=4,
    breaker=BreakerPolicy(in_a_row=2, tokens=3), retry=RetryPolicy(rules={}),
)  # fmt: skip
FAULTS = ("timeout", "server", "network", "rate", "bad_request", "auth")


class Machine(RuleBasedStateMachine):
    """One route, its callers, and another side that answers, fails, or does not."""

    make_house: Any
    fault: Any

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = ManualClock()
        self.house = self.make_house(self.folder / "house", self.clock)
        self.house.begin()
        self.loop = asyncio.new_event_loop()
        self.count = 0
        self.tasks: list[asyncio.Task[Any]] = []
        #: What was sent by the present process and waits for an answer.
        self.sent: list[Any] = []
        #: When something was sent, by the wall clock.
        self.times: list[int] = []
        self.zombies: list[asyncio.Task[Any]] = []
        self.doors: list[Door] = []
        self.door = self.new_door()

    def new_door(self) -> Door:
        self.doors.append(
            Door(self.house.ledger, self.clock, Random(0), policies=lambda *_: POLICY)
        )
        return self.doors[-1]

    def settle(self) -> None:
        async def quiet() -> None:
            calm = 0
            while calm < 12:
                await asyncio.sleep(0)
                calm = 0 if self.house.ledger.on_their_way else calm + 1

        self.loop.run_until_complete(quiet())
        for task in [task for task in self.tasks if task.done()]:
            self.tasks.remove(task)
            if not task.cancelled():
                assert isinstance(task.result(), Ended | Later)
        self.sent = [future for future in self.sent if not future.done()]

    def row(self) -> Any:
        with self.house.ledger.read() as reader:
            return health_of(reader, ROUTE)

    @property
    def health(self) -> Any:
        return self.door.gate.health(ROUTE, "http")

    # -- what can happen -------------------------------------------------------------------

    @rule(cost=st.integers(0, 3))
    def call(self, cost) -> None:
        """Somebody calls."""
        self.count += 1

        async def perform(_attempt):
            self.times.append(self.clock.wall())
            future = asyncio.get_running_loop().create_future()
            self.sent.append(future)
            return await future

        request = self.house.request(
            SimpleNamespace(perform=perform), path=f"p{self.count}", reserve=MicroUsd(cost),
            timeout=None, deadline=Micros(10_000 * SECOND),
        )  # fmt: skip
        self.tasks.append(self.loop.create_task(self.door.call(request, lambda *_: None)))
        self.settle()

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0, 20), kind=st.sampled_from(("", "", "", *FAULTS)), wait=st.booleans())
    def ends(self, which, kind, wait) -> None:
        """The other side answers, or fails."""
        future = self.sent[which % len(self.sent)]
        if kind:
            asked = 30 * SECOND if wait and kind == "rate" else None
            future.set_exception(self.fault(kind, retry_after=asked, status=429 if asked else None))
        else:
            future.set_result(Answer(value=b"1"))
        self.settle()

    @precondition(lambda self: self.tasks)
    @rule(which=st.integers(0, 20))
    def goes_away(self, which) -> None:
        """A caller goes away, in the queue or while it is asked."""
        self.tasks[which % len(self.tasks)].cancel()
        self.settle()

    @rule(seconds=st.sampled_from((1, 5, 11, 70, 700)))
    def waits(self, seconds) -> None:
        """Time goes by."""
        self.clock.advance(Micros(seconds * SECOND))
        self.settle()

    @rule(by=st.sampled_from((-3_600, 3_600)))
    def set_clock(self, by) -> None:
        """Somebody sets the clock."""
        self.clock.jump(Micros(self.clock.wall() + by * SECOND))
        self.times.clear()

    @rule()
    def dies(self) -> None:
        """The process dies; what it had sent is nobody's."""
        self.zombies += self.tasks
        self.tasks, self.sent = [], []
        # What is left of it finds the ledger closed.
        self.house.reopen()
        self.door = self.new_door()
        self.house.begin()
        self.settle()

    # -- what must hold --------------------------------------------------------------------

    @invariant()
    def memory_is_what_is_on_record(self) -> None:
        """Whoever reads the row after a death knows as much as the process that died."""
        self.settle()
        said = self.row()
        assert said == msgspec.structs.replace(self.health.row, probing=said.probing)
        known = Ring(samples(said.samples))
        assert (len(known), known.p95_ms()) == (len(self.health.ring), self.health.ring.p95_ms())

    @invariant()
    def admissions_balance(self) -> None:
        """A place that nobody gives back is lost for the whole night."""
        assert len(self.sent) == len(self.health.flying)
        assert len(self.sent) == self.health.bulkhead.inside <= POLICY.concurrency

    @invariant()
    def one_at_a_time_finds_out(self) -> None:
        """No second attempt is on its way to a side that is not proven to be back."""
        if self.health.state in {"open", "probing", "blocked"}:
            tests = [x for x in self.house.facts() if x.kind == "CallDispatched" and x.data.probe]
            ended = {
                (x.path, x.data.attempt) for x in self.house.facts() if x.kind == "CallSettled"
            }
            open_ = [x for x in tests if (x.path, x.data.attempt) not in ended]
            assert len(open_) - len(self.zombies) <= 1

    @invariant()
    def the_limiter_holds(self) -> None:
        """Never more than the burst and what came back meanwhile, across deaths too."""
        for first, began in enumerate(self.times):
            for last in range(first, len(self.times)):
                allowed = BURST + (self.times[last] - began) // EVERY
                assert last - first + 1 <= allowed

    @invariant()
    def states_follow_each_other_as_they_may(self) -> None:
        """Nothing is closed but by proof, and nothing comes back from an older state."""
        with self.house.ledger.read() as reader:
            facts = [fact.data for _, fact in reader.facts(Seq(-1), 100_000)]
        turns = [data for data in facts if isinstance(data, RouteTurned)]
        state, generation = "closed", 0
        for turn in turns:
            assert turn.was == state
            assert turn.generation >= generation
            if turn.state == "closed":
                assert turn.was == "ramp" or turn.cause == "answered"
            if turn.state == "ramp":
                assert turn.was in {"open", "probing", "blocked"}
            state, generation = turn.state, turn.generation

    def teardown(self) -> None:
        async def end() -> None:
            for task in (*self.tasks, *self.zombies):
                task.cancel()
            await asyncio.gather(*self.tasks, *self.zombies, return_exceptions=True)
            for door in self.doors:
                await door.close()

        self.loop.run_until_complete(end())
        self.loop.close()
        self.house.ledger.close()
        shutil.rmtree(self.folder)


@pytest.fixture
def machine(make_house, provider_fault):
    """The machine, with what the conftest has for it."""

    class Made(Machine):
        fault = staticmethod(provider_fault)

    Made.make_house = staticmethod(make_house)
    return Made


LEAN = settings(max_examples=15, stateful_step_count=25, deadline=None)
FEW = settings(LEAN, max_examples=15, phases=[Phase.generate])


@pytest.mark.timeout(180)
def test_any_interleaving_keeps_the_promises_of_a_gate(machine) -> None:
    """What no scene of mine thought of."""
    run_state_machine_as_test(machine, settings=LEAN)


def planted_no_place_back(self: Gate, leave: Any) -> None:
    leave.health.flying.pop(leave.place, None)


def planted_memory_first(self: Gate, leave: Any, said: Any, sent: Any, at: Any) -> None:
    leave.health.settle(said, sent, at)
    leave.health.settle(said, sent, at)


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("name", "planted"), [("leave", planted_no_place_back), ("settled", planted_memory_first)]
)
def test_a_planted_bug_is_noticed(machine, monkeypatch, name, planted) -> None:
    """A machine that cannot fail proves nothing."""
    monkeypatch.setattr(Gate, name, planted)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=FEW)
