"""The ladder through the whole house: a provider that fails, and what the run is given instead."""

from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from tildawn.engine.engine import Engine
from tildawn.engine.owner import Options
from tildawn.engine.task import task
from tildawn.facts.call import CallAnsweredLate, CallDispatched, CallError, CallServed, CallSettled
from tildawn.facts.fact import Fact
from tildawn.guard.ladder import PATIENCE
from tildawn.guard.picture import check_picture
from tildawn.projections.run import RunRow
from tildawn.providers.sim.model import SimModel
from tildawn.providers.sim.scenario import parse
from tildawn.providers.sim.transport import SimTransport
from tildawn.runtime.context import Context
from tildawn.runtime.house import NAME, House
from tildawn.runtime.outside.kind import CallOptions
from tildawn.runtime.rehearsal.clock import VirtualClock, run_virtual
from tildawn.runtime.rehearsal.house import open_played
from tildawn.runtime.setting import SIMULATOR, ProviderSettings, RouteSettings, Settings
from tildawn.runtime.surroundings import Stage
from tildawn.runtime.working import working
from tildawn.units import SECOND, Micros, Seq


HOUR = 3_600 * SECOND
SIZE = 32


@task(name="ladder.ask")
async def ask(
    ctx: Context, kind: str, prompt: str, options: dict[str, str | int | list[str]]
) -> str:
    """One call; its answer as JSON."""
    size: dict[str, object] = {"size": f"{SIZE}x{SIZE}"} if kind == "image" else {}
    said: CallOptions = msgspec.convert({"repeat": "safe", **options}, CallOptions)
    answer = await ctx.outside("ask", kind, {"prompt": prompt, **size}, said)
    return msgspec.json.encode(answer).decode()


class Evening:
    """A house in virtual time, before a provider that follows a script."""

    def __init__(self, folder: Path, scenario: str, **route: Any) -> None:
        self.clock = VirtualClock()
        self.folder = folder / NAME
        self.settings = Settings(
            provider=ProviderSettings(name=SIMULATOR),
            route={"sim:*": RouteSettings(**route)} if route else {},
        )
        self.model = SimModel(seed=1, scenario=parse(scenario), began=self.clock.wall())
        self.facts: list[Fact] = []
        #: What went wrong with the primary, as told where something was served in its place.
        self.error: CallError | None = None
        #: JSON of what the last run gave back.
        self.result = ""

    def play(self, *asked: tuple[str, str, dict[str, Any]], wait: int = 5 * HOUR) -> list[str]:
        """Ask one after the other; the state of each run, or ``waiting`` after ``wait``."""

        async def main(house: House) -> list[str]:
            stage = Stage(SimTransport(self.model, clock=self.clock), Random(1))
            async with working(house, env={}, prepare=[_know], stage=stage):
                return [await self._one(house, *one, wait) for one in asked]

        with open_played(self.folder, self.settings, clock=self.clock, rng=Random(1)) as house:
            states = run_virtual(self.clock, main(house))
            with house.ledger.read() as reader:
                found = list(reader.facts(Seq(-1), -1))
                self.facts = [fact for _, fact in found if isinstance(fact, Fact)]
                for seq, fact in found:
                    if fact.kind == "RunDone":
                        self.result = reader.payload(seq, 0).decode()
                    if isinstance(fact.data, CallServed) and fact.data.error:
                        self.error = msgspec.json.decode(reader.payload(seq, 1), type=CallError)
            self.blobs = house.ledger.blobs
        return states

    async def _one(
        self, house: House, kind: str, prompt: str, options: dict[str, Any], wait: int
    ) -> str:
        said = Options(simulated=True)
        accepted = await house.owner.enqueue(ask, kind, prompt, options, options=said)
        until = self.clock.mono() + wait
        while self.clock.mono() < until:
            await self.clock.sleep(Micros(SECOND))
            with house.ledger.read() as reader:
                row = reader.get(RunRow, accepted.run)
            assert row is not None
            if row.state in {"done", "failed", "held"}:
                return row.state
        return "waiting"

    def of(self, kind: type[Any]) -> list[Any]:
        """What the facts of a kind say."""
        return [fact.data for fact in self.facts if isinstance(fact.data, kind)]

    def at(self, kind: type[Any]) -> int:
        """When the first fact of a kind was written."""
        return next(fact.at for fact in self.facts if isinstance(fact.data, kind))


def _know(engine: Engine) -> None:
    if engine.tasks.get(ask.name) is None:
        engine.tasks.add(ask)


ALL = ["exact", "related", "global", "procedural"]
DEAD = '[[rule]]\npath = "/v1/images"\nfault = { kind = "hang" }\n'


@pytest.fixture
def evening(tmp_path: Path, request: pytest.FixtureRequest) -> Evening:
    """An evening with the scenario of the test."""
    return Evening(tmp_path, getattr(request, "param", ""))


@pytest.mark.parametrize("evening", [DEAD], indirect=True)
def test_a_batch_that_allows_it_gets_a_placeholder_from_a_dead_provider(evening: Evening):
    """Tier, reason and the error of the primary are on record: nothing is passed off as drawn."""
    assert evening.play(("image", "a kettle", {"tiers": ALL})) == ["done"]
    [served] = evening.of(CallServed)
    assert (served.tier, served.instead, served.took_ms) == ("procedural", "timeout", 0)
    assert evening.error is not None
    assert evening.error.code == "timeout"
    assert {said.fault for said in evening.of(CallSettled)} == {"timeout"}


