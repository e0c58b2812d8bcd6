"""The tables of calls, money and routes: what each fact means, and what the tallies say.

What it is not: the door; facts are written here by hand, in any order.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tildawn.facts import call as call_facts
from tildawn.facts import house as house_facts
from tildawn.facts import run as run_facts
from tildawn.facts.call import (
    BudgetSet,
    CallAnsweredLate,
    CallDispatched,
    CallDoubted,
    CallHoldExpired,
    CallHoldReleased,
    CallLookedUp,
    CallRefused,
    CallResolved,
    CallServed,
    CallSettled,
    ChildProcessGone,
    ChildProcessStarted,
)
from tildawn.facts.fact import Registry
from tildawn.facts.run import RunAccepted, RunRetried, RunStarted
from tildawn.ids import Ids
from tildawn.ledger.entry import Committed, Unmet
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.verdict import State
from tildawn.ledger.verify import verify
from tildawn.projections.budget import (
    BudgetRow,
    assumed_of,
    budget_of,
    budgets_under,
    held_of,
    held_since,
)
from tildawn.projections.call import CALL, MINUTE, CallRow
from tildawn.projections.run import RUN
from tildawn.projections.tally import (
    answered_late,
    call_of,
    calls_of,
    children,
    healed,
    recent,
    route_totals,
    stopped_budgets,
    under_way,
)
from tildawn.projections.usage import UsageRow, outputs_of
from tildawn.testing.clock import ManualClock
from tildawn.units import Micros


REGISTRY = Registry((*house_facts.KINDS, *run_facts.KINDS, *call_facts.KINDS))
RUN_NAME = "1" * 32


class Book:
    """A house in which facts are said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.ledger = Ledger.open(
            folder, registry=REGISTRY, projections=(RUN, CALL), clock=self.clock,
            ids=Ids(self.clock), build="test",
        )  # fmt: skip

    def say(self, *data, path: str = "p", run: str = RUN_NAME) -> Committed | Unmet:
        entries = [self.ledger.draft(one, run=run, path=path) for one in data]
        return self.ledger.append_now(entries)

    def ask(self, question, *args, **kwargs):
        with self.ledger.read() as reader:
            return question(reader, *args, **kwargs)

    def row(self, path: str = "p") -> CallRow:
        row = self.ask(call_of, RUN_NAME, path)
        assert row is not None
        return row

    def held(self, scope: str = "night") -> tuple[int, int, int, int]:
        """Promised, held, spent, and the assumed part of that; checked against the calls."""
        row: BudgetRow | None = self.ask(budget_of, scope)
        assert row is not None
        return row.reserved, row.held, row.spent, row.assumed

    def money(self, scope: str = "night") -> tuple[int, int, int, int, int]:
        row: BudgetRow | None = self.ask(budget_of, scope)
        assert row is not None
        return row.reserved, row.spent, row.assumed, row.overrun, row.stopped


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """A house; at the end its tables must be what its facts say."""
    made = Book(tmp_path / "house")
    yield made
    found = verify(made.folder, registry=REGISTRY, projections=(RUN, CALL))
    made.ledger.close()
    assert State.PROVEN == found.state, found


def sent(attempt: int = 1, **said) -> CallDispatched:
    fields: dict[str, Any] = {
        "name": "post", "route": "shop", "key": "k", "args": "a", "repeat": "safe",
        "deadline": 0, "timeout_ms": 0, "reserve_micro_usd": 40, "budgets": ("run", "night"),
    }  # fmt: skip
    return CallDispatched(attempt=attempt, **(fields | said))


def ended(attempt: int = 1, **said) -> CallSettled:
    fields: dict[str, Any] = {
        "final": True,
        "effect": "applied",
        "spend_micro_usd": 30,
        "spend_source": "reported",
    }
    return CallSettled(attempt=attempt, **(fields | said))


def lost(attempt: int = 1, **said) -> CallSettled:
    fields: dict[str, Any] = {
        "final": False, "effect": "unknown", "fault": "timeout", "spend_micro_usd": 40,
        "spend_source": "assumed",
    }  # fmt: skip
    return CallSettled(attempt=attempt, **(fields | said))


