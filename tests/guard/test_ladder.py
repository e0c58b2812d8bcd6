"""The fallback ladder: who may answer in place of whom, in what order, and by when."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.errors import Effect
from tildawn.guard import ladder
from tildawn.guard.deadline import Alarms
from tildawn.guard.fault import KINDS, InvalidAnswer
from tildawn.guard.ladder import (
    Served,
    ahead,
    cheapest,
    climb,
    may_leave,
    may_stand_in,
    parks,
    rung,
    share,
)
from tildawn.guard.request import Answer, Attempt, Local, Need, Remote, Repeat, Validate
from tildawn.testing.clock import ManualClock
from tildawn.units import MILLISECOND, SECOND, Micros, MicroUsd


REPEATS = ("safe", "keyed", "never")
CAUSES = sorted(KINDS | ladder.NOT_NOW | ladder.OURS | {ladder.LATE, ladder.SPENT})


def remote(name: str, reserve: int | None) -> Remote:
    """A model with a price."""

    async def perform(_: Attempt) -> Answer:
        raise AssertionError

    amount = None if reserve is None else MicroUsd(reserve)
    return Remote(name=name, route=f"p:{name}", model=name, perform=perform, reserve=amount)


# -- leaving the primary -----------------------------------------------------------------------


@pytest.mark.parametrize("cause", CAUSES)
def test_another_model_is_never_asked_over_an_unknown_effect_that_matters(cause: str):
    """A second provider knows nothing of the first one's key: it would do it a second time."""
    for repeat in ("keyed", "never"):
        assert not may_leave(cause, repeat=repeat, effect=Effect.UNKNOWN)
        assert not may_leave(cause, repeat=repeat, effect=Effect.APPLIED)


@pytest.mark.parametrize("repeat", REPEATS)
@pytest.mark.parametrize("cause", ["timeout", "server", "auth", "quota", "invalid_answer"])
def test_what_certainly_did_nothing_may_be_asked_of_another_model(cause: str, repeat: Repeat):
    """That is the whole condition: no effect, no second effect."""
    assert may_leave(cause, repeat=repeat, effect=Effect.NONE)


@pytest.mark.parametrize("cause", sorted(ladder.NOT_NOW))
def test_a_route_that_takes_nothing_now_is_left_for_another_model(cause: str):
    """Nothing was sent, so nothing can have happened."""
    assert may_leave(cause, repeat="never", effect=Effect.NONE)


@pytest.mark.parametrize("cause", sorted(ladder.OURS))
@pytest.mark.parametrize("interactive", [False, True])
def test_a_call_that_is_wrong_itself_is_not_covered_up(cause: str, interactive: bool):
    """Another model, or a picture from the stock, would hide a mistake of the plan's author."""
    said = rung(
        cause, repeat="safe", effect=Effect.NONE, interactive=interactive, remotes=3, tiers=4
    )
    assert said == "stay"


def test_refused_content_is_not_offered_to_the_next_model():
    """Looking for somebody who says yes is no way to treat a refusal."""
    assert not may_leave("refused_content", repeat="safe", effect=Effect.NONE)


def test_a_screen_stays_lit_over_refused_content_and_a_batch_says_so():
    """Who watches sees a picture; the author of a batch has to read that his prompt was refused."""
    said: dict[str, Any] = {"repeat": "safe", "effect": Effect.NONE}
    assert may_stand_in("refused_content", interactive=True, **said)
    assert not may_stand_in("refused_content", interactive=False, **said)


def test_nothing_is_served_over_an_effect_that_nobody_knows_and_that_matters():
    """A picture in its place would close a call that its owner has to look at."""
    assert not may_stand_in("timeout", repeat="never", effect=Effect.UNKNOWN, interactive=True)
    assert may_stand_in("timeout", repeat="safe", effect=Effect.UNKNOWN, interactive=True)


def test_whoever_has_lost_patience_is_not_made_to_wait_for_another_model():
    """The primary goes on; a second model would be paid for beside it."""
    said = rung(
        ladder.LATE, repeat="safe", effect=Effect.UNKNOWN, interactive=True, remotes=2, tiers=1
    )
    assert said == "local"


def test_other_models_come_before_what_stands_in():
    """A real answer of an allowed model is worth more than an old picture."""
    said: dict[str, Any] = {"repeat": "safe", "effect": Effect.NONE, "interactive": False}
    assert rung("timeout", remotes=1, tiers=4, **said) == "remote"
    assert rung("timeout", remotes=0, tiers=4, **said) == "local"


def test_a_batch_that_allows_nothing_else_stays():
    """It parks until the primary is back: no silent downgrade."""
    for cause in CAUSES:
        said = rung(cause, repeat="safe", effect=Effect.NONE, interactive=False, remotes=0, tiers=0)
        assert said == "stay"


