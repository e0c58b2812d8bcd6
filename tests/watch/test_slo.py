"""Service levels: what counts, what burns, and when nothing is left.

What it is not: a test of the guard; the facts are said by hand, through a real ledger.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.verdict import State
from tildawn.ledger.verify import verify
from tildawn.projections.slo import OBJECTIVES, Measured, excess, would_have
from tildawn.projections.traffic import DAY, HOUR, MINUTE
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.testing.clock import ManualClock
from tildawn.testing.history import History
from tildawn.units import SECOND, Micros
from tildawn.watch.slo import (
    RULES,
    Level,
    Rule,
    burns,
    least_alarming,
    levels,
    sentences,
    surely_above,
)
from tildawn.watch.words import NBSP, Times


NOON = Micros(1_794_225_600 * SECOND)


class Book:
    """A house in which the history of one route is said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock(NOON)
        self.ledger = Ledger.open(
            folder, registry=REGISTRY, projections=PROJECTIONS, clock=self.clock,
            ids=Ids(self.clock), build="test",
        )  # fmt: skip
        self.history = History(self.ledger, self.clock, "sim:chat")

    def level(self, slo: str, *, route: str = "") -> Level | None:
        """A level of the last day."""
        now = self.clock.wall()
        with self.ledger.read() as reader:
            found = levels(reader, since=Micros(now - DAY), until=now, route=route)
        return next((one for one in found if one.slo == slo), None)

    def there(self, slo: str) -> Level:
        level = self.level(slo)
        assert level is not None
        return level


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    made = Book(tmp_path)
    yield made
    made.ledger.close()


# -- few attempts --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "total", "fires"), [(4, 10, True), (3, 5, True), (3, 10, False), (1, 10, False)]
)
def test_few_attempts_alarm_only_when_it_cannot_be_chance(
    bad: int, total: int, fires: bool
) -> None:
    """One timeout of ten wakes nobody; three of five do."""
    assert (surely_above(bad, total) > 0.95) is fires
    assert (bad >= least_alarming(total)) is fires


def test_what_is_known_of_the_posterior_is_what_was_measured() -> None:
    """The four numbers of the reference, to three digits."""
    found = [round(surely_above(b, n), 3) for b, n in ((4, 10), (3, 5), (3, 10), (1, 10))]

    assert found == [0.986, 0.970, 0.945, 0.571]


def test_three_timeouts_in_a_row_alarm_at_once(book: Book) -> None:
    """At one picture a minute nobody waits for ten of them."""
    for _ in range(3):
        book.history.attempt("timeout")

    words = [alarm.words for alarm in book.there("timeouts").alarms]

    assert "the last 3 attempts all ran into their limit" in words


def test_two_timeouts_between_answers_alarm_nobody(book: Book) -> None:
    """Background noise is no alarm."""
    for fault in ("", "timeout", "", "", "timeout", "", "", ""):
        book.history.attempt(fault)

    assert book.there("timeouts").alarms == ()


# -- many attempts -------------------------------------------------------------------------


def _rule(burn: int) -> Rule:
    [rule] = [
        one for one in RULES
        if isinstance(one, Rule) and one.slo == "timeouts" and one.burn_tenths == burn
    ]  # fmt: skip
    return rule


@pytest.mark.parametrize(
    ("burn", "percent"), [(144, 72), (60, 30), (30, 15), (10, 5)]
)  # fmt: skip
def test_a_burn_rate_alarms_from_its_share_on(burn: int, percent: int) -> None:
    """The shares of the specification: 72, 30, 15 and 5 percent."""
    rule = _rule(burn)
    at = Measured(route="r", bad=percent * 10, total=1_000)
    below = Measured(route="r", bad=percent * 10 - 1, total=1_000)

    assert burns(rule, at, at, allowed_ppm=50_000)
    assert not burns(rule, below, at, allowed_ppm=50_000)
    assert not burns(rule, at, below, allowed_ppm=50_000), "what is over alarms nobody"


def test_a_share_of_fewer_than_ten_attempts_says_nothing() -> None:
    """Nine of nine are for the counts to judge."""
    nine = Measured(route="r", bad=9, total=9)

    assert not burns(_rule(144), nine, nine, allowed_ppm=50_000)


