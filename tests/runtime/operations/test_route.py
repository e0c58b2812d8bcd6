"""Routes for people: what is said of each, read without the pen, and words that are kept.

What it is not: the guard; histories are said by hand into a real house.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from tildawn.errors import BadSetting, BadValue, Misused, UnknownName
from tildawn.facts.route import RouteForced, RouteModeSet, RoutePromoted
from tildawn.facts.run import RunAccepted, RunStarted, RunWaited
from tildawn.guard.explain import LAST, LEGEND, SIGNS
from tildawn.ids import Ids
from tildawn.projections.attempts import KINDS
from tildawn.projections.route import word_of
from tildawn.runtime.config import load
from tildawn.runtime.house import House
from tildawn.runtime.operation import Desk, Operation, perform
from tildawn.runtime.operations import house, showing
from tildawn.runtime.operations import route as routing
from tildawn.testing.clock import ManualClock
from tildawn.testing.history import History
from tildawn.units import SECOND


IMAGE = "sim:image:1024x1024"

O = TypeVar("O", bound=msgspec.Struct)  # noqa: E741 - output


def ask(operation: Operation[Any, O], desk: Desk, given: msgspec.Struct) -> O:
    """Ask as a face does: JSON in, JSON out."""
    answer = asyncio.run(perform(operation, desk, msgspec.json.encode(given)))
    return msgspec.json.decode(answer, type=operation.output)


class Bench:
    """A house with one route's history, and a desk to ask from."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        (folder / "tildawn.toml").write_text(settings, encoding="utf-8")
        self.folder = folder / ".tildawn"
        self.config = load(folder, environ={})
        self.clock = ManualClock()
        self.house = self.open("write")
        self.history = History(self.house.ledger, self.clock, IMAGE, kind="image")

    def open(self, mode: Any) -> House:
        return House.open(self.folder, self.config.settings, mode=mode, clock=self.clock)

    def desk(self, house: House | None = None) -> Desk:
        return Desk(self.config, self.clock, folder=self.folder, house=house or self.house)

    def route(self, name: str = IMAGE) -> routing.Shown:
        return ask(routing.ROUTE, self.desk(), routing.RouteInput(route=name))

    def force(self, **given: str) -> routing.Shown:
        said = routing.ForceInput(route=given.pop("route", IMAGE), **given)
        return ask(routing.FORCE, self.desk(), said)

    def mode(self, **given: str) -> routing.Shown:
        said = routing.ModeInput(route=given.pop("route", IMAGE), **given)
        return ask(routing.MODE, self.desk(), said)

    def promote(self, name: str = IMAGE) -> routing.Shown:
        return ask(routing.PROMOTE, self.desk(), routing.RouteInput(route=name))

    def last(self):
        """The newest fact, and what its first payload says."""
        with self.house.ledger.read() as reader:
            *_, (seq, fact) = reader.facts(limit=-1)
            text = reader.payload(seq, 0) if getattr(fact.data, "reason", "") else b""  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]  # any kind of fact
        return fact, text


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.house.close()


@pytest.fixture
def custom(tmp_path: Path) -> Iterator[Bench]:
    """A house whose owner changed a number of the route."""
    made = Bench(tmp_path, '[route."sim:*"]\nin_a_row = 5\nburst = 4\nevery = "30s"\n')
    yield made
    made.house.close()


# -- looking -------------------------------------------------------------------------------


def test_a_route_without_failures_is_closed_and_says_what_would_open_it(bench: Bench) -> None:
    """No traffic is no failure, and nobody should have to know the rules by heart."""
    bench.history.attempt(took=44)

    said = bench.route().explanation

    assert (said.state, said.acts, said.mode, said.strip) == ("closed", "closed", "on", ".")
    assert "Calls pass. It opens after 3 attempts in a row" in said.next[0]


