"""Any interleaving of calls, answers, faults, crashes and owners keeps the promises.

What it is not: a test of processes; a crash here forgets the door and fences the run, and what
was under way goes on as a zombie would.  Real kills are in test_crash.py.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

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

from tildawn.facts.run import RunAnswered, RunHeld, RunStarted
from tildawn.guard import budget
from tildawn.guard.call import Door
from tildawn.guard.recover import resolution
from tildawn.guard.request import Absent, Answer, Ended, Found, Hold
from tildawn.guard.visit import Visit
from tildawn.ledger.verdict import State
from tildawn.projections.budget import BudgetRow
from tildawn.projections.call import CallRow
from tildawn.testing.clock import ManualClock
from tildawn.units import Micros, MicroUsd


CAP = 100
PLACES = {"safe": "safe", "keyed": "keyed", "never": "never", "asked": "never", "other": "keyed"}
"""Places of the run and how each may repeat; ``asked`` has a lookup."""


class Machine(RuleBasedStateMachine):
    """One run, a shop that counts effects, a budget, and an owner who tells the truth."""

    make_house: Any
    fault: Any

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = ManualClock()
        self.house = self.make_house(self.folder / "house", self.clock)
        self.house.begin()
        self.house.limit("night", CAP)
        self.loop = asyncio.new_event_loop()
        self.tasks: dict[str, asyncio.Task[Any]] = {}
        self.zombies: list[asyncio.Task[Any]] = []
        #: Attempts that wait for an answer: place, reservation, future.
        self.waiting: list[tuple[str, int, Any]] = []
        self.effects: dict[str, list[str]] = {place: [] for place in PLACES}
        self.finals: dict[str, int] = dict.fromkeys(PLACES, 0)
        self.held: set[str] = set()
        self.door = self.new_door()

    def new_door(self) -> Door:
        return Door(self.house.ledger, self.clock, Random(0))

    def settle(self) -> None:
        async def quiet() -> None:
            calm = 0
            while calm < 12:
                await asyncio.sleep(0)
                calm = 0 if self.house.ledger.on_their_way else calm + 1

        self.loop.run_until_complete(quiet())
        for place, task in list(self.tasks.items()):
            if task.done():
                verdict = self.tasks.pop(place).result()
                self.held |= {place} if isinstance(verdict, Hold) else set()
                assert not isinstance(verdict, Ended) or self.finals[place] == 1

    # -- the world -------------------------------------------------------------------------

    def performs(self, place: str, reserve: int):
        async def perform(attempt):
            # The shop decides when the request arrives; the answer may be a long time coming.
            future: Any = asyncio.get_running_loop().create_future()
            future.key, future.applied = attempt.key, False
            self.waiting.append((place, reserve, future))
            return await future

        return perform

    def applies(self, place: str, future: Any) -> None:
        """The shop does it: once for each key where it honours keys, else for each request."""
        if future.done() or future.applied:
            return
        future.applied = True
        if PLACES[place] != "keyed" or future.key not in self.effects[place]:
            self.effects[place].append(future.key)

    def applies_all(self) -> None:
        """What hangs was done all the same, as far as anybody outside can see."""
        for place, _, future in self.waiting:
            self.applies(place, future)

    def asks(self, place: str):
        async def lookup(_attempt):
            return Found(value=b'"found"') if self.effects[place] else Absent()

        return lookup if place == "asked" else None

    # -- what can happen -------------------------------------------------------------------

    @rule(place=st.sampled_from(sorted(PLACES)), reserve=st.integers(0, 40))
    def call(self, place, reserve) -> None:
        """The engine asks, for the first time or again."""
        if place in self.tasks or place in self.held or self.finals[place]:
            return

        def final(seq, fact, text) -> None:
            self.finals[place] += 1

        request = self.house.request(
            SimpleNamespace(perform=self.performs(place, reserve)), path=place,
            repeat=PLACES[place], lookup=self.asks(place), budgets=("night",),
            reserve=MicroUsd(reserve), route=place,
        )  # fmt: skip
        self.tasks[place] = self.loop.create_task(self.door.call(request, final))
        self.settle()

    @precondition(lambda self: self.waiting)
    @rule(
        which=st.integers(0, 9),
        applied=st.booleans(),
        how=st.integers(0, 4),
        part=st.integers(0, 40),
    )
    def respond(self, which, applied, how, part) -> None:
        """An attempt gets its answer or its fault; those of zombies too."""
        place, reserve, future = self.waiting.pop(which % len(self.waiting))
        if future.done():
            return
        refused = how == 1 and not future.applied
        if (applied or how == 0) and not refused:
            self.applies(place, future)
        if how == 0:
            source = "reported" if part % 2 else "none"
            future.set_result(
                Answer(value=b"1", spend=MicroUsd(min(part, reserve)), spend_source=source)
            )
        else:
            kinds = {2: ("server", 503), 3: ("network", None), 4: ("rate", 409)}
            kind, status = ("bad_request", 422) if refused else kinds.get(how, ("server", 500))
            future.set_exception(self.fault(kind, status=status))
        self.settle()

    @precondition(lambda self: self.clock.next_due() is not None)
    @rule()
    def pass_time(self) -> None:
        """To the next wait or timeout; a hung attempt may have been applied all the same."""
        self.applies_all()
        self.clock.advance(self.clock.next_due() or Micros(0))
        self.settle()

    @rule()
    def crash(self) -> None:
        """The process is gone, its requests are not; the run's next attempt begins."""
        self.zombies += self.tasks.values()
        self.tasks.clear()
        self.applies_all()
        self.door = self.new_door()
        self.house.begin()

    @precondition(lambda self: self.held)
    @rule(know=st.booleans())
    def owner(self, know) -> None:
        """Looks, and says what happened, or that it cannot be known."""
        place = min(self.held)
        self.held.discard(place)
        choice = ("applied" if self.effects[place] else "not-applied") if know else "give-up"
        said = resolution(self.house.ledger, self.house.row(place), choice)
        self.house.say(RunHeld(why="call-in-doubt"))
        self.house.ledger.append_now(said.entries, expect=said.expect)
        self.house.run_attempt += 1
        self.house.say(RunAnswered(choice=choice), RunStarted(attempt=self.house.run_attempt))
        # The same process goes on: the old attempt's calls are ended by those that replace them.
        self.applies_all()
        self.zombies += self.tasks.values()
        self.tasks.clear()

    # -- what must hold --------------------------------------------------------------------

    @invariant()
    def committed_money_never_exceeds_the_cap(self) -> None:
        with self.house.ledger.read() as reader:
            row = reader.get(BudgetRow, "night")
            calls = reader.rows(CallRow)
        assert row.overrun == 0
        assert row.spent + row.reserved + row.held <= CAP
        assert row.reserved == sum(call.reserve for call in calls)
        assert row.held == sum(call.held for call in calls)
        assert row.spent == sum(call.spend for call in calls)
        assert row.assumed == sum(call.assumed for call in calls)
        assert all(call.reserve == 0 for call in calls if call.state != "dispatched")

    @invariant()
    def nothing_happens_twice_that_must_not(self) -> None:
        for place, repeat in PLACES.items():
            assert repeat == "safe" or len(self.effects[place]) <= 1

    @invariant()
    def a_call_ends_once(self) -> None:
        assert all(count <= 1 for count in self.finals.values())

    def teardown(self) -> None:
        async def end() -> None:
            tasks = [*self.tasks.values(), *self.zombies]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)

        self.loop.run_until_complete(end())
        self.loop.close()
        assert self.house.verdict().state == State.PROVEN, self.house.verdict()
        self.house.ledger.close()
        shutil.rmtree(self.folder)


