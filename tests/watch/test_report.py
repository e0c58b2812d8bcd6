"""The report as a value: sums, verdicts, needs, money, hours, and what it says of itself."""

import json
import sqlite3
from collections import Counter
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from tildawn.errors import UnknownName
from tildawn.facts.night import NightClosed, NightParked, NightStopped, RowCovered
from tildawn.facts.run import RunAnswered, RunCancelAsked, RunCancelled
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
    assert report.needs[-1].choices[0].command == "tildawn night 'my plan.yaml'"
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


def test_a_question_that_a_check_asks_stands_among_what_needs_the_owner(shop):
    """Where the owner is the check, the run waits for him, and must not look unchecked."""
    shop.plan({"listings": 1})
    work = shop.accept("listings", 0, label="Mug")
    shop.baseline("listings", 0, saw="not-run")
    shop.start(work)
    shop.done(work)
    asked = shop.accept("listings", 0, evidence_for=work)
    shop.hold(asked, "ask", "yes", "no", detail="Does the mug look like a mug?")

    report = shop.report()

    [need] = report.needs
    assert (need.question, need.about.text) == ("Does the mug look like a mug?", "Mug")
    assert need.choices[0].command == "tildawn answer 1-1.1 yes"
    assert report.runs[0].why == "The check is a question, and waits for you."


def test_a_stop_by_budget_says_how_to_raise_it(shop):
    """The owner wakes to the one command that helps."""
    shop.plan({"listings": 2}, budget_micro_usd=4_000_000)
    shop.say(NightStopped(night=shop.name, rule="budget"))

    [need] = shop.report(alive=False).needs

    assert need.choices[0].command == "tildawn budget 6.00"


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