def test_failures_of_long_ago_are_shown_and_not_counted(bench: Bench) -> None:
    """The breaker has forgotten them; numbers that it does not see would announce nothing."""
    for _ in range(2):
        bench.history.attempt("timeout", took=60)
    before = bench.route().explanation
    bench.history.wait(16 * 60)

    said = bench.route().explanation

    assert (before.failed_percent, before.timeouts_in_a_row) == (100, 2)
    assert said.strip == "TT"
    assert (said.failed_percent, said.timeouts_in_a_row) == (0, 0)
    assert "(0 now)" in said.next[0]
    assert "(0 % now)" in said.next[0]


def test_the_last_attempts_before_it_opened_stay_in_sight(bench: Bench) -> None:
    """The breaker counts anew when it opens; a person asks what made it open."""
    for _ in range(4):
        bench.history.attempt()
    for _ in range(3):
        bench.history.attempt("timeout", took=60)
    bench.history.turn("open", cause="timeouts-in-a-row", why="3 timeouts in a row", wait=5)

    shown = bench.route()

    assert shown.explanation.strip == "....TTT"
    assert shown.explanation.state == "open"
    assert shown.because == "3 timeouts in a row"
    assert shown.explanation.due == bench.clock.wall() + 5 * SECOND
    assert [one.kind for one in shown.explanation.last[-3:]] == ["timeout"] * 3


def test_at_most_twenty_five_are_shown_and_each_kind_has_a_sign() -> None:
    """A strip that is read aloud needs a word for every character."""
    assert LAST == 25
    assert set(SIGNS) == set(KINDS)
    assert set(SIGNS.values()) == set(LEGEND)
    assert all(sign.isascii() and sign.isprintable() for sign in LEGEND)


def test_an_outage_says_how_long_it_was_and_how_much_of_it_was_our_delay(bench: Bench) -> None:
    """What the provider broke and what we were slow to notice are two things."""
    bench.history.outage(dead=300)

    shown = bench.route()
    [outage] = shown.explanation.outages

    assert outage.open_us > 300 * SECOND
    assert 0 < outage.excess_us <= 62 * SECOND
    assert (outage.checks, outage.probes, outage.blocked) == (8, 1, False)
    assert shown.explanation.strip == "TTT...", "each attempt once, across four turns"
    assert (shown.explanation.paid_probes, shown.explanation.paid_micro_usd) == (1, 11_000)


def test_a_house_is_explained_without_the_pen(bench: Bench) -> None:
    """At three in the morning another process works, and may hang."""
    bench.history.outage(dead=30)
    expected = bench.route()
    reader = bench.open("read")

    try:
        said = ask(routing.ROUTE, bench.desk(reader), routing.RouteInput(route=IMAGE))
    finally:
        reader.close()

    assert said == expected


def test_a_misspelt_route_is_answered_with_the_nearest_one(bench: Bench) -> None:
    """Names of routes are long, and nobody types them right at night."""
    bench.history.attempt()

    with pytest.raises(UnknownName, match="sim:imgae:1024") as raised:
        bench.route("sim:imgae:1024")

    assert raised.value.hint == f"tildawn route {IMAGE}"


def test_money_of_today_is_that_of_calls_sent_today(bench: Bench) -> None:
    """Yesterday's bill is on yesterday's line."""
    bench.history.attempt(spend=42_000)
    bench.history.wait(24 * 3_600)
    bench.history.attempt(spend=11_000)

    assert bench.route().today_micro_usd == 11_000


def test_the_limiter_says_what_is_left_and_when_it_is_full(custom: Bench) -> None:
    """Four at once and one more every 30 s: after two, two are left."""
    custom.history.attempt(took=0)

    [limiter] = custom.route().explanation.limiters

    assert (limiter.burst, limiter.left, limiter.every) == (4, 4, 30 * SECOND)


def test_settings_of_the_owner_are_watched_first_and_it_says_for_how_long(custom: Bench) -> None:
    """Whoever changed a number must see that it does not act yet."""
    custom.history.attempt()

    said = custom.route().explanation

    assert (said.mode, said.acts, said.custom) == ("shadow", "closed", True)
    assert "50 more attempts" in said.mode_from
    assert said.next[0] == "It only watches: every call is sent. Were it on:"


