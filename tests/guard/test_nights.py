"""Whole nights in virtual time: what the guard promises about a provider that goes and comes.

Each plays a real house, its door and its loops against a provider that follows a script.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import pytest

from tildawn.facts.call import CallDispatched, CallSettled
from tildawn.facts.fact import Fact, FactData
from tildawn.facts.route import RouteChecked, RouteHeard, RouteTurned
from tildawn.guard.request import PROBES
from tildawn.projections.route import routes
from tildawn.runtime.house import House
from tildawn.runtime.rehearsal.clock import run_virtual
from tildawn.runtime.rehearsal.night import Night
from tildawn.runtime.rehearsal.script import parse
from tildawn.units import SECOND, Micros, Seq


D = TypeVar("D", bound=FactData)

HOUR = 3_600
PACE = """
[[provider.pace]]
median = "3s"
sigma = 0.25
[[provider.pace]]
path = "/v1/models"
median = "100ms"
"""

DIES_AT = 600
"""Seconds after which the provider of most of these nights is gone."""

TEN_MINUTES_OF_WORK = """
[[stream]]
kind = "chat"
every = "5s"
until = "10m30s"
"""


def script(length: str, *parts: str) -> str:
    return "\n".join([f'length = "{length}"', *parts, PACE])


def outage(since: str, length: str, fault: str = 'kind = "reset"', path: str = "/v1/") -> str:
    return f'[[outage]]\nsince = "{since}"\nlength = "{length}"\npath = "{path}"\nfault = {{ {fault} }}'


class Played:
    """A night, and what is on record of it."""

    def __init__(self, folder: Path, text: str, *, seed: int = 0) -> None:
        self.night = Night(folder, parse(text), mode="on", seed=seed)

    def until(self, seconds: float, *, jump: float = 0) -> list[Fact]:
        """Open the house, work up to then, close it; everything that is on record so far."""
        self.night.clock.jump(Micros(round(jump * SECOND)))
        with self.night.open() as house:
            run_virtual(self.night.clock, self.night.play(house, until=at(seconds)))
            return list(self.facts(house))

    def facts(self, house: House) -> Iterator[Fact]:
        with house.ledger.read() as reader:
            for _, fact in reader.facts(Seq(-1), -1):
                assert isinstance(fact, Fact)
                yield fact

    def second(self, fact: Fact) -> float:
        """When it was, in seconds from the beginning, by the clock of the wall."""
        return (fact.at - self.night.began) / SECOND

    def seconds(self, facts: Sequence[Fact], kind: type[D], **values: object) -> list[float]:
        """When facts of a kind with these values were recorded."""
        return [self.second(one) for one in facts if has(one, kind, **values)]


def at(seconds: float) -> Micros:
    return Micros(round(seconds * SECOND))


def has(fact: Fact, kind: type[FactData], **values: object) -> bool:
    return isinstance(fact.data, kind) and all(
        getattr(fact.data, name) == value for name, value in values.items()
    )


def states(facts: Sequence[Fact]) -> list[str]:
    return [fact.data.state for fact in facts if isinstance(fact.data, RouteTurned)]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[str], Played]:
    """Makes a night from its script."""
    return lambda text: Played(tmp_path, text)


Play = Callable[[str], Played]


# -- dead for an hour, and nobody asks ---------------------------------------------------


def test_a_route_whose_provider_stays_dead_is_never_closed_by_the_clock(play: Play) -> None:
    """Time alone proves nothing: closing after a while sends everybody into the same wall."""
    played = play(script("2h", TEN_MINUTES_OF_WORK, outage("10m", "2h")))
    facts = played.until(2 * HOUR)
    assert states(facts) == ["open"]
    assert DIES_AT < played.seconds(facts, RouteTurned)[0] < DIES_AT + 60


def test_a_dead_provider_is_asked_for_a_sign_of_life_every_minute_and_for_nothing(
    play: Play,
) -> None:
    """The waits double from five seconds to a minute, all within a fifth; nothing is paid."""
    played = play(script("2h", TEN_MINUTES_OF_WORK, outage("10m", "2h")))
    facts = played.until(DIES_AT + HOUR)
    [opened] = played.seconds(facts, RouteTurned, state="open")
    checks = played.seconds(facts, RouteChecked, alive=False)
    waits = [later - before for before, later in pairwise([opened, *checks])]
    for wait, plain in zip(waits, [5, 10, 20, 40], strict=False):
        assert 0.8 * plain <= wait <= 1.2 * plain + 2
    # A turn of the loop that asks comes once a second, and the answer takes a moment.
    assert all(48 <= wait <= 72 + 2 for wait in waits[4:])
    assert len(checks) > 50
    assert not [one for one in facts if has(one, CallDispatched, probe=True)]


def test_what_looks_alive_and_is_dead_costs_at_most_25_paid_tries_an_hour(play: Play) -> None:
    """A host that lists its models while its answers are broken must not eat the night's money."""
    broken = outage("10m", "3h", 'kind = "malformed"', "/v1/chat")
    played = play(script("4h", TEN_MINUTES_OF_WORK, broken))
    facts = played.until(DIES_AT + 2 * HOUR)
    tries = played.seconds(facts, CallDispatched, probe=True)
    assert "closed" not in states(facts)
    assert max(sum(one <= other < one + HOUR for other in tries) for one in tries) == 25
    assert len(tries) > 30, "and it does not give up either"


