"""Two hundred callers and kill -9: committed money never exceeds a cap.

What it is not: one death at a chosen moment; that is tests/guard/test_crash.py.  The judge has a
book of its own: it reads the facts and the provider's bills, and none of our sums.
"""

import importlib.util
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tildawn.clock import SystemClock
from tildawn.ledger.verdict import State
from tildawn.projections.budget import BudgetRow, HeldRow
from tildawn.projections.call import CallRow
from tildawn.units import Seq


HERE = Path(__file__)
SPENDER = HERE.with_name("spender.py")
KIT = HERE.parents[2] / "guard" / "conftest.py"
ROUTE_CAP = 6_000
"""The same number as in spender.py: what ``art:hero`` may spend on a day."""


@dataclass
class Book:
    """Money as the facts tell it, fact by fact."""

    caps: dict[str, int] = field(default_factory=dict)
    committed: Counter[str] = field(default_factory=Counter)
    #: What each attempt commits: amount and scopes.
    attempts: dict[tuple[str, int], tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    dispatched: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)

    def take(self, seq: int, fact: Any) -> None:
        """Book one fact, and look at every cap."""
        data, place = fact.data, (fact.path, getattr(fact.data, "attempt", 0))
        if fact.kind == "BudgetSet":
            self.caps[data.scope] = data.limit_micro_usd
        elif fact.kind == "CallDispatched":
            self.dispatched += 1
            for scope in data.budgets:
                if scope.startswith("route:art:hero/"):
                    self.caps[scope] = ROUTE_CAP
            self._commit(place, data.reserve_micro_usd, data.budgets)
        elif fact.kind == "CallSettled" and place in self.attempts:
            if data.spend_source != "held":
                self._commit(place, data.spend_micro_usd)
        elif fact.kind == "CallAnsweredLate" and data.spend_source == "reported":
            self._commit(place, data.spend_micro_usd)
        self.refused += fact.kind == "CallRefused"
        over = [s for s, cap in self.caps.items() if self.committed[s] > cap]
        self.wrong += [f"{scope} at {seq}" for scope in over]

    def _commit(self, place: tuple[str, int], amount: int, scopes: tuple[str, ...] = ()) -> None:
        before, scopes = self.attempts.get(place, (0, scopes))
        self.attempts[place] = (amount, scopes)
        for scope in scopes:
            self.committed[scope] += amount - before


class Campaign:
    """One house, one provider, and processes that are killed one after another."""

    def __init__(self, folder: Path, *, bug: str = "") -> None:
        self.folder = folder
        self.bug = bug
        self.rng = Random(7)
        self.seed = 0

    def run(self, mode: str, *, lines: int) -> None:
        """Start a process, and kill it after so many attempts; 0 lets it end by itself."""
        self.seed += 1
        command = [sys.executable, str(SPENDER), str(KIT), str(self.folder / "house")]
        with subprocess.Popen(
            [*command, str(self.seed), mode], stdout=subprocess.PIPE, text=True,
            env=os.environ | {"SPENDER_BUG": self.bug},
        ) as child:  # fmt: skip
            assert child.stdout is not None
            assert child.stdout.readline() == "begun\n"
            for _ in range(lines):
                assert child.stdout.readline(), "it died by itself"
            if lines:
                os.kill(child.pid, signal.SIGKILL)
            child.stdout.read()
            assert child.wait() == (-signal.SIGKILL if lines else 0)

    def kill(self, most: int) -> None:
        """One life and its end, after some attempts."""
        self.run("spend", lines=self.rng.randint(most // 4, most))

    def judge(self) -> Book:
        """What is wrong with the money, in the facts, in the tables, and at the provider."""
        spec = importlib.util.spec_from_file_location("guard_conftest", KIT)
        assert spec is not None
        assert spec.loader is not None
        kit = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = kit
        spec.loader.exec_module(kit)
        house, book = kit.House(self.folder / "house", SystemClock()), Book()
        try:
            with house.ledger.read() as reader:
                for seq, fact in reader.facts(Seq(-1), 10_000_000):
                    book.take(seq, fact)
                rows = {row.scope: row for row in reader.rows(BudgetRow)}
                calls, held = reader.rows(CallRow), reader.rows(HeldRow)
            self._tables(book, rows, calls, held)
            self._bills(book)
            verdict = house.verdict()
            if verdict.state != State.PROVEN:
                book.wrong.append(f"the house does not hold together: {verdict}")
        finally:
            house.ledger.close()
        return book

    def _tables(
        self, book: Book, rows: dict[str, BudgetRow], calls: list[CallRow], held: list[HeldRow]
    ) -> None:
        for scope, row in rows.items():
            if row.committed != book.committed[scope]:
                book.wrong.append(f"{scope} says {row.committed}, facts {book.committed[scope]}")
            if row.overrun or row.stopped:
                book.wrong.append(f"{scope} has an overrun that nobody billed")
        live = sum(call.reserve for call in calls if call.state == "dispatched")
        night = rows["night"]
        if (night.reserved, night.held) != (live, sum(row.amount for row in held)):
            book.wrong.append(f"{night.reserved} promised to {live} of live calls")

    def _bills(self, book: Book) -> None:
        """The provider's own book: it billed only what was on record, and within the cap."""
        total = 0
        for line in (self.folder / "book").read_text().splitlines():
            path, attempt, cost = line.split()
            total += int(cost)
            if (path, int(attempt)) not in book.attempts:
                book.wrong.append(f"the provider billed {path}, of which nothing is on record")
        if total > book.committed["night"]:
            book.wrong.append(f"{total} were billed, {book.committed['night']} committed")


def campaign(folder: Path, *, kills: int, life: int) -> Book:
    """Kill so many times, judge each time, clear up, and judge what is left."""
    made = Campaign(folder)
    for _ in range(kills):
        made.kill(life)
        assert made.judge().wrong == []
    made.run("finish", lines=0)
    book = made.judge()
    assert book.wrong == []
    kit = sys.modules["guard_conftest"]
    house = kit.House(folder / "house", SystemClock())
    with house.ledger.read() as reader:
        left = reader.rows(CallRow, "state = 'dispatched' OR reserve <> 0")
        scopes = reader.rows(BudgetRow)
    house.ledger.close()
    assert left == [], "no call is left that somebody would have to come back for"
    assert {row.reserved for row in scopes} == {0}
    return book


@pytest.mark.timeout(240)
def test_no_kill_makes_two_hundred_callers_overspend(tmp_path: Path) -> None:
    """The night is over its cap only where a bill was above its price, and here none is."""
    book = campaign(tmp_path, kills=6, life=600)
    assert book.dispatched > 1_000
    assert book.refused > 100, "the caps were never reached, so nothing was tried"
    assert book.committed["night"] > 10_000


@pytest.mark.chaos
@pytest.mark.timeout(0)
def test_no_campaign_of_kills_makes_two_hundred_callers_overspend(tmp_path: Path) -> None:
    """The same for some minutes, with longer lives."""
    assert campaign(tmp_path, kills=24, life=4_000).dispatched > 30_000


@pytest.mark.timeout(120)
def test_the_judge_sees_money_that_is_spent_twice(tmp_path: Path) -> None:
    """A judge that cannot say no proves nothing: here budgets are looked at before the commit."""
    made = Campaign(tmp_path, bug="look-first")
    made.run("spend", lines=800)
    assert made.judge().wrong
