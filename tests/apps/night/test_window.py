"""The window: when a night may begin, when it has to end, and what it does at its edges."""

import asyncio
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from tildawn.apps.night.window import hours_of
from tildawn.errors import Misused
from tildawn.facts.plan import Night, Window
from tildawn.units import SECOND, Micros


BERLIN = "Europe/Berlin"


def at(text, zone=BERLIN):
    local = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return Micros(int(local.timestamp()) * SECOND)


def night(start, end, report=None):
    def minutes(text):
        return int(text[:2]) * 60 + int(text[3:])

    return Night(window=Window(minutes(start), minutes(end)), zone=BERLIN,
                 report_minute=None if report is None else minutes(report))  # fmt: skip


@pytest.mark.parametrize(
    ("now", "opens", "closes"),
    [
        ("2026-02-14 18:00", "2026-02-14 23:00", "2026-02-15 06:30"),
        ("2026-02-14 23:30", "2026-02-14 23:00", "2026-02-15 06:30"),
        ("2026-02-15 03:00", "2026-02-14 23:00", "2026-02-15 06:30"),
        ("2026-02-15 06:30", "2026-02-15 23:00", "2026-02-16 06:30"),
        ("2026-03-28 22:00", "2026-03-28 23:00", "2026-03-29 06:30"),
        ("2026-10-24 23:59", "2026-10-24 23:00", "2026-10-25 06:30"),
    ],
)
def test_the_window_is_the_one_that_is_open_or_the_next(now, opens, closes):
    """Also over the nights in which the clocks are changed."""
    found = hours_of(night("23:00", "06:30"), at(now), at_window=True)
    assert (found.opens, found.closes) == (at(opens), at(closes))


def test_the_night_in_which_the_clocks_go_forward_is_an_hour_shorter():
    """A window is two times of day, not a length."""
    found = hours_of(night("23:00", "06:30"), at("2026-03-28 22:00"), at_window=True)
    assert found.closes - found.opens == 6.5 * 3600 * SECOND


def test_a_window_within_one_day_does_not_reach_into_the_next():
    """Some work by day."""
    found = hours_of(night("09:00", "17:00"), at("2026-02-14 18:00"), at_window=True)
    assert (found.opens, found.closes) == (at("2026-02-15 09:00"), at("2026-02-15 17:00"))


def test_the_report_comes_at_its_hour_after_the_window():
    """The owner reads it at breakfast."""
    found = hours_of(night("23:00", "06:30", "07:00"), at("2026-02-14 18:00"), at_window=True)
    assert found.report_at == at("2026-02-15 07:00")


def test_without_a_window_the_night_begins_now_and_ends_with_its_work():
    """Whoever types the command at noon wants it at noon."""
    now = at("2026-02-14 12:00")
    found = hours_of(night("23:00", "06:30", "07:00"), now, at_window=False)
    assert (found.opens, found.closes, found.report_at) == (now, 0, 0)


def test_a_window_is_asked_for_only_where_there_is_one():
    """The flag without the hours has no meaning."""
    with pytest.raises(Misused, match="no window"):
        hours_of(Night(), at("2026-02-14 12:00"), at_window=True)


# The clock that is played begins at 07:00 UTC.
SOON = '{ window: "07:01-07:03", zone: UTC }'


def test_nothing_begins_before_the_window_opens(still):
    """The quiet hours are the owner's word."""
    still.plan(still.numbers(2), night=SOON)
    asyncio.run(still.night(at_window=True))
    opens = still.last.opens
    assert [run.started_at >= opens for run in still.runs()] == [True, True]
    assert still.last.state == "closed"
    assert "waiting" in {news.kind for news in still.news}


def test_when_the_window_closes_nothing_new_begins_and_the_rest_goes_on_the_next_night(still):
    """What is under way may end; what has not begun waits for tomorrow."""
    still.plan(still.numbers(9, 'await ctx.sleep("50s")'), night=SOON)
    end = asyncio.run(still.night(at_window=True, concurrency=1))
    assert (end.exit_code, still.last.state, still.last.parked_why) == (75, "parked", "window")
    closes = still.last.closes
    assert 1 <= still.states().count("done") <= 4
    assert all(run.started_at <= closes for run in still.runs() if run.started_at)
    still.clock.advance(Micros(24 * 3600 * SECOND - 120 * SECOND))
    asyncio.run(still.night(at_window=True, concurrency=9))
    assert still.states() == ["done"] * 9
    assert still.last.closes - closes == 24 * 3600 * SECOND
    assert still.last.state == "closed"


def test_a_worker_that_comes_back_after_the_window_begins_nothing(still):
    """A crash at 06:29 is no leave to work until noon."""
    still.plan(still.numbers(9, 'await ctx.sleep("50s")'), night=SOON)

    async def scenario():
        await still.begin()
        task = asyncio.ensure_future(still.run(at_window=True, concurrency=1))
        while "done" not in still.states():
            await still.settle()
            still.clock.advance(Micros(SECOND))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await still.crash()
        still.clock.advance(Micros(600 * SECOND))
        before = still.states().count("done")
        end = await still.night(at_window=True, restarted=True, concurrency=1)
        return before, end

    before, end = asyncio.run(scenario())
    assert (end.exit_code, still.last.parked_why) == (75, "window")
    assert still.states().count("done") == before
