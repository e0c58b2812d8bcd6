"""A provider dies in the middle of a request, over real HTTP, and comes back.

Time goes fifty times as fast as the machine's, so that waits of seconds are over in moments; the
sockets, the house, its door and its loops are real.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tildawn.clock import SystemClock
from tildawn.engine.engine import Engine
from tildawn.engine.outcome import Artifact
from tildawn.engine.owner import Options
from tildawn.engine.task import task
from tildawn.facts.call import CallDispatched, CallServed, CallSettled
from tildawn.facts.fact import FactData
from tildawn.facts.route import RouteChecked, RouteTurned
from tildawn.guard.request import PROBES
from tildawn.providers.sim.model import SimModel
from tildawn.providers.sim.scenario import parse
from tildawn.providers.sim.server import SimServer
from tildawn.runtime.context import Context
from tildawn.runtime.house import House
from tildawn.runtime.outside.kind import CallOptions
from tildawn.runtime.setting import SIMULATOR, ProviderSettings, Settings
from tildawn.runtime.working import working
from tildawn.units import SECOND, Micros, Seq


D = TypeVar("D", bound=FactData)

FASTER = 50


class Hurried:
    """The machine's clocks, fifty times as fast."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._wall, self._mono = self._clock.wall(), self._clock.mono()

    def wall(self) -> Micros:
        return Micros(self._wall + self.mono())

    def mono(self) -> Micros:
        return Micros((self._clock.mono() - self._mono) * FASTER)

    async def sleep(self, wait: Micros) -> None:
        await self._clock.sleep(Micros(wait // FASTER + 1))


@task(name="picture")
async def picture(ctx: Context, number: int) -> Artifact:
    """Have a picture drawn; if nobody draws, an older one will do."""
    fields: dict[str, object] = {"prompt": f"a red kettle, {number}", "size": "64x64"}
    options = CallOptions(repeat="safe", tiers=("related", "global", "procedural"))
    return await ctx.outside("draw", "image", fields, options)


class Gallery:
    """A house at work, and what is on record in it."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.resting: dict[str, asyncio.Event] = {}
        house.engine.on_rest.append(self._rest)

    def _rest(self, run: str, _kind: str, _seq: Seq) -> None:
        self.resting.setdefault(run, asyncio.Event()).set()

    async def ask(self, number: int) -> str:
        accepted = await self.house.owner.enqueue(picture, number, options=Options(simulated=True))
        return accepted.run

    async def drawn(self, number: int) -> str:
        """Ask for a picture and wait for one; its run."""
        run = await self.ask(number)
        await self.resting.setdefault(run, asyncio.Event()).wait()
        return run

    def facts(self, kind: type[D], *, run: str | None = None) -> list[D]:
        with self.house.ledger.read() as reader:
            facts = [fact for _, fact in reader.facts(Seq(-1), -1, run=run)]
        return [fact.data for fact in facts if isinstance(fact.data, kind)]

    def states(self) -> list[str]:
        return [one.state for one in self.facts(RouteTurned)]

    async def until(self, happened: Callable[[], bool]) -> None:
        while not happened():
            await self.house.clock.sleep(SECOND)


def provider(port: int) -> SimServer:
    # A tenth of a second is five by the hurried clock: there is a middle of a request.
    scenario = parse('[[pace]]\npath = "/v1/images"\nmedian = "100ms"')
    return SimServer(SimModel(scenario=scenario), clock=SystemClock(), port=port)


def know(engine: Engine) -> None:
    engine.tasks.add(picture)


def test_a_provider_dies_in_the_middle_of_a_request_and_the_primary_serves_again_when_it_is_back(
    tmp_path: Path,
) -> None:
    """The whole way: answered, cut off, served from stock, taken out, asked, tried, back."""

    async def main() -> None:
        first = provider(0)
        async with first:
            url, port = f"{first.url}/v1", int(first.url.rpartition(":")[2])
            settings = Settings(provider=ProviderSettings(name=SIMULATOR, base_url=url))
            house = House.open(tmp_path / "house", settings, mode="write", clock=Hurried())
            with house:
                async with working(house, env={}, prepare=[know]):
                    await journey(Gallery(house), first, port)

    asyncio.run(main())


async def journey(gallery: Gallery, first: SimServer, port: int) -> None:
    # Well: the primary draws.
    run = await gallery.drawn(1)
    assert [one.fault for one in gallery.facts(CallSettled, run=run)] == [""]
    assert gallery.facts(CallServed) == []

    # It dies while it draws: the attempt is aborted, and an older picture is served.
    run = await gallery.ask(2)
    await first.until(lambda model: model.meter.requests == 2)
    await first.__aexit__(None, None, None)
    await gallery.resting.setdefault(run, asyncio.Event()).wait()
    assert {one.fault for one in gallery.facts(CallSettled, run=run)} == {"network"}
    [served] = gallery.facts(CallServed, run=run)
    assert served.tier in {"related", "global"}
    assert served.instead == "network"
    assert served.error != "", "what the primary said is kept"

    # It stays dead: the route is taken out of service, and nothing more is sent.
    await asyncio.gather(*(gallery.drawn(number) for number in range(3, 9)))
    assert gallery.states() == ["open"]
    run = await gallery.drawn(9)
    assert gallery.facts(CallDispatched, run=run) == []
    assert [one.instead for one in gallery.facts(CallServed, run=run)] == ["route-open"]
    await gallery.until(lambda: any(not one.alive for one in gallery.facts(RouteChecked)))
    assert "ramp" not in gallery.states()

    # It comes back: a free sign of life, one paid try as nobody waits, then the primary again.
    async with provider(port) as second:
        await gallery.until(lambda: "ramp" in gallery.states())
        assert gallery.states()[:3] == ["open", "probing", "ramp"]
        assert any(one.alive for one in gallery.facts(RouteChecked))
        assert len(gallery.facts(CallDispatched, run=PROBES)) == 1
        for number in (101, 102, 103):
            run = await gallery.drawn(number)
            assert [one.fault for one in gallery.facts(CallSettled, run=run)] == [""]
        assert gallery.states()[-1] == "closed"
        assert second.model.meter.answers == 4
