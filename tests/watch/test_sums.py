"""For any night that can legally happen, the report adds up."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tildawn.facts.run import RunAnswered, RunCancelAsked, RunCancelled, RunInterrupted, RunRetried
from tildawn.watch.html import render_html
from tildawn.watch.markdown import render_head, render_markdown
from tildawn.watch.report import Verdict
from tildawn.watch.strip import drawing_of
from tildawn.watch.words import Times


ENDS = [
    "none", "accepted", "started", "done", "verified", "refuted", "no-change", "not-run", "failed",
    "held", "doubt", "cancelled", "early-cancel", "retried", "interrupted", "answered",
]  # fmt: skip
FATES = st.lists(
    st.tuples(st.sampled_from(ENDS), st.integers(0, 3), st.integers(0, 70_000)), max_size=8
)


def live(shop, row: int, fate: str, calls: list[int]) -> None:
    """Let one run have its fate."""
    if fate == "none":
        return
    run = shop.accept("listings", row)
    shop.baseline("listings", row)
    if fate == "accepted":
        return
    if fate == "early-cancel":
        shop.say(RunCancelAsked(), of=run, texts=(None,))
        shop.say(RunCancelled(), of=run)
        return
    shop.clock.advance(shop.clock.wall() % 7_000_000)
    shop.start(run)
    for place, spend in enumerate(calls):
        shop.dispatch(run, f"c{place}", route=f"r{place % 2}", reserve=50_000)
        source = ("reported", "computed", "assumed")[place % 3]
        shop.settle(run, f"c{place}", spend=spend, source=source)
    end(shop, run, row, fate)


def end(shop, run: str, row: int, fate: str) -> None:
    """How it ends."""
    if fate in {"retried", "interrupted", "answered"}:
        again(shop, run, fate)
    if fate in {
        "done",
        "verified",
        "refuted",
        "no-change",
        "not-run",
        "retried",
        "interrupted",
        "answered",
    }:
        shop.done(run)
    if fate in {"verified", "refuted", "no-change", "not-run"}:
        shop.judge(run, "listings", row, verdict=fate)
    if fate == "failed":
        shop.fail(run, "no")
    if fate in {"held", "doubt"}:
        shop.hold(run, "call-in-doubt" if fate == "doubt" else "approval", "yes")
    if fate == "cancelled":
        shop.say(RunCancelAsked(), of=run, texts=(None,))
        shop.say(RunCancelled(), of=run)


def again(shop, run: str, fate: str) -> None:
    """It does not end at the first attempt."""
    if fate == "retried":
        shop.say(
            RunRetried(due=1, failures=1, error=""), of=run, texts=({"type": "E", "message": "m"},)
        )
    elif fate == "interrupted":
        shop.say(RunInterrupted(unclean=True), of=run)
    else:
        shop.hold(run, "approval", "yes")
        shop.say(RunAnswered(choice="yes"), of=run)
    shop.start(run, 2)


@settings(max_examples=40)
@given(fates=FATES, more=st.integers(0, 3))
def test_the_verdicts_sum_to_the_plan_and_the_money_to_the_calls(new_house, fates, more):
    """The two sums on which a reader stands, whatever the night did."""
    with tempfile.TemporaryDirectory() as folder:
        shop = new_house(Path(folder) / "house")
        shop.plan({"listings": len(fates) + more})
        for row, (fate, calls, spend) in enumerate(fates):
            live(shop, row, fate, [spend + place for place in range(calls)])
        billed = sum(
            spend + place
            for fate, calls, spend in fates
            for place in range(calls)
            if fate not in {"none", "accepted", "early-cancel"}
        )
        report = shop.report()
        shop.ledger.close()

    assert report.adds_up, report.differs
    assert sum(one.runs for one in report.counts) == len(report.runs) == len(fates) + more
    assert report.money.spent == sum(one.micro_usd for one in report.money.lines) == billed
    assert not report.money.differs
    hours = report.hours
    parts = (hours.working, hours.waiting, hours.idle, hours.asleep, hours.down, hours.away)
    assert sum(parts) == hours.total
    assert all((render_html(report), render_markdown(report), render_head(report)))
    drawing = drawing_of(report, Times(report.zone))
    begun = sum(
        one.started_at > 0 and one.verdict is not Verdict.NOT_STARTED for one in report.runs
    )
    assert sum(mark.runs for mark in drawing.marks) == begun
    assert all(0 <= float(mark.x.rstrip("%")) <= 100 for mark in drawing.marks)
