"""What a house reaches the outside with: provider, connections, prices, and the door.

What it is not: a call; those are made of it in `tildawn.runtime.outside`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx2

from tildawn.clock import Clock
from tildawn.guard.call import Door
from tildawn.guard.mode import MODE_VARIABLE, parse
from tildawn.guard.probe import Prober
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.providers.dialect import dialect
from tildawn.providers.openai_compatible import OpenAiCompatible
from tildawn.providers.port import Provider
from tildawn.providers.prices import Prices
from tildawn.providers.wire import Wires
from tildawn.runtime.outside.calls import Calls
from tildawn.runtime.outside.signs import ProviderSigns
from tildawn.runtime.outside.world import Models, World
from tildawn.runtime.policies import Policies
from tildawn.runtime.secret import Told, key_variable
from tildawn.runtime.setting import SIMULATOR, ProviderSettings, Settings


SIMULATED_MODELS = Models(chat="sim-chat", image="sim-image", embed="sim-embed")


@dataclass(frozen=True)
class Stage:
    """What stands in place of the world where a night is played: the other side, and chance."""

    transport: httpx2.AsyncBaseTransport
    rng: Random


class Surroundings:
    """The outside of one open house; belongs to one event loop once it is used."""

    def __init__(self, calls: Calls, door: Door, world: World, provider: Provider | None) -> None:
        """Join the parts; use `surroundings_of`."""
        self.calls = calls
        self.door = door
        self.prober = Prober(door, ProviderSigns(world))
        self._world = world
        self._provider = provider

    async def close(self) -> None:
        """Cancel what was abandoned and close every connection.

        Raises:
            Nothing.
        """
        await self.door.close()
        if self._provider is not None:
            await self._provider.aclose()
        await self._world.aclose()


def surroundings_of(
    ledger: Ledger,
    settings: Settings,
    *,
    clock: Clock,
    folder: Path,
    env: Mapping[str, str],
    stage: Stage | None = None,
) -> Surroundings:
    """Make the outside of a house; nothing is opened yet.

    Args:
        ledger: open.
        settings: which provider and models.
        clock: for deadlines.
        folder: where relative paths begin.
        env: keys, and what ``${NAME}`` stands for.
        stage: in place of the world.

    Raises:
        UnknownName: no provider has that name.
    """
    played = None if stage is None else stage.transport
    provider = provider_of(settings.provider, clock=clock, env=env, transport=played)
    world = World(
        ledger, clock, wires=Wires(clock=clock), prices=Prices.of(folder), connected=provider,
        models=models_of(settings.provider), env=Told(env, ledger.secrets), folder=folder,
    )  # fmt: skip
    seed = int.from_bytes(Ids(clock).random(8), "big")
    rng = Random(seed) if stage is None else stage.rng  # noqa: S311 - jitter of waits, no secret
    said = env.get(MODE_VARIABLE)
    policies = Policies(settings.route)
    door = Door(ledger, clock, rng, policies=policies.of, environment=parse(said) if said else None)
    return Surroundings(Calls(world, door, policies=policies), door, world, provider)


def provider_of(
    settings: ProviderSettings,
    *,
    clock: Clock,
    env: Mapping[str, str],
    transport: httpx2.AsyncBaseTransport | None = None,
) -> Provider | None:
    """The provider that the settings name, or None.

    The simulator without an address answers inside of this process.

    Raises:
        UnknownName: no provider has that name.
    """
    if not settings.name:
        return None
    row = dialect(settings.name)
    wires = Wires(clock=clock, transport=transport)
    key = env.get(key_variable(settings))
    if settings.name == SIMULATOR:
        key = key or SIMULATOR
        if not settings.base_url and transport is None:
            from tildawn.providers.sim.model import SimModel  # noqa: PLC0415 - rarely needed
            from tildawn.providers.sim.transport import SimTransport  # noqa: PLC0415

            wires = Wires(clock=clock, transport=SimTransport(SimModel(), clock=clock))
    return OpenAiCompatible(row, wires=wires, key=key, base_url=settings.base_url or None)


def models_of(settings: ProviderSettings) -> Models:
    """Which model is asked where a call names none.

    Raises:
        Nothing.
    """
    usual = SIMULATED_MODELS if settings.name == SIMULATOR else Models()
    return Models(
        chat=settings.chat_model or usual.chat, image=settings.image_model or usual.image,
        embed=usual.embed,
    )  # fmt: skip