def test_a_dispatch_reserves_in_every_scope_and_its_end_spends(book) -> None:
    """The sums must close at every fact, not only in the morning."""
    book.say(BudgetSet(scope="night", limit_micro_usd=100))
    book.say(sent())
    assert (40, 0, 0, 0, 0) == book.money() == book.money("run")
    book.say(ended())
    assert (0, 30, 0, 0, 0) == book.money() == book.money("run")
    assert ("settled", 30, 0) == (book.row().state, book.row().spend, book.row().reserve)
    assert ["night", "run"] == [row.scope for row in book.ask(budgets_under)]
    assert ["night"] == [row.scope for row in book.ask(budgets_under, "ni")]


def test_a_bill_above_its_reservation_stops_the_scope_until_the_owner_says(book) -> None:
    """A price that was wrong once is wrong again."""
    book.say(BudgetSet(scope="night", limit_micro_usd=100))
    book.say(sent(), ended(spend_micro_usd=45))
    assert (0, 45, 0, 5, 1) == book.money()
    assert (0, 45, 0, 5, 1) == book.money("run"), "its cap may be a setting, unknown here"
    assert ["night", "run"] == [row.scope for row in book.ask(stopped_budgets)]
    book.say(BudgetSet(scope="night", limit_micro_usd=200))
    assert (0, 45, 0, 5, 0) == book.money()


def test_money_of_an_unknown_outcome_is_held_until_its_bill_comes(book) -> None:
    """Counting it as nothing spends it twice; calling it spent says what nobody knows."""
    book.say(sent())
    book.say(lost(spend_source="held"))
    assert (0, 40, 0, 0) == book.held() == book.held("run")
    assert (40, 0, "held") == (book.row().held, book.row().spend, book.row().source)
    assert [40] == [row.amount for row in book.ask(held_of, RUN_NAME)]
    book.say(sent(2), ended(2))
    assert (0, 40, 30, 0) == book.held()

    book.say(CallAnsweredLate(attempt=1, spend_micro_usd=25, spend_source="reported"))
    assert (0, 0, 55, 0) == book.held()
    assert ([], 0, 55) == (book.ask(held_of, RUN_NAME), book.row().held, book.row().spend)
    # The same bill a second time changes nothing.
    book.say(CallAnsweredLate(attempt=1, spend_micro_usd=25, spend_source="reported"))
    assert (0, 0, 55, 0) == book.held()


def test_what_is_held_for_a_day_without_a_bill_is_assumed(book) -> None:
    """No bill comes any more, and the sums of a night must close; but nothing is forgotten."""
    book.say(sent(reserve_tokens=9), lost(spend_source="held"))
    [row] = book.ask(held_since, book.clock.wall())
    assert (40, 9, "run\nnight") == (row.amount, row.tokens, row.budgets)
    book.say(CallHoldExpired(attempt=1))
    assert (0, 0, 40, 40) == book.held()
    assert [] == book.ask(held_since, book.clock.wall())
    assert [40] == [row.amount for row in book.ask(assumed_of, RUN_NAME)]
    book.say(CallHoldExpired(attempt=1))
    assert (0, 0, 40, 40) == book.held(), "a second word of it is nothing new"
    book.say(CallAnsweredLate(attempt=1, spend_micro_usd=45, spend_source="reported"))
    assert (0, 0, 45, 0) == book.held()
    assert 5 == book.row().overrun


@pytest.mark.parametrize(
    "word", [CallLookedUp(answer="absent"), CallResolved(choice="not-applied")]
)
@pytest.mark.parametrize("late", [False, True])
def test_what_did_not_happen_costs_nothing(book, word, late) -> None:
    """The shop has no such order: neither the last attempt nor those before it will be billed."""
    book.say(BudgetSet(scope="night", limit_micro_usd=100))
    book.say(sent(), lost(spend_source="held"))
    book.say(sent(2, budgets=("another", "night")), CallDoubted(attempt=2, why="lost"))
    book.say(sent(3, key="other", reserve_micro_usd=5), CallDoubted(attempt=3, why="lost"))
    book.say(sent(4, reserve_micro_usd=1), CallDoubted(attempt=4, why="lost"))
    if late:
        book.say(*(CallHoldExpired(attempt=n) for n in (1, 3)))
    book.say(word)
    assert (0, 0, 5, 5) if late else (0, 5, 0, 0) == book.held()
    assert 5 == book.row().held + book.row().spend, "of another request nothing is known"
    assert (0, 0, 0, 0) == book.held("another")
    # A bill for what did not happen was never reserved: somebody must be told.
    book.say(CallAnsweredLate(attempt=2, spend_micro_usd=7, spend_source="reported"))
    assert (7, 1) == (book.row().overrun, book.ask(budget_of, "night").stopped)


