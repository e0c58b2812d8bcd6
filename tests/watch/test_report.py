"""The report as a value: sums, verdicts, needs, money, hours, and what it says of itself."""

import json
import sqlite3
from collections import Counter
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from tildawn.errors import UnknownName
from tildawn.facts.call import BudgetSet, CallAnsweredLate, CallRefused, CallSettled
from tildawn.facts.house import ClockJumped
from tildawn.facts.night import NightClosed, NightParked, NightStopped, RowCovered
from tildawn.facts.run import RunAnswered, RunCancelAsked, RunCancelled, RunRetried, RunWaited
from tildawn.facts.step import TimerFired
from tildawn.units import Micros
from tildawn.watch.build import build_report
from tildawn.watch.report import NightState, Report, Verdict, headline, render_json


def verdicts(report: Report) -> dict[str, int]:
    """How many runs have which verdict, zeros left out."""
    return {one.verdict.value: one.runs for one in report.counts if one.runs}


def line(report: Report, title: str):
    """The one line with that title."""
    [found] = [one for one in report.runs if one.title.text == title]
    return found


def test_a_good_night_is_told_by_its_first_two_sentences(good):
    """If the sentence is enough, the reader is done."""
    report = good.report()

    assert headline(report) == "24 of 26 verified. 2 need you."
    assert verdicts(report) == {"verified": 24, "unknown": 1, "held": 1}
    assert report.adds_up


def test_a_bad_night_looks_bad(bad):
    """A report that cannot look bad is not a report."""
    report = bad.report(alive=False)

    assert headline(report) == "9 of 26 verified. 6 need you."
    assert verdicts(report) == {
        "verified": 9, "claimed": 3, "refuted": 1, "unknown": 1, "failed": 5, "held": 3,
        "not-started": 4,
    }  # fmt: skip
    assert "stopped at" in report.headline.deck[0]


def test_each_planned_run_is_listed_once_and_the_sums_are_those_of_the_plan(good):
    """A run that is in no list, or in two, makes every other number worthless."""
    report = good.report()
    runs = Counter(one.run for one in report.runs)

    assert len(report.runs) == sum(one.runs for one in report.counts) == report.planned == 26
    assert set(runs.values()) == {1}


def test_a_report_that_does_not_add_up_says_so_in_its_headline(shop):
    """The sum is an assertion that can fail, and a failure is told, not hidden."""
    shop.plan({"listings": 2})
    for row in range(3):
        shop.accept("listings", row)

    report = shop.report()

    assert not report.adds_up
    assert "2\u00a0runs planned, 3 listed" in report.differs
    assert report.headline.deck[0].startswith("This report does not add up")
    assert report.anomalies[0].kind == "does-not-add-up"


def test_a_run_of_an_item_that_the_plan_does_not_know_does_not_add_up(shop):
    """The totals may agree by chance; each item must agree as well."""
    shop.plan({"listings": 1, "sitemap": 1})
    shop.accept("listings", 0)
    shop.accept("surprise")

    report = shop.report()

    assert "surprise: 0 planned, 1 listed" in report.differs


def test_planned_rows_without_a_run_are_not_started_each_on_its_own_line(shop):
    """A crash in the middle of the expansion must not shorten the report."""
    shop.plan({"listings": 3}, titles={"listings": "Listings"})
    shop.accept("listings", 1, label="The second")

    report = shop.report()

    assert [(one.title.text, one.verdict) for one in report.runs] == [
        ("Listings, row 1", Verdict.NOT_STARTED),
        ("The second", Verdict.NOT_STARTED),
        ("Listings, row 3", Verdict.NOT_STARTED),
    ]


def test_children_and_checks_are_not_planned_runs(shop):
    """They belong to the run that began them or that they judge."""
    shop.plan({"listings": 1})
    work = shop.accept("listings", 0)
    shop.accept("listings", 0, parent=work)
    shop.accept("listings", 0, evidence_for=work)

    assert [one.run for one in shop.report().runs] == [work]


def test_an_empty_house_says_that_nothing_was_planned(shop):
    """The first report somebody sees is of an empty house."""
    report = shop.report()

    assert headline(report) == "Nothing was planned. Nothing needs you."
    assert (report.night, report.planned, report.runs) == (None, 0, ())


def test_a_house_without_a_plan_reports_what_was_enqueued(shop):
    """A queue deserves a report as well."""
    first, second = shop.accept(label="Tidy"), shop.accept()
    shop.start(first)
    shop.done(first)
    shop.start(second)
    shop.fail(second, "no such folder")

    report = shop.report()

    assert [one.name for one in report.runs] == ["q-1", "q-2"]
    assert verdicts(report) == {"claimed": 1, "failed": 1}
    assert report.runs[1].detail.text == "no such folder"


