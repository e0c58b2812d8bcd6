"""The trip rules, one by one: what opens a route, what never does, and which name it gets.

What it is not: the states of the breaker and who writes them.
"""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.guard.breaker import WEIGHTS, Trip, blocks, overdue, tripped
from tildawn.guard.policy import BreakerPolicy
from tildawn.projections.attempts import BAD, KINDS, OUTCOMES, Outcome
from tildawn.units import SECOND, Micros


POLICY = BreakerPolicy()
MINUTE, HOUR = 60 * SECOND, 3_600 * SECOND
NOON = 1_771_070_400 * SECOND


def came(kinds: Sequence[str], *, every: int = SECOND, end: int = NOON) -> list[Outcome]:
    """One outcome each so often, the last of them at ``end``."""
    return [Outcome(kind, Micros(end - every * back)) for back, kind in _from_the_end(kinds)]


def _from_the_end(kinds: Sequence[str]) -> list[tuple[int, str]]:
    return [(len(kinds) - 1 - place, kind) for place, kind in enumerate(kinds)]


def cause(kinds: Sequence[str], *, every: int = SECOND, policy: BreakerPolicy = POLICY) -> str:
    trip = tripped(came(kinds, every=every), policy, now=Micros(NOON))
    return "" if trip is None else trip.cause


def only(**numbers: int) -> BreakerPolicy:
    """The numbers with all rules but the named one out of reach."""
    out_of_reach = {"least": 10_000, "in_a_row": 10_000, "tokens": 10_000}
    return msgspec.structs.replace(POLICY, **(out_of_reach | numbers))


# -- weights -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "weighs"),
    [
        ("timeout", 1_000), ("server", 800), ("network", 800), ("invalid_answer", 800),
        ("rate", 500), ("rate-asked", 0), ("", 0), ("bad_request", 0), ("not_found", 0),
        ("auth", 0), ("quota", 0), ("cancelled", None), ("refused", None), ("nonsense", None),
    ],
)  # fmt: skip
def test_a_kind_weighs_what_the_specification_says(kind, weighs) -> None:
    """Our own mistakes are no failures of the other side; what says nothing is not looked at."""
    assert weighs == WEIGHTS.get(kind)


def test_what_is_a_failure_for_one_rule_is_one_for_the_others() -> None:
    """Two lists of failures that drift apart would open a route for one reason and not explain it."""
    assert {kind for kind in KINDS if WEIGHTS[kind]} == BAD


# -- nothing, and what never opens ------------------------------------------------------------


def test_no_traffic_is_healthy() -> None:
    """A fresh house calls nobody dead."""
    assert tripped([], POLICY, now=Micros(NOON)) is None


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind not in BAD] + ["cancelled", "refused", "budget"]
)
def test_kinds_that_are_no_failures_of_the_other_side_never_open(kind) -> None:
    """Callers who go away, refused content, spent budgets and our own 4xx say nothing of it."""
    assert cause([kind] * OUTCOMES) == ""


def test_five_bad_requests_open_nothing() -> None:
    """The example of the specification."""
    assert cause(["bad_request"] * 5) == ""


def test_callers_who_go_away_neither_add_nor_thin_out() -> None:
    """An interface that cancels a lot must not hide a dying provider either."""
    kinds = ["", "timeout"] * 5
    mixed = [kind for one in kinds for kind in (one, "cancelled", "cancelled")][:OUTCOMES]

    assert cause(kinds, policy=only(least=10)) == "share"
    assert cause(mixed[-OUTCOMES:], policy=only(least=4)) == "share"


# -- timeouts in a row ---------------------------------------------------------------------


def test_three_timeouts_in_a_row_open() -> None:
    """Waiting for thirteen failures would take thirteen minutes of a night."""
    assert cause(["timeout"] * 2) == ""
    assert tripped(came(["", "timeout", "timeout", "timeout"]), POLICY, now=Micros(NOON)) == Trip(
        "timeouts-in-a-row", "3 timeouts in a row"
    )


@pytest.mark.parametrize("between", ["", "server", "bad_request", "rate-asked"])
def test_anything_between_ends_the_row(between) -> None:
    """It is about silence, and this was none."""
    assert (
        cause(["timeout", "timeout", between, "timeout", "timeout"], policy=only(in_a_row=3)) == ""
    )


def test_three_calls_of_ten_minutes_that_time_out_are_a_row() -> None:
    """By the age of each of them a route with long calls could never be opened."""
    assert cause(["timeout"] * 3, every=10 * MINUTE) == "timeouts-in-a-row"