@pytest.mark.parametrize("evening", [DEAD], indirect=True)
def test_a_batch_that_allows_nothing_is_given_nothing(evening: Evening):
    """No silent downgrade, whatever is in stock or could be drawn."""
    assert evening.play(("image", "a kettle", {})) != ["done"]
    assert evening.of(CallServed) == []


OUTAGE = '[[rule]]\npath = "/v1"\nuntil = "40m"\nfault = { kind = "server", status = 503 }\n'


@pytest.mark.parametrize("evening", [OUTAGE], indirect=True)
def test_a_batch_that_allows_nothing_waits_for_the_primary(evening: Evening):
    """The night goes on with other work; when the provider is back, so is this call."""
    assert evening.play(("image", "a kettle", {})) == ["done"]
    last = evening.of(CallSettled)[-1]
    assert (last.final, last.fault) == (True, "")
    assert {said.tier for said in evening.of(CallDispatched)} == {""}
    assert evening.of(CallServed) == []


SPENT = '[[rule]]\npath = "/v1/images"\nnth = "1"\nfault = { kind = "quota" }\n'


@pytest.mark.parametrize("evening", [SPENT], indirect=True)
def test_another_allowed_model_answers_and_is_named(evening: Evening):
    """The dispatch says who was asked instead, and why."""
    options = {"accepts": ["sim-image-small"]}
    assert evening.play(("image", "a kettle", options)) == ["done"]
    first, second = evening.of(CallDispatched)
    assert (first.tier, second.tier, second.instead) == ("", "sim-image-small", "quota")
    assert second.model == "sim-image-small"
    assert second.route != first.route
    assert evening.of(CallServed) == []


BOTH = SPENT + '[[rule]]\npath = "/v1/images"\nnth = "2-"\nfault = { kind = "hang" }\n'


@pytest.mark.parametrize("evening", [BOTH], indirect=True)
def test_what_stands_in_is_timed_from_the_moment_the_last_model_was_left(evening: Evening):
    """The minutes that another model took are its own; the frame was not slow to light."""
    options = {"accepts": ["sim-image-small"], "tiers": ["procedural"]}
    first = ("chat", "so that the clock does not stand at nought", {})
    assert evening.play(first, ("image", "a kettle", options)) == ["done", "done"]
    [served] = evening.of(CallServed)
    assert (served.tier, served.took_ms) == ("procedural", 0)
    assert evening.at(CallServed) - evening.at(CallDispatched) > 100 * SECOND
    assert evening.error is not None
    assert evening.error.code == "quota"


ONCE = '[[rule]]\npath = "/v1/images"\nnth = "1"\nfault = { kind = "hang" }\n'


def test_a_primary_that_hangs_leaves_the_next_model_its_time(tmp_path: Path):
    """One deadline for all: whoever is first must not use it up."""
    evening = Evening(tmp_path, ONCE, deadline=Micros(100 * SECOND))
    options = {"accepts": ["sim-image-small"], "retry": 1}
    assert evening.play(("image", "a kettle", options)) == ["done"]
    first, second = evening.of(CallDispatched)
    # Of a hundred seconds, the forty-five that a picture is given at the least.
    assert (first.timeout_ms, second.tier, second.timeout_ms) == (55_000, "sim-image-small", 45_000)


REFUSED = '[[rule]]\npath = "/v1/images"\nfault = { kind = "refused" }\n'


@pytest.mark.parametrize("evening", [REFUSED], indirect=True)
def test_a_refusal_of_the_content_is_told_to_the_author_of_a_batch(evening: Evening):
    """Neither another model nor an old picture hides it."""
    options = {"accepts": ["sim-image-small"], "tiers": ALL}
    assert evening.play(("image", "a kettle", options)) == ["failed"]
    assert len(evening.of(CallDispatched)) == 1
    assert evening.of(CallServed) == []


SLOW = '[[rule]]\npath = "/v1/images"\nfault = { kind = "late", delay = "20s" }\n'


@pytest.mark.parametrize("evening", [SLOW], indirect=True)
def test_who_waits_is_served_after_a_moment_and_the_answer_comes_late(evening: Evening):
    """One and a half seconds to a picture; the one that was paid for comes, and is kept."""
    asked = ("image", "a kettle", {"patience": "interactive"})
    assert evening.play(asked) == ["done"]
    [served] = evening.of(CallServed)
    assert (served.tier, served.instead) == ("procedural", "patience")
    assert evening.at(CallServed) - evening.at(CallDispatched) == PATIENCE


@pytest.mark.parametrize("evening", [SLOW], indirect=True)
def test_a_picture_that_came_late_stands_in_for_the_next_request_like_it(evening: Evening):
    """What was paid for is worth more than a placeholder."""
    asked = ("image", "a kettle", {"patience": "interactive"})
    waits = ("chat", "wait a minute", {})
    assert evening.play(asked, *[waits] * 30, asked) == ["done"] * 32
    assert [one.tier for one in evening.of(CallServed)] == ["procedural", "exact"]
    assert len(evening.of(CallAnsweredLate)) >= 1


@pytest.mark.parametrize("evening", [DEAD], indirect=True)
def test_what_was_served_is_a_whole_picture_of_the_size(evening: Evening):
    """The run gets a value like any other."""
    evening.play(("image", "a kettle", {"patience": "interactive"}))
    [served] = evening.of(CallServed)
    assert served.picture is not None
    content = evening.blobs.get(served.picture.blob)
    check_picture(content, width=SIZE, height=SIZE)
    assert served.picture.blob in evening.result