def test_a_bill_within_the_worst_case_stops_nothing(book) -> None:
    """An estimate that was too low is no wrong price; it is named all the same."""
    book.say(BudgetSet(scope="night", limit_micro_usd=100))
    book.say(sent(worst_micro_usd=60), ended(spend_micro_usd=55))
    assert (0, 55, 0, 15, 0) == book.money()
    book.say(sent(worst_micro_usd=44), ended(spend_micro_usd=45), path="q")
    assert (0, 100, 0, 20, 1) == book.money()


def test_what_is_held_for_a_tier_s_primary_can_be_let_go(book) -> None:
    """It failed unsent after something else had been served; a day of doubt would be a lie."""
    book.say(
        sent(), CallServed(name="post", route="shop", args="a", tier="exact", instead="x", out="")
    )
    assert (0, 40, 0, 0) == book.held()
    book.say(CallHoldReleased(attempt=1, why="unsent"))
    assert (0, 0, 0, 0) == book.held()
    assert ("settled", 0) == (book.row().state, book.row().held)


def test_tokens_are_promised_held_and_used_like_money(book) -> None:
    """A subscription has no price and a limit in tokens."""

    def tokens() -> tuple[int, int, int, int | None]:
        row = book.ask(budget_of, "night")
        return row.tokens_reserved, row.tokens_held, row.tokens, row.cap_tokens

    book.say(BudgetSet(scope="night", limit_tokens=1_000))
    book.say(BudgetSet(scope="night", limit_micro_usd=7))
    assert (0, 0, 0, 1_000) == tokens()
    book.say(sent(reserve_tokens=100))
    assert (100, 0, 0, 1_000) == tokens()
    book.say(lost(spend_source="held"), sent(2, reserve_tokens=50))
    assert (50, 100, 0, 1_000) == tokens()
    book.say(ended(2, tokens_in=20, tokens_out=10))
    assert (0, 100, 30, 1_000) == tokens()
    book.say(CallAnsweredLate(attempt=1, spend_micro_usd=1, spend_source="reported", tokens_out=60))
    assert (0, 0, 90, 1_000) == tokens()
    book.say(sent(), ended(tokens_in=20, tokens_out=10), path="free")
    assert (0, 0, 90, 1_000) == tokens(), "who reserves none is not counted"


@pytest.mark.parametrize("said", ["none", "held"])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    "word", [CallLookedUp(answer="absent"), CallResolved(choice="not-applied")]
)
def test_tokens_of_what_did_not_happen_are_free_again_where_money_is_none(
    book, said, late, word
) -> None:
    """A subscription promises tokens alone; what the other side never did uses none of them."""
    book.say(sent(reserve_micro_usd=0, reserve_tokens=500))
    book.say(lost(spend_micro_usd=0, spend_source=said))
    assert (0, 500, 0) == tokens_of(book), "nobody knows whether they were used"
    if late:
        book.say(CallHoldExpired(attempt=1))
        assert (0, 0, 500) == tokens_of(book)
    book.say(word)
    assert (0, 0, 0) == tokens_of(book)
    book.say(sent(2, reserve_micro_usd=0, reserve_tokens=500))
    book.say(ended(2, spend_micro_usd=0, spend_source="none"))
    assert (0, 0, 500) == tokens_of(book), "an answer that does not say uses what was promised"


def test_a_late_bill_of_what_was_assumed_says_how_many_tokens_it_was(book) -> None:
    """A day without a bill counted the promise; the bill knows better."""
    book.say(sent(reserve_tokens=500), lost(spend_source="held"), CallHoldExpired(attempt=1))
    assert (0, 0, 500) == tokens_of(book)
    book.say(CallAnsweredLate(attempt=1, spend_micro_usd=1, spend_source="reported", tokens_out=60))
    assert (0, 0, 60) == tokens_of(book)


