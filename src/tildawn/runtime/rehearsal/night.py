"""Plays a night: a real house, its door and its loops, against a provider that follows a script.

What it is not: a model of the guard.  The same code that calls providers at night calls here;
only time, chance and the other side are played.
"""

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from random import Random

from tildawn.engine.engine import Engine
from tildawn.engine.owner import Options
from tildawn.engine.task import task
from tildawn.guard.policy import Mode
from tildawn.providers.sim.model import SimModel
from tildawn.providers.sim.scenario import micros
from tildawn.providers.sim.transport import SimTransport
from tildawn.runtime.context import Context
from tildawn.runtime.house import NAME, House
from tildawn.runtime.outside.kind import CallOptions
from tildawn.runtime.rehearsal.account import Account, account_of
from tildawn.runtime.rehearsal.clock import VirtualClock, run_virtual
from tildawn.runtime.rehearsal.house import open_played
from tildawn.runtime.rehearsal.script import Script, Stream
from tildawn.runtime.setting import SIMULATOR, ProviderSettings, RouteSettings, Settings
from tildawn.runtime.surroundings import Stage
from tildawn.runtime.working import working
from tildawn.units import Micros, duration


MODES: tuple[Mode, ...] = ("on", "shadow", "off")

SIZE = "64x64"
"""Of pictures: what is played is their time and their price, not their beauty."""

_FIELDS: dict[str, dict[str, object]] = {"image": {"size": SIZE}, "chat": {"max_tokens": 64}}


@task(name="rehearsal.ask")
async def ask(ctx: Context, stream: Stream, number: int) -> None:
    """One call of a stream.

    Raises:
        CallFailed: nobody answered, and nothing stood in.
    """
    fields: dict[str, object] = {
        "prompt": f"{stream.kind} number {number}", **_FIELDS[stream.kind],
    }  # fmt: skip
    options = CallOptions(
        repeat="safe", patience=stream.patience, accepts=stream.accepts, tiers=stream.tiers
    )
    await ctx.outside("ask", stream.kind, fields, options)


class Night:
    """One night under one mode; `open` and `close` may alternate, as with crashes of a house."""

    def __init__(
        self,
        folder: Path,
        script: Script,
        *,
        mode: Mode,
        seed: int = 0,
        routes: Mapping[str, RouteSettings] | None = None,
    ) -> None:
        """Prepare it.

        Args:
            folder: for the house; empty at first.
            script: who asks when, and what becomes of the provider.
            mode: what ``GEN_BREAKER_ENABLED`` says.
            seed: fixes every throw of the dice.
            routes: other numbers than those that are shipped.
        """
        self.clock = VirtualClock()
        self.began = self.clock.wall()
        self.script = script
        self.mode: Mode = mode
        self._folder = folder / NAME
        self._rng = Random(seed)  # noqa: S311 - a played night, no secret
        self._settings = Settings(provider=ProviderSettings(name=SIMULATOR), route=routes or {})
        self.model = SimModel(seed=seed, scenario=script.scenario, began=self.began)

    def open(self) -> House:
        """Take the pen of the house.

        Raises:
            HouseUnusable: the disk will not do.
        """
        return open_played(self._folder, self._settings, clock=self.clock, rng=self._rng)

    async def play(self, house: House, *, until: Micros) -> None:
        """Work in the house up to an instant of steady time, which begins with the night.

        Raises:
            TildawnError: the house does not take what it must.
        """
        stage = Stage(SimTransport(self.model, clock=self.clock), self._rng)
        env = {"GEN_BREAKER_ENABLED": self.mode}
        async with working(house, env=env, prepare=[_know], stage=stage):
            streams = [asyncio.create_task(self._feed(house, one)) for one in self.script.stream]
            try:
                await self.clock.sleep(Micros(until - self.clock.mono()))
            finally:
                for one in streams:
                    one.cancel()
                await asyncio.gather(*streams, return_exceptions=True)

    async def _feed(self, house: House, stream: Stream) -> None:
        every, until = duration(stream.every), micros(stream.until or self.script.length)
        number, due = stream.next_after(self.clock.mono())
        while due < until:
            await self.clock.sleep(Micros(due - self.clock.mono()))
            await enqueue(house, stream, number)
            number, due = number + 1, Micros(due + every)


async def enqueue(house: House, stream: Stream, number: int) -> str:
    """Ask for one call of a stream; the name of its run.

    Raises:
        TildawnError: the house does not take it.
    """
    options = Options(label=f"{stream.kind} {number}", simulated=True)
    accepted = await house.owner.enqueue(ask, stream, number, options=options)
    return accepted.run


def _know(engine: Engine) -> None:
    if engine.tasks.get(ask.name) is None:
        engine.tasks.add(ask)


def play(script: Script, *, mode: Mode, seed: int = 0) -> Account:
    """Play a whole night in a temporary folder.

    Args:
        script: see `tildawn.runtime.rehearsal.script`.
        mode: on, shadow or off.
        seed: the same one gives the same night.

    Returns:
        What the guard did, and what came of it.

    Raises:
        TildawnError: the house does not take what it must.
    """
    with tempfile.TemporaryDirectory(prefix="tildawn-night-") as folder:
        night = Night(Path(folder), script, mode=mode, seed=seed)
        with night.open() as house:
            run_virtual(night.clock, night.play(house, until=duration(script.length)))
            return account_of(house.ledger, night.script, began=night.began, mode=mode)