def test_probes_and_cancelled_calls_are_no_attempts_of_the_level(book: Book) -> None:
    """Looking whether it is back must not look like being broken."""
    book.history.attempt()
    book.history.attempt("cancelled")
    book.history.turn("open", cause="share", wait=5)
    book.history.attempt("timeout", run="probe", probe=True)

    level = book.there("timeouts")

    assert (level.bad, level.total) == (0, 1)


def test_attempts_behind_a_substitute_count_when_they_end(book: Book) -> None:
    """Whoever watches is served in time; a primary that never answers must be seen all the same."""
    for fault in ("timeout", "timeout", "timeout", "", "cancelled"):
        book.history.overtaken(fault)
    book.history.turn("open", cause="timeouts-in-a-row", wait=5)
    book.history.overtaken("timeout", probe=True)

    level = book.there("timeouts")

    assert (level.bad, level.total) == (3, 4)
    assert (0, 6) == (book.there("fallback").bad, book.there("fallback").total)


def test_a_picture_behind_a_substitute_is_one_or_none(book: Book) -> None:
    """It was paid for, and its owner may still look at it."""
    book.history = History(book.ledger, book.clock, "sim:image", kind="image")
    for fault in ("", "invalid_answer", "timeout"):
        book.history.overtaken(fault)

    level = book.there("pictures")

    assert (level.bad, level.total) == (1, 2)


def test_the_level_of_timeouts_is_missed_at_five_percent(book: Book) -> None:
    """Fewer than five of a hundred are promised; five are too many."""
    for place in range(100):
        book.history.attempt("timeout" if place % 25 == 0 else "", took=0.1)
    before = book.there("timeouts")
    book.history.attempt("timeout", took=0.1)
    after = book.there("timeouts")

    assert (before.bad, before.total, before.kept) == (4, 100, True)
    assert (after.bad, after.total, after.kept) == (5, 101, True)
    book.history.attempt("timeout", took=0.1)
    assert not book.there("timeouts").kept


def test_what_is_older_than_the_window_is_forgotten(book: Book) -> None:
    """A rolling day, not a calendar day."""
    for _ in range(3):
        book.history.attempt("timeout")
    book.history.wait(24 * 3_600 + 120)

    assert book.level("timeouts") is None


# -- out of service ------------------------------------------------------------------------


def test_time_out_of_service_is_the_outage_within_the_window(book: Book) -> None:
    """An outage that began before the window counts with what lies inside of it."""
    book.history.turn("open", cause="share", wait=5)
    book.history.wait(100)

    assert book.there("open").bad == 100 * SECOND
    book.history.turn("ramp", cause="proven")
    book.history.wait(24 * 3_600 - 40)
    assert book.there("open").bad == 40 * SECOND


def test_our_own_delay_is_told_from_the_outage_of_the_other_side(book: Book) -> None:
    """Whoever reads the promise must see whether the provider or the breaker broke it."""
    book.history.outage(dead=300)

    level = book.there("open")

    assert not level.kept
    assert level.bad > 300 * SECOND
    assert 0 < level.excess <= 62 * SECOND


def test_our_own_delay_is_never_longer_than_the_last_wait(book: Book) -> None:
    """Nobody asked while the process was gone; that is not the breaker's sluggishness."""
    book.history.turn("open", cause="share", wait=5)
    book.history.wait(5)
    book.history.check(alive=False, wait=10)
    book.history.wait(8 * 3_600)
    book.history.turn("ramp", cause="proven")
    now = book.clock.wall()

    with book.ledger.read() as reader:
        [own] = excess(reader, since=Micros(now - DAY), until=now)

    assert own.bad == 10 * SECOND
    assert own.total == (8 * 3_600 + 5) * SECOND


def test_a_route_that_waits_for_a_person_is_not_the_breakers_time(book: Book) -> None:
    """A refused key is no outage of the other side."""
    book.history.turn("blocked", cause="auth", why="the other side does not accept our key")
    book.history.wait(3_600)

    assert book.level("open") is None