@pytest.fixture
def machine(make_house, provider_fault):
    """The machine, with what the conftest has for it."""

    class Made(Machine):
        fault = staticmethod(provider_fault)

    Made.make_house = staticmethod(make_house)
    return Made


FEW = settings(max_examples=40, stateful_step_count=25, phases=[Phase.generate])
"""For planted bugs: to see that one is noticed, not to find its shortest form."""


@pytest.mark.timeout(180)
def test_no_interleaving_breaks_a_promise(machine) -> None:
    """Money under any crash, effects under any zombie, one end for each call."""
    run_state_machine_as_test(machine, settings=settings(max_examples=60, stateful_step_count=25))


@pytest.mark.timeout(180)
def test_a_reservation_that_is_not_checked_is_noticed(machine, monkeypatch) -> None:
    """A machine that cannot fail proves nothing."""
    monkeypatch.setattr(budget, "fits", lambda row, amount: True)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=FEW)


@pytest.mark.timeout(180)
def test_a_key_that_differs_by_attempt_is_noticed(machine, monkeypatch) -> None:
    """The shop would then do it twice, and say so."""
    real = Visit.adopt

    def adopt(self, row) -> None:
        real(self, row)
        self.key = f"{self.key}{row.attempt}"
        monkeypatch.setattr(
            Visit, "repeatable", lambda self, row=None: self.request.repeat != "never"
        )

    monkeypatch.setattr(Visit, "adopt", adopt)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=FEW)


@pytest.mark.timeout(180)
def test_a_retry_of_what_must_never_repeat_is_noticed(machine, monkeypatch) -> None:
    """The mistake that costs a customer two parcels."""
    monkeypatch.setattr(Visit, "repeatable", lambda self, row=None: True)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=FEW)
