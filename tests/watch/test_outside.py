"""What a report tells beside its runs: money, what healed, hours, what changed outside."""

from collections.abc import Mapping
from pathlib import Path

from tildawn.facts.call import BudgetSet, CallAnsweredLate, CallRefused, CallSettled
from tildawn.facts.house import ClockJumped
from tildawn.facts.night import NightClosed
from tildawn.facts.run import RunInterrupted, RunRetried, RunWaited
from tildawn.facts.step import TimerFired
from tildawn.units import Micros
from tildawn.watch.report import Report


def verdicts(report: Report) -> Mapping[str, int]:
    """How many runs have which verdict, zeros left out."""
    return {one.verdict.value: one.runs for one in report.counts if one.runs}


def test_money_is_the_sum_of_its_calls_by_where_each_number_comes_from(good):
    """Nobody believes a total whose parts do not sum to it."""
    money = good.report().money

    assert money.spent == sum(one.micro_usd for one in money.lines) == 24 * (11_300 + 42_000)
    assert {(one.route, one.source) for one in money.lines} == {
        ("sim:chat", "computed"), ("sim:image:1024", "reported"),
    }  # fmt: skip
    assert not money.differs


def test_money_without_a_bill_is_held_and_counts_as_spent(bad):
    """No bill seen is not free."""
    money = bad.report().money

    assert money.assumed == 120_000
    assert money.spent == 22 * 91_300 + 120_000 == sum(one.micro_usd for one in money.lines)
    assert "held" in {one.source for one in money.lines}


def test_a_bill_above_its_reservation_is_named_with_its_run(shop):
    """The cap held back what it knew of; what came above it must not be lost."""
    shop.plan({"listings": 1})
    shop.say(BudgetSet(scope=f"night/{shop.name}", limit_micro_usd=100_000))
    work = shop.accept("listings", 0)
    shop.start(work)
    shop.dispatch(work, "copy", reserve=10_000)
    shop.settle(work, "copy", spend=15_000)

    report = shop.report()

    assert report.money.overruns == ("1-1 at sim:chat: 0.005 USD above its reservation",)
    assert "overrun" in {one.kind for one in report.anomalies}
    assert report.money.limit == 100_000


def test_money_that_differs_from_the_budget_is_said(shop, monkeypatch):
    """A call that a budget does not know of is a hole in the budget, or in the report."""
    shop.plan({"listings": 1})
    work = shop.accept("listings", 0)
    shop.start(work)
    shop.dispatch(work, "copy")
    shop.settle(work, "copy", spend=15_000)
    monkeypatch.setattr("tildawn.watch.money.booked_in", lambda *_: 14_000)

    report = shop.report()

    assert "the budget says 0.015, its calls 0.014 USD" in report.money.differs
    assert "money-differs" in {one.kind for one in report.anomalies}


def test_a_call_refused_at_the_door_is_counted_and_says_why(shop):
    """Nothing was sent, and that is worth knowing."""
    shop.plan({"listings": 1})
    work = shop.accept("listings", 0)
    shop.start(work)
    refused = CallRefused(name="c", route="r", why="budget-spent", args="", error="")
    shop.say(refused, of=work, path="copy", texts=({"type": "x", "message": "no"},))

    report = shop.report()

    assert report.money.refused == 1
    assert "The door refused 1\u00a0call: budget-spent." in {
        one.sentence for one in report.anomalies
    }


def test_what_healed_itself_is_told_with_its_number(good):
    """Resilience that nobody sees is not believed, and not paid for."""
    healed = {one.kind: one for one in good.report().healed}

    assert healed["crash"].title == "Process died, back in 4\u00a0s"
    assert (healed["calls"].n, healed["calls"].recovered) == (1, 1)
    assert "interrupted" not in healed, "neither run has ended well yet"


