"""The guard at work, as the report tells it: what opened, what it cost, what was served instead.

What it is not: the guard; a provider's bad night is said by hand.
"""

from typing import Any

import pytest

from tildawn.facts.night import NightClosed
from tildawn.facts.route import RouteReviewed
from tildawn.facts.run import RunWaited
from tildawn.testing.history import History
from tildawn.units import SECOND
from tildawn.watch.html import render_html
from tildawn.watch.markdown import render_markdown
from tildawn.watch.report import Report
from tildawn.watch.verdict import WAITS
from tildawn.watch.words import NBSP


IMAGE = "sim:image:1024x1024"


def plain(text: str) -> str:
    """The text with ordinary spaces."""
    return text.replace(NBSP, " ")


def image_of(shop: Any) -> History:
    """The route of a night that draws."""
    shop.flush()
    return History(shop.ledger, shop.clock, IMAGE, kind="image", budgets=(f"night/{shop.name}",))


def dead_for_five_minutes(shop: Any) -> None:
    """A night of two pictures: one waits for the outage to end, one is served from the stock."""
    shop.plan({"pictures": 2})
    first, second = shop.accept("pictures", 0), shop.accept("pictures", 1)
    shop.start(first)
    shop.start(second)
    history = image_of(shop)
    history.outage(dead=300)
    history.attempt(run=first, took=44, spend=42_000)
    history.serve("related", instead="route-open", run=second)
    shop.done(first)
    shop.done(second)
    shop.say(NightClosed(night=shop.name, outcome="done"))


def test_an_outage_is_told_with_its_length_its_checks_and_their_cost(shop: Any) -> None:
    """What opened, for how long, how often it was checked, what that cost."""
    dead_for_five_minutes(shop)

    report = shop.report()
    [line] = report.guard.outages

    assert line.route == IMAGE
    assert (line.checks, line.paid, line.paid_micro_usd) == (8, 1, 11_000)
    assert line.open >= 300 * SECOND
    assert plain(line.sentence) == (
        "Out of service for 5 min 17 s: the last 3 attempts got no answer in time."
        " Asked for a sign of life 8 times, free of charge. 1 paid check, 0.011 USD."
        " At most 1 min of it was our own delay."
    )
    assert len(line.seqs) == 2


def test_what_was_served_instead_is_counted_with_its_reason(shop: Any) -> None:
    """Nobody may think that the picture was made for them."""
    dead_for_five_minutes(shop)

    [line] = shop.report().guard.served

    assert (line.route, line.calls) == (IMAGE, 1)
    assert line.tier == "something related from the stock"
    assert line.because == "it was out of service"


def test_an_outage_stands_on_the_strip_and_among_what_healed(shop: Any) -> None:
    """One letter in both places and beside the details."""
    dead_for_five_minutes(shop)

    report = shop.report()
    [event] = [one for one in report.strip.events if one.kind == "outage"]
    [healed] = [one for one in report.healed if one.kind == "outage"]

    assert event.letter == healed.letter == report.guard.outages[0].letter == "a"
    assert plain(event.words) == f"{IMAGE} out, 5 min 17 s"
    assert (healed.n, healed.recovered) == (1, 1)
    assert "1 outage" in plain(" ".join(report.headline.deck))


def test_a_quiet_night_has_no_section_about_the_guard(shop: Any) -> None:
    """Promises that were kept alone are nothing to read in the morning."""
    shop.plan({"pictures": 1})
    run = shop.accept("pictures", 0)
    shop.start(run)
    image_of(shop).attempt(run=run, took=44)
    shop.done(run)
    shop.say(NightClosed(night=shop.name, outcome="done"))

    report = shop.report()

    assert not report.guard
    assert [level.kept for level in report.guard.levels] == [True, True]
    assert "guard at work" not in render_html(report)
    assert "guard at work" not in render_markdown(report)