def test_timeouts_with_long_silences_between_are_no_row() -> None:
    """One in the evening, one at midnight and one in the morning are three stories."""
    assert cause(["timeout"] * 3, every=15 * MINUTE) == ""


def test_a_row_of_long_ago_opens_nothing() -> None:
    """Whoever starts a house in the morning does not begin with last night's outage."""
    outcomes = came(["timeout"] * 5)

    assert tripped(outcomes, POLICY, now=Micros(NOON + 15 * MINUTE)) is None


# -- share ---------------------------------------------------------------------------------


def test_alternating_timeouts_and_answers_open_at_the_tenth() -> None:
    """Counting failures in a row never sees this; no library with such a rule opens."""
    assert cause(["", "timeout"] * 4 + [""]) == ""
    assert cause(["", "timeout"] * 5) == "share"
    assert cause(["timeout", ""] * 5) == "share"


def test_the_share_is_weighted_and_its_numbers_are_said() -> None:
    """Half of the answers being 500 is not half a failure; a person reads both numbers."""
    policy = only(least=10)

    assert cause(["", "server"] * 12, policy=policy) == ""
    trip = tripped(came(["", "server", "server"] * 8), policy, now=Micros(NOON))
    assert trip is not None
    assert trip.cause == "share"
    assert trip.why == "16 of the last 24 attempts failed; weighted 53 %, at most 50 %"


def test_only_the_last_attempts_are_looked_at() -> None:
    """Thirty are kept, twenty-five are judged."""
    kinds = ["timeout"] * 5 + ["", ""] + ["timeout", ""] * 11

    assert cause(kinds, policy=only(least=10, window=25)) == ""
    assert cause(kinds, policy=only(least=10, window=30)) == "share"


def test_old_attempts_are_not_looked_at() -> None:
    """What was a quarter of an hour ago says little about now."""
    kinds = ["timeout", ""] * 5
    young, old = 99 * SECOND, 100 * SECOND

    assert cause(kinds, every=young, policy=only(least=10)) == "share"
    assert cause(kinds, every=old, policy=only(least=10)) == ""


# -- failure tokens ------------------------------------------------------------------------


def test_five_failures_within_a_minute_open() -> None:
    """The fast way for a provider that is dead but answers at once."""
    assert cause(["server"] * 4) == ""
    assert cause(["server"] * 5, every=14 * SECOND) == "failure-tokens"


def test_one_token_drains_each_minute() -> None:
    """One failure each minute is a bad provider, but not a dead one."""
    assert cause(["server"] * 9, every=MINUTE) == ""
    assert cause(["server"] * 5, every=15 * SECOND) == ""
    assert cause(["server"] * 6, every=15 * SECOND) == "failure-tokens"


def test_an_answer_takes_a_token_and_never_more_than_there_are() -> None:
    """Otherwise a good hour would be credit for a dead minute."""
    assert cause(["server"] * 4 + [""] + ["server"]) == ""
    assert cause([""] * 20 + ["server"] * 5) == "failure-tokens"
    assert cause(["server"] * 4 + ["bad_request"] + ["server"]) == "failure-tokens"


def test_our_own_mistakes_add_no_token() -> None:
    """A plan that asks for something impossible tells nothing of the other side."""
    assert cause(["server", "bad_request"] * 5, every=8 * SECOND) == ""
    assert cause(["server", "rate-asked"] * 5, every=8 * SECOND) == ""


def test_an_empty_bucket_does_not_drain_ahead() -> None:
    """The first failure after an hour of answers begins a minute of its own."""
    quiet = came([""], end=NOON - HOUR)

    outcomes = quiet + came(["server"] * 5, every=14 * SECOND)

    assert tripped(outcomes, only(tokens=5), now=Micros(NOON)) is not None


# -- several, and clocks ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kinds", "named"),
    [
        (["timeout"] * 12, "timeouts-in-a-row"),
        (["server"] * 12, "share"),
        (["server"] * 9, "failure-tokens"),
    ],
)
def test_the_shortest_story_is_named_where_several_rules_hold(kinds, named) -> None:
    """A person at three in the morning reads one line."""
    assert cause(kinds) == named


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_a_clock_that_jumps_by_an_hour_opens_nothing(jump) -> None:
    """Somebody set the clock; the other side did nothing."""
    outcomes = came(["", "timeout", "", "server", "server"], every=10 * SECOND)

    assert tripped(outcomes, POLICY, now=Micros(NOON + jump)) is None
    assert tripped(outcomes + came([""], end=NOON + jump), POLICY, now=Micros(NOON + jump)) is None