def test_interrupted_runs_count_as_healed_once_they_ended_well(shop, tmp_path: Path):
    """Taken up again is not yet recovered."""
    shop.plan({"listings": 1})
    work = shop.accept("listings", 0)
    shop.start(work)
    shop.crash(tmp_path / "after")
    shop.back()
    shop.say(RunInterrupted(unclean=True), of=work)
    shop.start(work, 2)
    shop.say(
        RunRetried(due=0, failures=1, error=""), of=work, texts=({"type": "E", "message": "m"},)
    )
    shop.start(work, 3)
    shop.done(work)

    healed = {one.kind: one for one in shop.report().healed}

    assert (healed["interrupted"].recovered, healed["retried"].recovered) == (1, 1)


def test_a_late_answer_is_told_and_changes_nothing(shop):
    """It was paid for, and it came too late."""
    shop.plan({"listings": 1})
    work = shop.accept("listings", 0)
    shop.start(work)
    shop.dispatch(work, "copy")
    shop.settle(work, "copy", fault="timeout", effect="unknown", spend=20_000, source="assumed")
    shop.say(
        CallAnsweredLate(attempt=1, spend_micro_usd=12_000, spend_source="reported"),
        of=work,
        path="copy",
        texts=({},),
    )

    report = shop.report()

    assert [one.title for one in report.healed if one.kind == "late"] == ["1\u00a0answer came late"]
    assert (report.money.spent, report.money.assumed) == (12_000, 0)


def test_a_safe_call_that_was_lost_leaves_nothing_in_doubt(shop):
    """Reading a page twice hurts nobody, so nobody is asked."""
    shop.plan({"listings": 1})
    work = shop.accept("listings", 0)
    shop.start(work)
    shop.dispatch(work, "read", repeat="safe")
    shop.say(CallSettled(attempt=1, final=True, effect="unknown", fault="timeout"), of=work,
             path="read", texts=({}, None))  # fmt: skip
    shop.fail(work, "no answer")

    assert verdicts(shop.report()) == {"failed": 1}


def test_hours_add_up_and_split_work_from_waiting(shop):
    """Productive time against waiting is the one number that says whether nights pay."""
    shop.plan({"listings": 1})
    work = shop.accept("listings", 0)
    shop.until("22:30")
    shop.start(work)
    shop.until("23:00")
    shop.say(RunWaited(on="timer"), of=work)
    shop.until("23:40")
    shop.say(TimerFired(due=0), of=work, path="t")
    shop.until("23:50")
    shop.done(work)
    shop.until("23:55")
    shop.say(NightClosed(night=shop.name, outcome="done"))
    minute = 60_000_000

    hours = shop.report().hours

    assert (hours.working, hours.waiting) == (40 * minute, 40 * minute)
    assert hours.idle == 5 * minute + 2_000_000
    assert hours.to_spare == (6 * 60 + 35) * minute


def test_sleep_and_death_are_neither_work_nor_waiting(bad):
    """Time in which nothing could run must not look productive."""
    hours = bad.report().hours
    parts = (hours.working, hours.waiting, hours.idle, hours.asleep, hours.down, hours.away)

    assert hours.asleep == 40_000_000
    assert hours.down == 3_000_000
    assert sum(parts) == hours.total == hours.ends_at - hours.begins_at


def test_a_clock_that_was_set_is_an_anomaly(shop):
    """Times on both sides of it cannot be compared."""
    shop.plan({"listings": 1})
    shop.clock.advance(Micros(5_000_000))
    shop.say(ClockJumped(by_ms=3_600_000))

    assert "The clock of the machine was set forwards by 1\u00a0h." in {
        one.sentence for one in shop.report().anomalies
    }


def test_what_changed_outside_has_digests_targets_and_counts(good):
    """The owner asks first what is different now."""
    changed = {one.kind: one for one in good.report().changed}

    assert changed["file"].target.text == "sitemap.xml"
    assert (changed["file"].before, changed["file"].after) == ("ab" * 32, "cd" * 32)
    assert {(one.target.text, one.count, one.unknown) for one in good.report().changed} >= {
        ("shop:create", 23, 0), ("shop:photo", 0, 1),
    }  # fmt: skip