def tokens_of(book) -> tuple[int, int, int]:
    """Promised, held and used."""
    row = book.ask(budget_of, "night")
    return row.tokens_reserved, row.tokens_held, row.tokens


def test_the_last_hundred_outputs_of_a_route_are_kept(book) -> None:
    """What the next answer may cost is learnt from them, also after a restart."""
    for n in range(105):
        book.say(sent(route="chat"), ended(tokens_out=n), path=f"p{n}")
    book.say(sent(route="chat"), lost(tokens_out=9), path="failed")
    assert tuple(range(5, 105)) == book.ask(outputs_of, "chat")
    assert () == book.ask(outputs_of, "other")
    assert 400 >= len(book.ask(lambda reader: reader.get(UsageRow, "chat").outputs))


def test_money_that_early_houses_called_assumed_is(book) -> None:
    """Facts keep the meaning that they were written with."""
    book.say(sent())
    book.say(lost())
    assert (0, 40, 40, 0, 0) == book.money()
    assert [40] == [row.amount for row in book.ask(assumed_of, RUN_NAME)]
    book.say(sent(2), ended(2))
    assert (0, 70, 40, 0, 0) == book.money()

    book.say(CallAnsweredLate(attempt=1, spend_micro_usd=25, spend_source="reported"))
    assert (0, 55, 0, 0, 0) == book.money()
    assert [] == book.ask(assumed_of, RUN_NAME)
    assert ["p"] == [row.path for row in book.ask(answered_late)]
    # The same bill a second time changes nothing.
    book.say(CallAnsweredLate(attempt=1, spend_micro_usd=25, spend_source="reported"))
    assert (0, 55, 0, 0, 0) == book.money()


def test_a_late_answer_without_a_bill_leaves_what_was_assumed(book) -> None:
    """Silence about the price is not a price of zero."""
    book.say(sent(), lost(), CallAnsweredLate(attempt=1))
    assert (0, 40, 40, 0, 0) == book.money()


def test_a_late_answer_of_an_attempt_under_way_leaves_the_call_open(book) -> None:
    """Its run has a newer attempt, which decides; the money is booked at once."""
    book.say(sent(), CallAnsweredLate(attempt=1))
    assert (0, 40, 40, 0, 0) == book.money()
    assert ("unknown", -1) == (book.row().state, book.row().settled)


def test_a_doubt_holds_the_reservation(book) -> None:
    """Nobody knows whether it will be billed; the cap must hold either way."""
    book.say(sent())
    book.say(CallDoubted(attempt=1, why="lost"))
    assert (0, 40, 0, 0) == book.held()
    assert ("unknown", "lost", 0) == (book.row().state, book.row().fault, book.row().tries)
    book.say(CallDoubted(attempt=1, why="lost"))
    assert (0, 40, 0, 0) == book.held(), "a second doubt of the same attempt is nothing new"


def test_a_second_attempt_beside_a_live_one_is_refused(book) -> None:
    """Not even a bug of the door may have two attempts of a call under way."""
    book.say(sent())
    assert isinstance(book.say(sent(2)), Unmet)
    book.say(ended())
    assert isinstance(book.say(sent(2)), Unmet), "nor one after the end"
    assert isinstance(book.say(ended()), Unmet), "nor a second end"
    refused = CallRefused(name="post", route="shop", why="budget-spent", args="a", error="")
    assert isinstance(book.say(refused), Unmet)
    assert (0, 30, 0, 0, 0) == book.money()


def test_a_run_that_goes_back_begins_its_call_anew(book) -> None:
    """A retry forgets the failure and its tries; numbers of attempts are never used twice."""
    book.say(RunAccepted(task="t", args=""), RunStarted(attempt=1), path="")
    book.say(sent(), ended(fault="quota", effect="none"))
    book.say(
        RunRetried(due=0, failures=1, error="", void=book.row().settled), RunStarted(attempt=2),
        path="",
    )  # fmt: skip
    assert isinstance(book.say(sent(2)), Committed)
    assert (2, 1, 2) == (book.row().attempt, book.row().tries, book.row().run_attempt)