def test_an_unfinished_night_lists_what_is_under_way(shop):
    """Between accepted and ended there must be a word, and it may not be a verdict."""
    shop.plan({"listings": 3})
    busy = shop.accept("listings", 0)
    shop.start(busy)
    shop.until("23:00")

    report = shop.report()

    assert verdicts(report) == {"under-way": 1, "not-started": 2}
    assert report.strip.now_at == shop.clock.wall()
    assert report.headline.deck[0] == "The night is not over. This is how it was at 23:00."


def test_a_night_that_died_says_so_and_how_to_go_on(shop):
    """The parent writes this report because the worker cannot."""
    shop.plan({"listings": 2})
    busy = shop.accept("listings", 0, label="Mug")
    shop.start(busy)
    shop.dispatch(busy, "draft", repeat="never")

    report = shop.report(alive=False)

    assert report.night is not None
    assert report.night.state is NightState.DEAD
    assert verdicts(report) == {"unknown": 1, "not-started": 1}
    assert report.needs[-1].choices[0].command == "tildawn resume 1"
    assert "broke off" in report.needs[-1].question


def test_a_parked_night_waits_without_blame(shop):
    """A signal at two in the morning is no failure."""
    shop.plan({"listings": 1})
    shop.say(NightParked(night=shop.name, why="signal"))

    report = shop.report(alive=False)

    assert report.headline.deck[0] == "The night is parked; nothing works on it."
    assert report.runs[0].why == "The night was parked first."


def test_what_rests_on_a_simulator_is_marked_and_the_headline_says_it(shop):
    """A rehearsal must never be mistaken for the night."""
    shop.plan({"listings": 2}, simulated=True)
    work = shop.accept("listings", 0)
    shop.baseline("listings", 0)
    shop.start(work)
    shop.done(work)
    shop.judge(work, "listings", 0)

    report = shop.report()

    assert report.headline.count == "1 of 2 verified, simulated."
    assert report.headline.deck[0] == "A simulator stood in for the provider in every run."
    assert all("simulated" in one.marks for one in report.runs)


def test_one_simulated_call_is_enough_to_mark_its_run(shop):
    """The mark follows the calls, not the promise of the plan."""
    shop.plan({"listings": 2})
    for row in range(2):
        work = shop.accept("listings", row)
        shop.start(work)
        shop.dispatch(work, "copy", simulated=row == 0)
        shop.settle(work, "copy")
        shop.done(work)

    report = shop.report()

    assert [bool(one.marks) for one in report.runs] == [True, False]
    assert report.headline.count == "0 of 2 verified, simulated."


def test_a_row_done_in_an_earlier_night_keeps_its_verdict_and_is_marked(shop):
    """Planned twice and done once is one piece of work, told in both reports."""
    first = shop.plan({"listings": 1})
    work = shop.accept("listings", 0, label="Mug")
    shop.baseline("listings", 0)
    shop.start(work)
    shop.done(work)
    shop.judge(work, "listings", 0)
    shop.say(NightClosed(night=first, outcome="done"))
    second = shop.plan({"listings": 1}, continues=first)
    shop.say(RowCovered(night=second, item="listings", row=0, by=work))

    report = shop.report()

    assert report.adds_up
    assert (line(report, "Mug").verdict, line(report, "Mug").marks) == (
        Verdict.VERIFIED, ("from an earlier night",),
    )  # fmt: skip


def test_of_several_nights_the_latest_is_told_unless_one_is_named(shop):
    """A night is called by its number, as people do."""
    first = shop.plan({"a": 1})
    shop.say(NightClosed(night=first, outcome="done"))
    shop.plan({"b": 2})
    shop.flush()

    with shop.ledger.read() as reader:
        now = shop.clock.wall()
        planned = [
            build_report(reader, night=name, now=now).planned for name in (None, "1", first, "2")
        ]
        with pytest.raises(UnknownName):
            build_report(reader, night="3", now=now)

    assert planned == [2, 1, 1, 2]


def test_a_run_tried_again_after_its_check_is_not_verified_by_the_old_answer(shop):
    """A check belongs to the work it looked at."""
    shop.plan({"listings": 1})
    work = shop.accept("listings", 0)
    shop.baseline("listings", 0)
    shop.start(work)
    shop.fail(work, "no")
    shop.judge(work, "listings", 0)
    shop.say(RunAnswered(choice="retry", then="queued"), of=work)
    shop.start(work, 2)
    shop.done(work)

    assert verdicts(shop.report()) == {"claimed": 1}