def test_what_a_dead_provider_costs_is_the_tries_that_were_sent(play: Play) -> None:
    """Money that goes to nobody's work must be counted to the last try."""
    broken = outage("10m", "3h", 'kind = "malformed"', "/v1/chat")
    played = play(script("4h", TEN_MINUTES_OF_WORK, broken))
    facts = played.until(DIES_AT + HOUR)
    ends = {
        (one.run, one.path, one.data.attempt): one.data
        for one in facts
        if isinstance(one.data, CallSettled)
    }
    bought = [
        ends[one.run, one.path, one.data.attempt].spend_micro_usd
        for one in facts
        if isinstance(one.data, CallDispatched) and one.data.probe and one.run == PROBES
    ]
    assert len(bought) > 3
    assert sum(bought) == len(bought) * bought[0] > 0, "all of them are one request at one price"
    # An answer that cannot be read has no bill, so what was reserved for it counts as spent.
    billed = played.night.model.meter.billed_micro_usd
    assert sum(one.spend_micro_usd for one in ends.values()) >= billed > 0


def test_a_second_outage_ten_minutes_after_recovery_is_noticed_and_asked_about_again(
    play: Play,
) -> None:
    """Having recovered once must not leave the route blind, or asking once an hour."""
    work = '[[stream]]\nkind = "chat"\nevery = "5s"'
    played = play(script("1h", work, outage("10m", "5m"), outage("26m", "3m")))
    facts = played.until(HOUR)
    opened = played.seconds(facts, RouteTurned, state="open")
    assert len(opened) == 2
    assert states(facts) == ["open", "probing", "ramp", "closed"] * 2
    first = min(one for one in played.seconds(facts, RouteChecked) if one > opened[1])
    assert first - opened[1] < 10, "the waits begin at five seconds again"
    assert played.seconds(facts, RouteTurned, state="ramp")[1] < 29 * 60 + 90


# -- half open ---------------------------------------------------------------------------


def test_of_twenty_that_wait_one_is_let_through_to_a_provider_that_may_be_back(
    play: Play,
) -> None:
    """Everybody at once is what kills a provider a second time."""
    crowd = "\n".join(
        f'[[stream]]\nkind = "chat"\nevery = "1h"\nsince = "{DIES_AT + number}s"'
        for number in range(40, 60)
    )
    played = play(script("30m", TEN_MINUTES_OF_WORK, crowd, outage("10m", "5m")))
    facts = played.until(1_800)
    [probing] = [n for n, one in enumerate(facts) if has(one, RouteTurned, state="probing")]
    [ramp] = [n for n, one in enumerate(facts) if has(one, RouteTurned, state="ramp")]
    let_through = [one for one in facts[probing:ramp] if isinstance(one.data, CallDispatched)]
    assert len(let_through) == 1
    assert let_through[0].run != "probe", "a call that waits is the try; nothing is bought for it"
    assert states(facts)[-1] == "closed"


def test_a_recovered_provider_is_loaded_step_by_step(play: Play) -> None:
    """One, then two, then four at once; the third proof in a row lets everybody in."""
    work = '[[stream]]\nkind = "chat"\nevery = "1s"'
    played = play(script("20m", work, outage("5m", "2m")))
    facts = played.until(1_200)
    [ramp] = [n for n, one in enumerate(facts) if has(one, RouteTurned, state="ramp")]
    [closed] = [n for n, one in enumerate(facts) if has(one, RouteTurned, state="closed")]
    under_way, most, proofs = 0, [0, 0, 0, 0], 1
    for one in facts[ramp:closed]:
        under_way += isinstance(one.data, CallDispatched)
        most[proofs] = max(most[proofs], under_way)
        if isinstance(one.data, CallSettled):
            under_way, proofs = under_way - 1, proofs + 1
    assert most[1:3] == [1, 2]


# -- crashes and clocks ------------------------------------------------------------------