def test_a_lookup_and_the_owner_can_only_speak_of_an_open_call(book) -> None:
    """A word that comes too late must not reopen what has ended."""
    book.say(sent(), lost())
    book.say(CallLookedUp(answer="unclear"))
    assert ("unknown", "unclear") == (book.row().state, book.row().looked)
    book.say(CallResolved(choice="not-applied"))
    assert ("ready", "none", 0) == (book.row().state, book.row().effect, book.row().tries)
    book.say(sent(2), ended(2))
    before = book.row()
    book.say(CallResolved(choice="not-applied"), CallLookedUp(answer="absent"))
    assert before == book.row()


def test_facts_about_calls_that_are_not_there_change_nothing(book) -> None:
    """A fold never raises for a recorded fact, whatever a later version may have written."""
    book.say(
        ended(), CallDoubted(attempt=1, why="x"), CallLookedUp(answer="found"),
        CallResolved(choice="applied"), CallAnsweredLate(attempt=3), CallHoldExpired(attempt=1),
        CallHoldReleased(attempt=1),
        ChildProcessStarted(pid=1, started="x"), ChildProcessGone(pid=1, attempt=1),
    )  # fmt: skip
    assert [] == book.ask(calls_of, RUN_NAME)


def test_children_are_known_until_they_are_known_to_be_gone(book) -> None:
    """Of an abandoned attempt too, whose settlement proves nothing about its child."""
    book.say(sent(), ChildProcessStarted(pid=7, started="x"), lost(abandoned=True))
    assert [7] == [child.pid for child in book.ask(children)]
    book.say(ChildProcessGone(pid=7, attempt=1))
    assert ([], 0) == (book.ask(children), book.row().child)
    book.say(sent(2), ChildProcessStarted(pid=8, started="x"), ended(2))
    assert [] == book.ask(children)


def test_the_tallies_count_what_healed_what_is_open_and_what_it_cost(book) -> None:
    """The report is made of these lines and nothing else."""
    book.say(RunAccepted(task="t", args="", night="n1"), RunStarted(attempt=1), path="")
    book.say(sent(model="m", repeat="keyed"), lost())
    book.say(sent(2, model="m", repeat="keyed"), ended(2, tokens_in=3, tokens_out=4))
    book.say(sent(model="m"), ended(), path="q")
    book.say(sent(route="image", model="i"), lost(), path="r")
    book.say(sent(route="image", model="i"), path="s")
    book.say(sent(), ended(), run="2" * 32)

    totals = book.ask(route_totals, night="n1")
    assert [("image", "i", 2, 2, 1, 0, 0, 40, 40), ("shop", "m", 2, 3, 1, 2, 1, 100, 40)] == [
        (
            x.route, x.model, x.calls, x.attempts, x.failures, x.answered, x.healed,
            x.spend_micro_usd, x.assumed_micro_usd,
        )
        for x in totals
    ]  # fmt: skip
    assert (3, 4) == (totals[1].tokens_in, totals[1].tokens_out)
    assert 3 == len(book.ask(route_totals))
    assert ["p"] == [row.path for row in book.ask(healed, night="n1")]
    assert ["s"] == [row.path for row in book.ask(under_way)]
    assert [] == book.ask(healed, night="another")


def test_ten_minutes_of_a_route_are_counted_and_no_more(book) -> None:
    """The retry budget looks at the last ten minutes, after a restart too."""
    now = book.clock.wall
    book.say(sent(), lost())
    book.say(sent(2), ended(2))
    assert (1, 1) == book.ask(recent, "shop", now=now())
    book.clock.advance(Micros(5 * MINUTE))
    book.say(sent(), path="q")
    assert (2, 1) == book.ask(recent, "shop", now=now())
    book.clock.advance(Micros(6 * MINUTE))
    assert (1, 0) == book.ask(recent, "shop", now=now())
    assert (0, 0) == book.ask(recent, "other", now=now())
    book.clock.advance(Micros(10 * MINUTE))
    book.say(sent(), path="r")
    assert (1, 0) == book.ask(recent, "shop", now=now())