@pytest.mark.parametrize("cause", CAUSES)
def test_only_a_batch_waits_and_only_for_what_goes_away_by_itself(cause: str):
    """A wrong key is not mended by waiting, and whoever watches is told now."""
    passes = {"timeout", "rate", "network", "server"} | ladder.NOT_NOW
    assert parks(cause, interactive=False) is (cause in passes)
    assert not parks(cause, interactive=True)


# -- time and money ----------------------------------------------------------------------------

LEAST = st.lists(st.integers(0, 10**9), max_size=6)


@given(left=st.integers(-(10**6), 10**9), below=LEAST)
def test_a_tier_gets_no_more_than_there_is(left: int, below: list[int]):
    """The deadline of the whole is one limit."""
    got = share(Micros(left), [Micros(one) for one in below])
    assert 0 <= got <= max(left, 0)


@given(left=st.integers(0, 10**9), below=LEAST)
def test_the_tiers_below_keep_what_they_need_or_an_equal_part(left: int, below: list[int]):
    """A slow tier must not use up the time of those that would have served."""
    rest = left - share(Micros(left), [Micros(one) for one in below])
    assert rest >= min(sum(below), left - left // (len(below) + 1))


@given(left=st.integers(1, 10**9), below=LEAST)
def test_a_tier_above_slow_ones_is_still_asked(left: int, below: list[int]):
    """What those below need must not starve the one that is wanted."""
    assert share(Micros(left), [Micros(one) for one in below]) >= left // (len(below) + 1)


def test_the_last_tier_may_take_all_that_is_left():
    """Nobody waits behind it."""
    assert share(SECOND, []) == SECOND


def test_other_models_are_asked_in_the_order_of_their_price():
    """Where the plan allows several, the cheaper one is the smaller downgrade of the budget."""
    models = [remote("dear", 40), remote("unpriced", None), remote("free", 0), remote("cheap", 10)]
    assert [one.name for one in cheapest(models)] == ["free", "cheap", "dear", "unpriced"]


def test_a_strained_budget_puts_the_strictly_cheaper_models_first():
    """At four fifths of a budget the night goes on with less money a call, and says so."""
    models = [remote("dear", 40), remote("same", 20), remote("cheap", 10), remote("what", None)]
    names = [one.name for one in ahead(models, reserve=MicroUsd(20), strained=True)]
    assert names == ["cheap"]
    assert ahead(models, reserve=MicroUsd(20), strained=False) == ()


# -- climbing ----------------------------------------------------------------------------------


class Stairs:
    """Local tiers on a clock that only the test moves."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.alarms = Alarms(self.clock)
        self.asked: list[str] = []
        self.ended: list[str] = []

    def tier(self, name: str, does: object, *, limit_ms: int = 40, sure: bool = False) -> Local:
        """A tier that answers, raises, has nothing, or needs so many milliseconds."""

        async def find(need: Need) -> Answer | None:
            self.asked.append(name)
            if isinstance(does, BaseException):
                raise does
            if isinstance(does, int):
                try:
                    await self.clock.sleep(Micros(does * MILLISECOND))
                finally:
                    self.ended.append(name)
                return Answer(value=b'"slow"')
            return Answer(value=does) if isinstance(does, bytes) else None

        return Local(name=name, find=find, limit=Micros(limit_ms * MILLISECOND), sure=sure)

    async def climb(
        self, tiers: Sequence[Local], *, deadline_ms: int = 2_000, validate: Validate | None = None
    ) -> Served | None:
        """Ask them, moving time only when nothing else can go on."""
        need = Need(
            reason="timeout", args="a", decided=self.clock.mono(),
            deadline=Micros(self.clock.mono() + deadline_ms * MILLISECOND),
        )  # fmt: skip
        asking = asyncio.create_task(
            climb(tiers, need, clock=self.clock, alarms=self.alarms, validate=validate)
        )
        while not asking.done():
            for _ in range(12):
                await asyncio.sleep(0)
            due = self.clock.next_due()
            if due is not None and not asking.done():
                self.clock.advance(due)
        return asking.result()


def play(scene: Callable[[Stairs], Awaitable[None]]) -> None:
    """Run a scene and let go of its alarms."""

    async def main() -> None:
        stairs = Stairs()
        try:
            await scene(stairs)
        finally:
            stairs.alarms.close()

    asyncio.run(main())


def test_the_first_tier_that_has_something_serves():
    """The order of the call is the order of worth."""

    async def scene(s: Stairs) -> None:
        served = await s.climb(
            [s.tier("exact", None), s.tier("related", b'"r"'), s.tier("x", b"1")]
        )
        assert served is not None
        assert (served.tier, served.answer.value) == ("related", b'"r"')
        assert served.passed == ("exact: none",)
        assert s.asked == ["exact", "related"]

    play(scene)


def test_a_tier_that_is_late_is_skipped_at_its_limit_and_ended():
    """Forty milliseconds are forty milliseconds, whatever the tier is at."""

    async def scene(s: Stairs) -> None:
        served = await s.climb([s.tier("exact", 500), s.tier("global", b'"g"')])
        assert served is not None
        assert served.tier == "global"
        assert served.took == 40 * MILLISECOND
        assert served.passed == ("exact: late",)
        assert s.ended == ["exact"]

    play(scene)


def test_a_tier_that_will_not_end_is_not_waited_for():
    """A cancellation that is swallowed must not keep the screen black."""

    async def scene(s: Stairs) -> None:
        free = asyncio.Event()

        async def stubborn(_: Need) -> Answer | None:
            while not free.is_set():
                try:
                    await free.wait()
                except asyncio.CancelledError:
                    continue
            return None

        first = Local(name="exact", find=stubborn, limit=Micros(40 * MILLISECOND))
        served = await s.climb([first, s.tier("global", b'"g"')])
        assert served is not None
        assert (served.tier, served.took) == ("global", 40 * MILLISECOND)
        free.set()

    play(scene)


def test_a_tier_that_fails_is_skipped_and_its_words_are_not_kept():
    """The last resort must not depend on the health of the one above; messages hold prompts."""

    async def scene(s: Stairs) -> None:
        served = await s.climb([s.tier("exact", OSError("a secret")), s.tier("global", b'"g"')])
        assert served is not None
        assert served.passed == ("exact: OSError",)

    play(scene)


def test_what_does_not_pass_for_an_answer_is_skipped():
    """An item of the stock is judged like an answer of the primary."""

    def validate(value: bytes) -> None:
        if value != b'"good"':
            detail = "no picture"
            raise InvalidAnswer(detail)

    async def scene(s: Stairs) -> None:
        tiers = [s.tier("exact", b'"bad"'), s.tier("global", b'"good"')]
        served = await s.climb(tiers, validate=validate)
        assert served is not None
        assert (served.tier, served.passed) == ("global", ("exact: InvalidAnswer",))

    play(scene)


def test_nothing_is_served_when_no_tier_has_anything():
    """Then the call goes on as it would without a ladder."""

    async def scene(s: Stairs) -> None:
        assert await s.climb([s.tier("exact", None), s.tier("related", OSError())]) is None
        assert await s.climb([]) is None

    play(scene)


def test_slow_tiers_leave_the_last_one_its_time():
    """With a hundred milliseconds left for three tiers the lowest is still asked."""

    async def scene(s: Stairs) -> None:
        tiers = [
            s.tier("exact", 900, limit_ms=400), s.tier("related", 900, limit_ms=400),
            s.tier("procedural", b'"p"', limit_ms=400),
        ]  # fmt: skip
        served = await s.climb(tiers, deadline_ms=100)
        assert served is not None
        assert served.tier == "procedural"
        assert served.took <= 100 * MILLISECOND

    play(scene)


def test_the_sure_tier_may_use_what_time_there_is():
    """Behind it is only a black screen, so its limit is a wish."""

    async def scene(s: Stairs) -> None:
        served = await s.climb([s.tier("exact", 900), s.tier("procedural", 300, sure=True)])
        assert served is not None
        assert (served.tier, served.took) == ("procedural", 340 * MILLISECOND)
        assert await s.climb([s.tier("procedural", 3_000, sure=True)], deadline_ms=2_000) is None

    play(scene)


def test_a_caller_who_goes_away_ends_the_tier_under_way():
    """Nothing runs on for somebody who has left."""

    async def scene(s: Stairs) -> None:
        climbing = asyncio.create_task(s.climb([s.tier("exact", 900, limit_ms=10_000)]))
        await s.clock.sleepers(1)
        climbing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await climbing

    play(scene)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_tiers_above_do_the_sure_one_serves_in_time(seed: int):
    """The promise of the ladder: no black screen."""
    chance = Random(seed)

    async def scene(s: Stairs) -> None:
        above = [
            s.tier(name, chance.choice([None, OSError(), 30, 5_000]), limit_ms=limit)
            for name, limit in (("exact", 40), ("related", 80), ("global", 120))
        ]
        served = await s.climb([*above, s.tier("procedural", b'"p"', limit_ms=120, sure=True)])
        assert served is not None
        assert served.took <= 240 * MILLISECOND

    play(scene)