def test_a_restart_while_open_keeps_the_rest_of_the_wait(play: Play) -> None:
    """A process that dies again and again must not ask a dead provider at every start."""
    played = play(script("2h", TEN_MINUTES_OF_WORK, outage("10m", "2h")))
    before = played.until(DIES_AT + 1_800)
    last = [one for one in before if isinstance(one.data, RouteChecked)][-1]
    assert isinstance(last.data, RouteChecked)
    due = (last.data.due - played.night.began) / SECOND
    assert due > DIES_AT + 1_800
    after = played.until(due + 30)
    checks = [one for one in played.seconds(after, RouteChecked) if one > DIES_AT + 1_800]
    assert len(checks) == 1
    assert due <= checks[0] <= due + 3


def test_a_house_that_starts_and_is_asked_for_nothing_is_healthy(play: Play) -> None:
    """No traffic is no failure."""
    played = play(script("1h"))
    facts = played.until(HOUR)
    assert not [one for one in facts if isinstance(one.data, RouteTurned | RouteChecked)]
    with played.night.open() as house, house.ledger.read() as reader:
        assert routes(reader) == []


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_wall_clock_that_is_set_by_an_hour_neither_frees_nor_freezes_a_route(
    play: Play, jump: int
) -> None:
    """Somebody sets the machine's clock at night; the provider is as dead as before."""
    dead = '[[provider.rule]]\nnth = "100-"\nfault = { kind = "reset" }'
    played = play(script("2h", TEN_MINUTES_OF_WORK) + dead)
    before = played.until(DIES_AT + 1_200)
    assert states(before) == ["open"]
    after = played.until(DIES_AT + 1_800, jump=jump)
    assert states(after) == ["open"]
    monos = [one.mono for one in after[len(before) :] if isinstance(one.data, RouteChecked)]
    waits = [(later - earlier) / SECOND for earlier, later in pairwise(monos)]
    assert 8 <= len(monos) <= 12
    assert all(48 <= wait <= 72 + 2 for wait in waits)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_wall_clock_that_is_set_while_the_house_works_keeps_the_steps_of_recovery(
    play: Play, jump: int
) -> None:
    """Waits are steady time; the date only says when they were."""
    dead = '[[provider.rule]]\nnth = "100-"\nfault = { kind = "reset" }'
    played = play(script("2h", TEN_MINUTES_OF_WORK) + dead)
    night = played.night

    async def main(house: House) -> None:
        playing = asyncio.create_task(night.play(house, until=at(DIES_AT + 1_800)))
        await night.clock.sleep(at(DIES_AT + 1_200))
        night.clock.jump(Micros(jump * SECOND))
        await playing

    with night.open() as house:
        run_virtual(night.clock, main(house))
        facts = list(played.facts(house))
    assert states(facts) == ["open"]
    monos = [one.mono / SECOND for one in facts if isinstance(one.data, RouteChecked)]
    late = [later - earlier for earlier, later in pairwise(monos) if later > DIES_AT + 600]
    assert all(48 <= wait <= 72 + 2 for wait in late)


# -- our own queue -----------------------------------------------------------------------


def test_a_crowd_that_waits_for_our_own_connections_is_no_outage(play: Play) -> None:
    """After an outage everybody comes at once; that there are thirty connections is our doing."""
    work = '[[stream]]\nkind = "chat"\nevery = "1s"'
    played = play(script("15m", work, outage("5m", "4m")))
    facts = played.until(900)
    assert states(facts) == ["open", "probing", "ramp", "closed"]
    dispatched = [one for one in facts if isinstance(one.data, CallDispatched)]
    assert len(dispatched) > 800


# -- somebody waits in front of it -------------------------------------------------------


def test_a_route_learns_from_attempts_in_whose_place_something_else_was_served(
    play: Play,
) -> None:
    """A gallery serves after a second and a half; its provider may be dead all the same."""
    watched = '[[stream]]\nkind = "image"\nevery = "20s"\npatience = "interactive"'
    slow = '[[provider.pace]]\npath = "/v1/images"\nmedian = "20s"\nsigma = 0.25'
    dies = outage("30m", "20m", 'kind = "server"')
    played = play(script("1h", watched, dies) + slow)
    facts = played.until(HOUR)
    assert len([one for one in facts if has(one, RouteHeard, fault="")]) > 80
    assert states(facts) == ["open", "probing", "ramp", "closed"]
    opened, back = played.seconds(facts, RouteTurned)[:2]
    sent = played.seconds(facts, CallDispatched)
    assert not [one for one in sent if opened < one < back], "and nobody is kept waiting for it"
    with played.night.open() as house, house.ledger.read() as reader:
        [row] = routes(reader)
    assert row.basis == "p95", "the limit is learned from answers that came late"
