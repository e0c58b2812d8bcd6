"""Money is conserved: whatever happens to attempts, in any order, with deaths in between.

What it is not: the door; see test_machine.py.  Here facts come as any door, owner or loop could
write them, and a model in whole numbers says what every scope must hold.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tildawn.errors import InvariantViolated
from tildawn.facts.call import (
    CallAnsweredLate,
    CallDispatched,
    CallDoubted,
    CallHoldReleased,
    CallLookedUp,
    CallResolved,
    CallServed,
    CallSettled,
)
from tildawn.guard import budget, recover
from tildawn.guard.policy import PRESETS
from tildawn.ledger.entry import Committed
from tildawn.ledger.verdict import State
from tildawn.projections import bill
from tildawn.projections.budget import BudgetRow
from tildawn.projections.call import CallRow
from tildawn.testing.clock import ManualClock
from tildawn.units import SECOND, Micros, MicroUsd


DAY = 24 * 3_600 * SECOND
PLACES = ("p", "q", "r")
RUN = "0" * 31 + "1"
POLICY = msgspec.structs.replace(PRESETS["chat"], usd_a_day=MicroUsd(150))


class Paid(msgspec.Struct):
    """One attempt as the model knows it; an amount is in one of the columns, or nowhere."""

    scopes: tuple[str, ...]
    key: str
    reserved: int = 0
    held: int = 0
    spent: int = 0
    assumed: int = 0
    overrun: int = 0
    #: Whether a bill may still come, and since when it is held.
    open: bool = False
    since: int = -1
    #: Answered without a bill: no word that nothing happened is about it.
    answered: bool = False


class Machine(RuleBasedStateMachine):
    """A house, a plan of attempts, and a model of every micro-dollar."""

    make_house: Any

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = ManualClock()
        self.house = self.make_house(self.folder / "house", self.clock)
        self.house.begin()
        self.caps = {"night": 100}
        self.house.limit("night", 100)
        self.attempts: dict[tuple[str, int], Paid] = {}
        #: Scopes in which a bill was above its reservation, until the owner says.
        self.stopped: set[str] = set()
        #: The call that is made at each place now, its last attempt, and whether that is live.
        self.calls = {place: f"{place}0" for place in PLACES}
        self.last: dict[str, int] = {}
        self.live: set[str] = set()

    def under_way(self, path: str) -> Paid:
        return self.attempts[path, self.last[path]]

    def ended(self, place: str) -> None:
        """The next call at this place is another one."""
        self.calls[place] = f"{place}{len(self.attempts)}"

    # -- what can happen -------------------------------------------------------------------

    @rule(place=st.sampled_from(PLACES), amount=st.integers(0, 45), key=st.sampled_from("ab"))
    def dispatch(self, place, amount, key) -> None:
        """As the door does it: all scopes are judged in the commit of the dispatch."""
        path = self.calls[place]
        if path in self.live:
            return
        attempt = self.last.get(path, 0) + 1
        scopes = budget.scopes_of(
            (f"item/{place}", "night"), route="chat", policy=POLICY, now=self.clock.wall(),
            amount=MicroUsd(amount),
        )  # fmt: skip
        names = tuple(scope.name for scope in scopes)
        fact = CallDispatched(
            name="c", route="chat", attempt=attempt, key=key, args="", repeat="safe", deadline=0,
            timeout_ms=0, reserve_micro_usd=amount, budgets=names,
        )  # fmt: skip
        entry = self.house.ledger.draft(fact, run=RUN, path=path)
        expect = budget.reservation(scopes, MicroUsd(amount))
        answer = self.house.ledger.append_now([entry], expect=expect)
        self.caps |= {scope.name: scope.cap for scope in scopes if scope.cap is not None}
        fits = not amount or all(
            name not in self.stopped and self.committed(name) + amount <= self.caps[name]
            for name in names
            if name in self.caps
        )
        assert isinstance(answer, Committed) == fits
        if fits:
            self.last[path] = attempt
            self.live.add(path)
            self.attempts[path, attempt] = Paid(scopes=names, key=key, reserved=amount)

    @rule(place=st.sampled_from(PLACES), cost=st.integers(0, 50), how=st.integers(0, 5))
    def settle(self, place, cost, how) -> None:
        """An answer with or without a bill, a failure that surely did nothing, or a lost one."""
        path = self.calls[place]
        if path not in self.live:
            return
        paid = self.under_way(path)
        self.live.discard(path)
        lost: dict[str, Any] = {"final": False, "effect": "unknown"}
        nothing: dict[str, Any] = {"final": False, "effect": "none"}
        said: dict[str, Any] = {
            0: {"spend_micro_usd": cost, "spend_source": "reported"},
            1: {"spend_micro_usd": paid.reserved, "spend_source": "assumed"},
            2: nothing | {"fault": "bad_request"},
            3: lost
            | {"fault": "timeout", "spend_micro_usd": paid.reserved, "spend_source": "held"},
            4: nothing | {"fault": "timeout", "abandoned": True},
            5: lost | {"fault": "server", "spend_micro_usd": cost, "spend_source": "reported"},
        }[how]
        answered: dict[str, Any] = {"final": True, "effect": "applied"}
        self.say(path, CallSettled(attempt=self.last[path], **(answered | said)))
        if how in {0, 5}:
            self.bill(paid, cost)
        elif how == 1:
            self.assume(paid, paid.reserved)
            paid.answered = True
        elif how == 3:
            self.hold(paid)
        else:
            paid.reserved, paid.open = 0, how == 4
        if how in {0, 1}:
            self.ended(place)

    @rule(place=st.sampled_from(PLACES), how=st.integers(0, 2))
    def lose(self, place, how) -> None:
        """A restart doubts the attempt, a tier answers in its place, or it answers a zombie."""
        path = self.calls[place]
        if path not in self.live:
            return
        paid = self.under_way(path)
        self.live.discard(path)
        if how == 2:
            self.say(path, CallAnsweredLate(attempt=self.last[path]))
            self.assume(paid, paid.reserved)
            paid.answered = True
            return
        self.hold(paid)
        if how == 1:
            self.say(path, CallServed(
                name="c", route="chat", args="", tier="exact", instead="patience", out="",
            ))  # fmt: skip
            self.ended(place)
        else:
            self.say(path, CallDoubted(attempt=self.last[path], why="lost"))

    @rule(which=st.integers(0, 30), cost=st.integers(0, 50), known=st.booleans())
    def late(self, which, cost, known) -> None:
        """A bill comes late, once or twice, or an answer that says nothing about its price."""
        gone = [(path, n) for path, n in self.attempts
                if path not in self.live or n != self.last[path]]  # fmt: skip
        if not gone:
            return
        path, attempt = gone[which % len(gone)]
        bill = {"spend_micro_usd": cost, "spend_source": "reported"}
        said: dict[str, Any] = bill if known else {}
        self.say(path, CallAnsweredLate(attempt=attempt, **said))
        paid = self.attempts[path, attempt]
        if known and (paid.open or paid.held or paid.assumed):
            self.bill(paid, cost)

    @rule(place=st.sampled_from(PLACES), owner=st.booleans())
    def nothing_happened(self, place, owner) -> None:
        """A lookup, or the owner, says so: of the request that was sent last."""
        call = self.calls[place]
        if call in self.live or call not in self.last:
            return
        word = CallResolved(choice="not-applied") if owner else CallLookedUp(answer="absent")
        self.say(call, word)
        key = self.under_way(call).key
        for (path, _), paid in self.attempts.items():
            unbilled = (paid.held or paid.assumed) and not paid.answered
            if path == call and paid.key == key and unbilled:
                paid.held = paid.assumed = paid.spent = 0
                paid.open = True

    @rule(which=st.integers(0, 30))
    def release(self, which) -> None:
        """A primary behind a tier is known to have cost nothing."""
        held = [place for place, paid in self.attempts.items() if paid.held]
        if held:
            path, attempt = held[which % len(held)]
            self.say(path, CallHoldReleased(attempt=attempt))
            paid = self.attempts[path, attempt]
            paid.held, paid.open = 0, True

    @rule(hours=st.integers(1, 30))
    def wait(self, hours) -> None:
        """Time passes, and the loop that looks for old holds turns."""
        self.clock.advance(Micros(hours * 3_600 * SECOND))
        now = self.clock.wall()
        asyncio.run(recover.expire_holds(self.house.ledger, now))
        for paid in self.attempts.values():
            if paid.held and paid.since <= now - DAY:
                self.assume(paid, paid.held)

    @rule(more=st.integers(0, 60))
    def raise_limit(self, more) -> None:
        """The owner lets the night go on, an overrun or not."""
        self.caps["night"] = max(self.caps["night"], self.committed("night")) + more
        self.stopped.discard("night")
        self.house.limit("night", self.caps["night"])

    @rule()
    def crash(self) -> None:
        """What is in memory is gone; what is on the disk goes on."""
        self.house.reopen()

    # -- the model -------------------------------------------------------------------------

    def say(self, path: str, data: Any) -> None:
        assert isinstance(self.house.say(data, path=path), Committed)

    def bill(self, paid: Paid, cost: int) -> None:
        over = cost - (paid.reserved or paid.held or paid.assumed)
        if over > 0:
            paid.overrun += over
            self.stopped |= set(paid.scopes)
        paid.reserved = paid.held = paid.assumed = 0
        paid.spent, paid.open = cost, False

    def hold(self, paid: Paid) -> None:
        paid.held, paid.reserved = paid.reserved, 0
        paid.open, paid.since = True, self.clock.wall()

    def assume(self, paid: Paid, amount: int) -> None:
        paid.spent = paid.assumed = amount
        paid.reserved = paid.held = 0
        paid.open = amount > 0

    def total(self, column: str, scope: str) -> int:
        return sum(getattr(one, column) for one in self.attempts.values() if scope in one.scopes)

    def committed(self, scope: str) -> int:
        return sum(self.total(column, scope) for column in ("reserved", "held", "spent"))

    # -- what must hold --------------------------------------------------------------------

    @invariant()
    def every_scope_holds_what_its_attempts_do(self) -> None:
        names = {name for paid in self.attempts.values() for name in paid.scopes}
        with self.house.ledger.read() as reader:
            for name in names:
                row = reader.get(BudgetRow, name)
                for column in ("reserved", "held", "spent", "assumed"):
                    assert getattr(row, column, 0) == self.total(column, name), (name, column)

    @invariant()
    def no_cap_is_exceeded_but_by_overruns(self) -> None:
        for name, cap in self.caps.items():
            assert self.committed(name) <= cap + self.total("overrun", name)

    @invariant()
    def a_call_is_the_sum_of_its_attempts(self) -> None:
        with self.house.ledger.read() as reader:
            rows = reader.rows(CallRow)
        for row in rows:
            mine = [paid for (path, _), paid in self.attempts.items() if path == row.path]
            assert row.held == sum(paid.held for paid in mine)
            assert row.spend == sum(paid.spent for paid in mine)
            assert row.reserve == sum(paid.reserved for paid in mine)
            assert row.overrun == sum(paid.overrun for paid in mine)

    def teardown(self) -> None:
        assert self.house.verdict().state == State.PROVEN, self.house.verdict()
        self.house.ledger.close()
        shutil.rmtree(self.folder)


@pytest.fixture
def machine(make_house):
    """The machine, with what the conftest has for it."""

    class Made(Machine):
        pass

    Made.make_house = staticmethod(make_house)
    return Made


FEW = settings(max_examples=40, stateful_step_count=30, phases=[Phase.generate])
"""For planted bugs: to see that one is noticed, not to find its shortest form."""


@pytest.mark.timeout(180)
def test_money_is_conserved_in_any_order_of_facts(machine) -> None:
    """Every micro-dollar that was promised is spent, held or free again, and once only."""
    run_state_machine_as_test(machine, settings=settings(max_examples=80, stateful_step_count=30))


@pytest.mark.timeout(180)
def test_a_dispatch_that_asks_no_scope_is_noticed(machine, monkeypatch) -> None:
    """To reserve after the dispatch is to ask nobody."""
    monkeypatch.setattr(budget, "reservation", lambda *_: [])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=FEW)


@pytest.mark.timeout(180)
def test_money_that_is_freed_while_it_is_held_is_noticed(machine, monkeypatch) -> None:
    """Held money that does not count against a cap can be spent a second time."""
    real = budget.fits

    def forgetful(row, amount, **said):
        if isinstance(row, BudgetRow):
            row = msgspec.structs.replace(row, held=0)
        return real(row, amount, **said)

    monkeypatch.setattr(budget, "fits", forgetful)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=FEW)


@pytest.mark.timeout(180)
def test_a_reservation_that_is_freed_twice_is_noticed(machine, monkeypatch) -> None:
    """Once when the attempt ends, and once more when it is held."""
    real = bill.Booking

    def twice(**said):
        if said.get("held", 0) > 0:
            said["reserved"] *= 2
        return real(**said)

    monkeypatch.setattr(bill, "Booking", twice)
    # The table of budgets refuses to go below zero before the machine can say so.
    with pytest.raises((AssertionError, InvariantViolated)):
        run_state_machine_as_test(machine, settings=FEW)