def test_a_breaker_that_only_watched_says_what_it_would_have_done(shop: Any) -> None:
    """Nothing was kept from being sent, so nothing was out of service."""
    shop.plan({"pictures": 1})
    run = shop.accept("pictures", 0)
    shop.start(run)
    history = image_of(shop)
    history.turn("open", cause="share", wait=5)
    history.attempt(run=run, would="route-open, timeout 30000 ms")
    history.turn("ramp", cause="proven")

    report = shop.report(alive=True)

    assert {(one.would, one.calls) for one in report.guard.would} == {
        ("would have waited until it was back", 1), ("would have been cut off earlier", 1),
    }  # fmt: skip
    assert "It would have been out of service" in plain(report.guard.outages[0].sentence)
    assert [one for one in report.strip.events if one.kind == "outage"] == []
    assert [one for one in report.healed if one.kind == "outage"] == []


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("route-open", "for {route}, which is out of service, until 01:22:31, because 3 timeouts"),
        ("retry-budget", "for the retry budget of {route}"),
        ("limit", "for its turn at {route}, until 01:22:31"),
        ("asked-wait", "for {route}, which asked everybody to wait, until 01:22:31"),
    ],
)  # fmt: skip
def test_a_run_that_waits_says_for_which_route_until_when_and_why(
    shop: Any, reason: str, words: str
) -> None:
    """Whoever looks at one in the morning wants more than the word pending."""
    shop.plan({"pictures": 1})
    run = shop.accept("pictures", 0)
    shop.start(run)
    shop.until("01:20:00")  # 151 s before 01:22:31
    shop.dispatch(run, "photo", route=IMAGE, name="image")
    shop.settle(run, "photo", fault="timeout", final=False, effect="none")
    history = image_of(shop)
    if reason == "route-open":
        history.turn("open", cause="timeouts-in-a-row", why="3 timeouts in a row", wait=30)
    until = shop.clock.wall() + 151 * SECOND
    shop.say(RunWaited(on=f"later image ({reason})", until=until, parked=True), of=run)

    report = shop.report(alive=True)
    [line] = report.runs
    [wait] = report.guard.waits

    assert plain(line.why).startswith(f"Waits {words.format(route=IMAGE)}")
    assert (wait.route, wait.until, wait.runs) == (IMAGE, until, 1)


def test_a_wait_for_something_else_is_no_wait_for_the_guard(shop: Any) -> None:
    """A timer of the task's own is not the provider's fault."""
    shop.plan({"pictures": 1})
    run = shop.accept("pictures", 0)
    shop.start(run)
    shop.say(RunWaited(on="sleep nap", until=shop.clock.wall() + 60 * SECOND), of=run)

    report = shop.report(alive=True)

    assert report.guard.waits == ()
    assert report.runs[0].why == f"Waits: {WAITS['sleep']}."


def test_a_blocked_route_needs_its_owner(shop: Any) -> None:
    """Asking again would not help, and nobody else can put it right."""
    shop.plan({"pictures": 1})
    run = shop.accept("pictures", 0)
    shop.start(run)
    history = image_of(shop)
    history.attempt("auth", run=run)
    history.turn("blocked", cause="auth", why="the other side does not accept our key")
    history.wait(60)

    report = shop.report(alive=True)
    [need] = report.needs

    assert need.question == f"The key was refused at {IMAGE}. Is it right now?"
    assert need.choices[1].command.startswith(f"tildawn route {IMAGE} force closed --for 10m")
    assert report.guard.outages[0].blocked


def test_a_look_after_a_promotion_is_in_the_report_of_its_night(shop: Any) -> None:
    """Whoever lets new settings act is told how that went."""
    shop.plan({"pictures": 1})
    image_of(shop).say(
        RouteReviewed(
            route=IMAGE, look="watch", good=False, attempts=30, timeouts=4, open_ms=90_000
        )
    )

    [line] = shop.report(alive=True).guard.reviews

    assert plain(line.sentence) == (
        "An hour after its settings began to act, a promise was missed: 4 of 30 attempts ran"
        " into their limit, out of service for 1 min 30 s."
    )


def test_half_of_the_allowance_gone_in_the_first_quarter_is_said(shop: Any) -> None:
    """A night of forty pictures may lose two to timeouts; three of the first four are too many."""
    shop.plan({"pictures": 40})
    runs = [shop.accept("pictures", row) for row in range(40)]
    for run in runs[:4]:
        shop.start(run)
    history = image_of(shop)
    for fault, run in zip(("timeout", "timeout", "timeout", ""), runs, strict=False):
        history.attempt(fault, run=run)

    report = shop.report(alive=True)

    assert "3 of about 40 attempts" in report.guard.alarm


def test_both_pages_tell_the_same_about_the_guard(shop: Any) -> None:
    """What a phone shows and what a mail shows are one value."""
    dead_for_five_minutes(shop)
    report: Report = shop.report()

    for page in (render_html(report), render_markdown(report).replace("\\", "")):
        text = plain(page)
        assert "The guard at work" in text
        assert report.guard.outages[0].sentence[:40].replace(NBSP, " ") in text
        assert "something related from the stock" in text
        assert "missed" in text.lower()