def test_a_cancelled_run_says_who_wanted_it(shop):
    """Cancelled is neither success nor fault, and the reason was given once."""
    shop.plan({"listings": 1})
    work = shop.accept("listings", 0)
    shop.start(work)
    shop.say(RunCancelAsked(), of=work, texts=("wrong products",))
    shop.say(RunCancelled(), of=work)

    [found] = shop.report().runs

    assert (found.verdict, found.why, found.detail.text) == (
        Verdict.FAILED, "Cancelled.", "wrong products",
    )  # fmt: skip


def test_an_erased_text_is_called_erased(shop, tmp_path: Path):
    """Erasing takes the words and leaves the count."""
    shop.plan({"listings": 1})
    work = shop.accept("listings", 0, label="Private")
    shop.start(work)
    shop.fail(work, "secret")
    shop.report()
    shop.ledger.close()
    database = sqlite3.connect(shop.folder / "ledger.db")
    with database:
        database.execute("UPDATE payload SET text = NULL, salt = NULL, blob = NULL")
    database.close()
    shop.back()

    [found] = shop.report().runs

    assert found.title.erased
    assert found.detail.erased
    assert found.verdict is Verdict.FAILED


def test_what_needs_the_owner_says_what_to_type_and_what_else_happens(good):
    """A question without a command is a puzzle."""
    doubt, question = good.report().needs

    assert doubt.question == "Did it happen?"
    assert [choice.command for choice in doubt.choices] == [
        "tildawn answer 1-15 applied", "tildawn answer 1-15 not-applied",
    ]  # fmt: skip
    assert question.question == "Keep three deep price cuts?"
    assert all(need.meanwhile.startswith(("Until", "If")) for need in (doubt, question))
    assert good.report().runs[14].need == 1


def test_a_stop_by_budget_says_how_to_raise_it(shop):
    """The owner wakes to the one command that helps."""
    shop.plan({"listings": 2}, budget_micro_usd=4_000_000)
    shop.say(NightStopped(night=shop.name, rule="budget"))

    [need] = shop.report(alive=False).needs

    assert need.choices[0].command == "tildawn budget 6.00"


def test_money_is_the_sum_of_its_calls_by_where_each_number_comes_from(good):
    """Nobody believes a total whose parts do not sum to it."""
    money = good.report().money

    assert money.spent == sum(one.micro_usd for one in money.lines) == 24 * (11_300 + 42_000)
    assert {(one.route, one.source) for one in money.lines} == {
        ("sim:chat", "computed"), ("sim:image:1024", "reported"),
    }  # fmt: skip
    assert not money.differs


def test_money_without_a_bill_is_assumed_and_counts_as_spent(bad):
    """No bill seen is not free."""
    money = bad.report().money

    assert money.assumed == 120_000
    assert money.spent == 22 * 91_300 + 120_000


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
    from tildawn.facts.run import RunInterrupted  # noqa: PLC0415  # used here alone

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
    assert sum(parts) == hours.total


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


def test_every_line_stands_on_an_entry_that_exists(bad):
    """A number that leads nowhere proves nothing."""
    report = bad.report(alive=False)
    quoted = {entry.seq for entry in report.entries}

    assert {one.seq for one in report.runs} <= quoted
    assert {seq for need in report.needs for seq in need.seqs} <= quoted
    assert max(quoted) < report.ledger.size
    assert all(one.seq >= 0 for one in (*report.runs, *report.money.lines, *report.changed))
    assert all(one < after for one, after in pairwise(entry.seq for entry in report.entries))


def test_ten_thousand_runs_are_all_in_the_json_and_none_is_lost(shop):
    """Caps are for readers; the value holds everything."""
    shop.plan({"listings": 10_000})
    for row in range(10_000):
        work = shop.accept("listings", row, label=f"Product {row}")
        if row % 10:
            shop.start(work)
            shop.fail(work, f"no category {row % 3}") if row % 100 == 1 else shop.done(work)

    report = shop.report()

    assert verdicts(report) == {"claimed": 8_900, "failed": 100, "not-started": 1_000}
    assert len(json.loads(render_json(report))["runs"]) == 10_000
    assert len(report.entries) == 200


def test_the_json_goes_to_a_report_and_back(bad):
    """What a program reads is what a person sees."""
    report = bad.report()

    assert msgspec.json.decode(render_json(report), type=Report) == report