def test_a_breaker_that_only_watches_keeps_nothing_out_of_service(book: Book) -> None:
    """In shadow every call is sent, whatever the state on record."""
    book.history.turn("open", cause="share", wait=5)
    book.history.attempt(would="route-open")
    book.history.wait(600)

    assert book.level("open") is None
    with book.ledger.read() as reader:
        [row] = would_have(reader, "")
    assert (row.would, row.calls) == ("route-open", 1)


@pytest.mark.parametrize(
    ("seconds", "severities"), [(29, []), (30, ["ticket"]), (60, ["page", "ticket"]),
                                (120, ["page", "page", "ticket"])]
)  # fmt: skip
def test_a_quarter_a_half_and_all_of_the_two_minutes_alarm(
    book: Book, seconds: int, severities: list[str]
) -> None:
    """30 s of a day are worth a look, 60 s in an hour and 120 s a day are worth waking for."""
    book.history.turn("open", cause="share", wait=5)
    book.history.wait(seconds)

    found = [alarm.severity for alarm in book.there("open").alarms]

    assert sorted(found) == severities


# -- fallback and pictures -----------------------------------------------------------------


def test_a_fallback_that_takes_two_seconds_is_slow(book: Book) -> None:
    """Less than two seconds are promised."""
    book.history.serve("exact", instead="timeout", took=1.999)
    assert book.there("fallback").kept
    book.history.serve("exact", instead="timeout", took=2.0)

    level = book.there("fallback")

    assert (level.bad, level.total, level.kept) == (1, 2, False)


def test_one_picture_that_is_none_misses_the_level_of_pictures(book: Book) -> None:
    """A hundred of a hundred are promised."""
    images = History(book.ledger, book.clock, "sim:image:1024x1024", kind="image")
    images.attempt()
    assert book.there("pictures").kept
    images.attempt("invalid_answer")
    images.attempt("timeout")

    level = book.there("pictures")

    assert (level.bad, level.total, level.kept) == (1, 2, False)


def test_an_invalid_answer_of_a_chat_is_no_picture(book: Book) -> None:
    """Only routes that draw are judged by what they draw."""
    book.history.attempt("invalid_answer")

    assert book.level("pictures") is None


# -- words ---------------------------------------------------------------------------------


def test_the_pace_of_the_last_hour_says_when_nothing_is_left(book: Book) -> None:
    """120 s a day, 60 s lost in the last hour beside 5 s that came in: 60 s last 65 minutes."""
    book.history.turn("open", cause="share", wait=5)
    book.history.wait(60)
    book.history.turn("ramp", cause="proven")
    level = book.there("open")

    assert level.empty_at - level.until == pytest.approx(60 * HOUR // 55, abs=30 * SECOND)
    said = " ".join(sentences(level, Times("UTC"))).replace(NBSP, " ")
    assert "Out of service for 1 min" in said
    assert "allowed are 2 min" in said
    assert "At the pace of the last hour the day's allowance is used up in 1 h 5 min" in said


def test_an_allowance_that_is_gone_is_called_so(book: Book) -> None:
    """No prediction of what has happened."""
    book.history.turn("open", cause="share", wait=5)
    book.history.wait(121)

    assert "The day's allowance is used up." in sentences(book.there("open"), Times("UTC"))


def test_a_quiet_route_says_nothing_about_the_future(book: Book) -> None:
    """No traffic is no failure, and no promise is broken by silence."""
    book.history.attempt()

    level = book.there("timeouts")

    assert (level.empty_at, level.alarms, level.kept) == (0, (), True)


def test_the_tables_of_the_levels_are_what_a_rebuild_would_give(book: Book) -> None:
    """Folds that depend on anything but the facts would be found here."""
    book.history.outage(dead=120)
    book.history.serve("related", instead="route-open")
    book.history.overtaken("timeout")
    book.history.attempt(would="route-open, timeout 30000 ms")
    book.ledger.close()

    found = verify(book.folder, registry=REGISTRY, projections=PROJECTIONS)

    assert found.state is State.PROVEN, found.what


def test_every_alarm_rule_belongs_to_a_level() -> None:
    """A rule for a level that does not exist would never fire."""
    assert {rule.slo for rule in RULES} == {one.name for one in OBJECTIVES}
    assert all(rule.long % MINUTE == 0 for rule in RULES if isinstance(rule, Rule))