def test_a_clock_that_is_set_back_gives_no_tokens() -> None:
    """Time that runs backwards must not undo what has drained."""
    outcomes = came(["server"] * 6, every=MINUTE)

    assert tripped(outcomes, only(tokens=5), now=Micros(NOON - HOUR)) is None


@pytest.mark.parametrize("kind", ["timeout", "server"])
def test_a_dead_provider_is_noticed_after_the_clock_was_set_back(kind) -> None:
    """Outcomes that lie ahead of now must not stop the rules."""
    outcomes = came([""] * 9, end=NOON + HOUR) + came([kind] * 6)

    assert tripped(outcomes, POLICY, now=Micros(NOON)) is not None


@given(st.lists(st.sampled_from([*sorted(set(KINDS) - BAD), "cancelled"]), max_size=OUTCOMES))
def test_without_a_failure_nothing_opens(kinds) -> None:
    """Whatever the mixture."""
    assert cause(kinds) == ""


@given(
    st.lists(st.sampled_from(KINDS), max_size=OUTCOMES),
    st.integers(0, OUTCOMES),
    st.integers(1, 900),
)
def test_one_answer_more_in_place_of_a_failure_never_opens(kinds, place, every) -> None:
    """A rule that punishes answers would be wrong whatever its numbers."""
    better = [*kinds[:place], "", *kinds[place + 1 :]] if place < len(kinds) else kinds

    if not cause(kinds, every=every * SECOND):
        assert not cause(better, every=every * SECOND)


# -- one is enough -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["auth", "quota"])
def test_a_refused_key_and_a_spent_account_block_at_once(kind) -> None:
    """Asking again cannot help and may lock the account."""
    trip = blocks(kind)

    assert trip is not None
    assert trip.cause == kind
    assert "person" in trip.why


@pytest.mark.parametrize("kind", [*sorted(set(KINDS) - {"auth", "quota"}), "cancelled"])
def test_nothing_else_blocks(kind) -> None:
    """A person must not be called for what mends itself."""
    assert blocks(kind) is None


# -- overdue -------------------------------------------------------------------------------


def pressed(ages: Sequence[int], settled: Sequence[Outcome] = (), expected: int = MINUTE) -> str:
    trip = overdue(
        [Micros(age) for age in ages],
        expected=Micros(expected),
        settled=settled,
        policy=POLICY,
        now=Micros(NOON),
    )
    return "" if trip is None else trip.cause


def test_three_calls_that_take_too_long_open_before_they_end() -> None:
    """They hang now; their time limits say so minutes later."""
    assert pressed([61 * SECOND] * 2) == ""
    assert pressed([61 * SECOND] * 3) == "overdue"


def test_a_call_that_took_just_what_is_expected_is_not_late() -> None:
    """One in twenty takes as long as that on a good day."""
    assert pressed([60 * SECOND] * 10) == ""


def test_late_calls_are_weighed_against_those_on_their_way_and_those_that_ended() -> None:
    """Three slow ones among many are a tail, not an outage."""
    late, young = [61 * SECOND] * 3, [SECOND]

    assert pressed(late + young * 3) == "overdue"
    assert pressed(late + young * 4) == ""
    assert pressed(late, came([""] * 3)) == "overdue"
    assert pressed(late, came([""] * 4)) == ""
    assert pressed(late, came(["timeout"] * 2 + [""] * 5)) == "overdue"
    assert pressed(late, came(["server"] * 2 + [""] * 5)) == ""


def test_what_ended_before_the_stretch_says_nothing() -> None:
    """An hour of answers before it must not outvote the hang."""
    assert pressed([61 * SECOND] * 3, came([""] * 20, end=NOON - MINUTE)) == "overdue"


def test_nothing_is_late_while_nothing_is_known() -> None:
    """The first calls of a route have no percentile to be later than."""
    assert pressed([HOUR] * 10, expected=0) == ""


def test_numbers_behind_the_pressure_are_said() -> None:
    """The words go into the report."""
    trip = overdue(
        [Micros(90 * SECOND)] * 3,
        expected=Micros(MINUTE),
        settled=came([""]),
        policy=POLICY,
        now=Micros(NOON),
    )

    assert trip is not None
    assert trip.why == "3 of 3 calls under way take longer than 60 s, with 1 ended meanwhile"
