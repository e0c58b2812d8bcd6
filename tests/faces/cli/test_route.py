"""Routes at a terminal: one line each, one page for one, and words that are refused or kept.

What it is not: a test of the rules; a history is said by hand.
"""

import json
from typing import Any

import pytest

from tildawn.clock import SystemClock
from tildawn.runtime.config import load
from tildawn.runtime.house import House
from tildawn.testing.clock import ManualClock
from tildawn.testing.history import History
from tildawn.units import SECOND, Micros


IMAGE = "openai:gpt-image-2:1024x1024"


@pytest.fixture
def routes(shell: Any) -> Any:
    """A house in which a provider has died ten minutes ago."""
    shell("init")
    config = load(shell.folder, environ={})
    clock = ManualClock(Micros(SystemClock().wall() - 600 * SECOND))
    house = House.open(shell.house, config.settings, mode="write", clock=clock)
    History(house.ledger, clock, "openai:gpt-5-mini").attempt(took=3, spend=11_300)
    image = History(house.ledger, clock, IMAGE, kind="image")
    image.attempt(took=44, spend=42_000)
    for _ in range(3):
        image.attempt("timeout", took=62)
    image.turn("open", cause="timeouts-in-a-row", why="3 timeouts in a row", wait=5)
    house.close()
    return shell


def test_routes_have_one_line_each_and_a_legend_without_colours(routes: Any) -> None:
    """It must read in a mail, on paper and aloud."""
    head, chat, image, legend = routes("routes").out.splitlines()

    assert head.split()[:2] == ["route", "state"]
    assert chat.split()[:2] == ["openai:gpt-5-mini", "closed"]
    assert image.split()[:2] == [IMAGE, "open"]
    assert ".TTT" in image
    assert "3 timeouts in a row; next check" in image
    assert legend == "Newest right: . answered, T no answer in time."
    assert "\x1b" not in routes("routes").out


def test_one_route_is_a_page_and_the_same_as_json(routes: Any) -> None:
    """The page is for people, the data for programs, and both are one answer."""
    page = routes("route", IMAGE).out
    data = routes.ask("route", IMAGE)["explanation"]

    assert page.splitlines()[:2] == [IMAGE, "  Open: nothing is sent."]
    assert "95 of 100 take" in page
    assert "missed  Out of service for" in page
    assert (data["state"], data["strip"], len(data["last"])) == ("open", ".TTT", 4)


def test_a_misspelt_route_says_the_nearest_one_to_type(routes: Any) -> None:
    """Exit code 2, and the whole name."""
    said = routes("route", "openai:gpt-image", code=2)

    assert f"Next: tildawn route {IMAGE}" in said.err


@pytest.mark.parametrize(
    "words",
    [
        ("force", "open"), ("force", "open", "--for", "30m"), ("force", "open", "--reason", "x"),
        ("force",), ("force", "ajar", "--for", "1m", "--reason", "x"), ("shut",),
        ("mode", "off"), ("release", "now"), ("promote",), ("--for", "30m"),
    ],
)  # fmt: skip
def test_a_word_that_is_not_whole_is_refused_with_what_to_type(
    routes: Any, words: tuple[str, ...]
) -> None:
    """Nothing is on record afterwards."""
    before = routes.ask("status")["facts"]

    said = routes("route", IMAGE, *words, code=2)

    assert "Next: tildawn route" in said.err
    # Taking the pen and laying it down are facts of their own; a word would be one more.
    logs = [json.loads(line)["kind"] for line in routes("logs", "--json").out.splitlines()]
    assert not {"RouteForced", "RouteModeSet", "RoutePromoted"} & set(logs), before


def test_a_word_is_kept_and_can_be_taken_back(routes: Any) -> None:
    """Without a process that holds the pen, the command takes it for a moment."""
    forced = routes("route", IMAGE, "force", "closed", "--for", "30m", "--reason", "it is back").out
    assert "Forced closed by you until" in forced
    assert "it is back" in routes("logs").out

    assert "Open: nothing is sent." in routes("route", IMAGE, "release").out
    off = routes("route", "*", "mode", "off", "--for", "1h", "--reason", "the guard is wrong").out
    assert off.startswith("Every route: off, from your word for every route until")
    assert "off, closed" in routes("routes", "mini").out


def test_events_are_one_object_a_line_from_a_position_on(routes: Any) -> None:
    """A collector reads lines, and goes on where it stopped."""
    whole = [json.loads(line) for line in routes("events").out.splitlines()]
    later = [
        json.loads(line)
        for line in routes("events", "--since", str(whole[1]["seq"])).out.splitlines()
    ]
    original = [json.loads(line) for line in routes("events", "--original").out.splitlines()]

    assert [one["event"] for one in whole] == ["guard.attempt"] * 5 + ["guard.transition"]
    assert later == whole[1:]
    assert [one["status"] for one in original] == ["success"] * 2 + ["timeout"] * 3
    assert {one["event"] for one in original} == {"dalle_generation"}


def test_levels_say_what_was_promised_and_what_is_left(routes: Any) -> None:
    """Three of five must be called missed, in words."""
    page = routes("slo").out

    assert "Fewer than 5 % of attempts run into their time limit." in page
    assert f"missed  {IMAGE}: 3 of 4 attempts ran into their time limit, 75.0 %." in page
    assert "The day's allowance is used up." in page
    assert "kept    openai:gpt-5-mini: 0 of 1 attempt ran into their time limit." in page


def test_a_house_without_calls_has_no_routes_and_says_so(shell: Any) -> None:
    """Nothing is no error."""
    shell("init")

    assert shell("routes").out == "No call has been made yet.\n"
    assert shell("slo").out == "Nothing was measured in the last 24 hours.\n"
    assert shell("events").out == ""