def test_the_environment_that_says_off_wins_and_is_named(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kill switch must be visible."""
    monkeypatch.setenv("GEN_BREAKER_ENABLED", "off")
    bench.history.attempt()

    said = bench.route().explanation

    assert (said.mode, said.mode_from) == ("off", "the environment: GEN_BREAKER_ENABLED")


@pytest.mark.parametrize("environment", ["on", "shadow"])
def test_a_mode_that_stands_in_the_settings_comes_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    """Whoever looks for what to change must find the line that decides."""
    monkeypatch.setenv("GEN_BREAKER_ENABLED", environment)
    bench = Bench(tmp_path, '[route."*"]\nmode = "on"\n')
    bench.history.attempt()

    said = bench.route().explanation

    bench.house.close()
    assert (said.mode, said.mode_from) == ("on", "the settings")


# -- words ---------------------------------------------------------------------------------


def test_a_forced_route_says_by_whom_and_until_when(bench: Bench) -> None:
    """Audited: who, what, until when, and why."""
    bench.history.attempt()
    shown = bench.force(state="open", length="30m", reason="they bill twice today")
    fact, text = bench.last()

    assert isinstance(fact.data, RouteForced)
    assert fact.actor == "owner"
    assert msgspec.json.decode(text) == "they bill twice today"
    assert shown.explanation.acts == "open"
    assert shown.explanation.forced_until == bench.clock.wall() + 1_800 * SECOND


@pytest.mark.parametrize(
    "given", [{"length": "30m"}, {"reason": "why"}, {}, {"length": "30m", "reason": " "}]
)
def test_a_forced_state_without_reason_or_end_is_refused_with_what_to_type(
    bench: Bench, given: dict[str, str]
) -> None:
    """A route that was forced open in spring must not be open in autumn."""
    bench.history.attempt()

    with pytest.raises(Misused) as raised:
        bench.force(state="open", **given)
    with pytest.raises(Misused):
        bench.mode(mode="off", **given)

    assert raised.value.hint == f'tildawn route {IMAGE} force open --for 30m --reason "why"'
    assert not isinstance(bench.last()[0].data, RouteForced | RouteModeSet)


def test_a_forced_state_ends_by_itself_and_can_be_given_back(bench: Bench) -> None:
    """Nobody has to remember it."""
    bench.history.attempt()
    bench.force(state="closed", length="10m", reason="they say it is back")
    bench.history.wait(601)
    assert bench.route().explanation.forced == ""

    bench.force(state="open", length="10m", reason="again")
    assert bench.force().explanation.forced == ""


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"state": "ajar", "length": "1m", "reason": "x"}, Misused),
        ({"state": "open", "length": "soon", "reason": "x"}, BadValue),
        ({"state": "open", "length": "8d", "reason": "x"}, Misused),
    ],
)
def test_a_word_that_cannot_be_meant_is_refused(
    bench: Bench, given: dict[str, str], kind: type[Exception]
) -> None:
    """Before anything is on record."""
    bench.history.attempt()
    before = bench.house.ledger.next_seq

    with pytest.raises(kind):
        bench.force(**given)

    assert bench.house.ledger.next_seq == before


def test_a_mode_can_be_set_for_every_route_at_once(bench: Bench) -> None:
    """The switch for a night in which the guard itself is the trouble."""
    bench.history.attempt()
    bench.mode(route="*", mode="off", length="2h", reason="the guard is wrong tonight")

    said = bench.route().explanation

    assert (said.mode, said.mode_from) == ("off", "your word for every route")
    assert said.mode_until == bench.clock.wall() + 7_200 * SECOND


def test_a_mode_that_does_not_exist_is_refused(bench: Bench) -> None:
    """A typing error must not switch anything on or off."""
    bench.history.attempt()

    with pytest.raises(BadSetting, match="of"):
        bench.mode(mode="of", length="1h", reason="x")


def test_promoting_lets_settings_act_and_plans_two_looks(custom: Bench) -> None:
    """After an hour, and after a day."""
    custom.history.attempt()
    custom.promote()
    fact, _ = custom.last()
    now = custom.clock.wall()

    assert isinstance(fact.data, RoutePromoted)
    assert (fact.actor, fact.data.policy) == ("owner", custom.route().explanation.policy)
    with custom.house.ledger.read() as reader:
        word = word_of(reader, IMAGE)
    assert word is not None
    assert (word.watch_at, word.review_at) == (now + 3_600 * SECOND, now + 86_400 * SECOND)
    said = custom.route().explanation
    assert (said.mode, said.promoted) == ("on", True)
    with pytest.raises(Misused, match="promoted before"):
        custom.promote()


def test_the_built_in_numbers_need_no_promotion(bench: Bench) -> None:
    """They act from the first attempt on."""
    bench.history.attempt()

    with pytest.raises(Misused, match="act already"):
        bench.promote()


def test_routes_are_listed_by_name_with_the_levels_of_each(bench: Bench) -> None:
    """One line a route is made of these."""
    bench.history.attempt("timeout", took=60)
    History(bench.house.ledger, bench.clock, "a:chat").attempt()

    found = ask(routing.ROUTES, bench.desk(), routing.RoutesInput())
    some = ask(routing.ROUTES, bench.desk(), routing.RoutesInput(part="image"))
    levels = ask(routing.SLO, bench.desk(), routing.RoutesInput(part="image"))

    assert [one.explanation.route for one in found.routes] == ["a:chat", IMAGE]
    assert [one.explanation.route for one in some.routes] == [IMAGE]
    assert {one.slo: one.kept for one in levels.levels} == {"timeouts": False}


# -- who waits for a route -----------------------------------------------------------------


def waiting_run(bench: Bench, on: str, *, seconds: int = 90) -> str:
    """A run that waits, as the engine records it."""
    run = Ids(bench.clock).new()
    bench.history.say(RunAccepted(task="a:b", args=""), run=run)
    bench.history.say(RunStarted(attempt=1), run=run)
    until = bench.clock.wall() + seconds * SECOND
    bench.history.say(RunWaited(on=on, until=until, parked=True), run=run)
    return run


def test_status_and_show_say_for_which_route_until_when_and_why(bench: Bench) -> None:
    """A run that is merely waiting looks as if it had been forgotten."""
    bench.history.turn("open", cause="timeouts-in-a-row", why="3 timeouts in a row", wait=5)
    first = waiting_run(bench, f"later image (route-open {IMAGE})")
    waiting_run(bench, f"later image (route-open {IMAGE})", seconds=120)
    waiting_run(bench, "sleep nap")

    shown = ask(showing.SHOW, bench.desk(), showing.ShowInput(run=first))
    [group] = ask(house.STATUS, bench.desk(), house.Nothing()).waits

    assert shown.wait == (
        f"for {IMAGE}, which is out of service, until 07:01:30, because 3 timeouts in a row"
    )
    assert (group.reason, group.route, group.runs) == ("route-open", IMAGE, 2)
    assert group.words == shown.wait


@pytest.mark.parametrize(
    ("on", "words"),
    [
        ("later image (retry-budget sim:x)", "for the retry budget of sim:x"),
        ("later image (timeout) (retry-budget sim:x)", "for the retry budget of sim:x"),
        ("event go, later image (limit sim:x)", "for its turn at sim:x"),
        ("later image (somehow sim:x)", "for sim:x: somehow"),
        ("later image (limit)", "for its turn at its route"),
    ],
)
def test_each_reason_of_the_guard_has_its_words(bench: Bench, on: str, words: str) -> None:
    """Also one that this version does not know, and one from before reasons named a route."""
    run = waiting_run(bench, on)

    shown = ask(showing.SHOW, bench.desk(), showing.ShowInput(run=run))

    assert shown.wait.startswith(f"{words}, until 07:01:30")


def test_a_run_that_sleeps_waits_for_no_route(bench: Bench) -> None:
    """The guard has nothing to do with it."""
    run = waiting_run(bench, "sleep nap")

    assert ask(showing.SHOW, bench.desk(), showing.ShowInput(run=run)).wait == ""
    assert ask(house.STATUS, bench.desk(), house.Nothing()).waits == ()
