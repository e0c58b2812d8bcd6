"""The simulator on both mounts, under a clock that tests move."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import httpx2
import msgspec
import pytest

from tildawn.providers.dialect import Dialect, dialect
from tildawn.providers.openai_compatible import OpenAiCompatible
from tildawn.providers.sim.model import SimModel
from tildawn.providers.sim.scenario import parse
from tildawn.providers.sim.server import SimServer
from tildawn.providers.sim.transport import SimTransport
from tildawn.providers.wire import Wires
from tildawn.testing.clock import ManualClock


@dataclass
class Stage:
    """One simulator and one provider that speaks to it."""

    model: SimModel
    provider: OpenAiCompatible
    wires: Wires
    clock: ManualClock
    url: str
    transport: httpx2.AsyncBaseTransport | None
    server: SimServer | None

    async def until(self, happened: Callable[[SimModel], bool]) -> None:
        """Wait until the simulator has seen something."""
        if self.server is not None:
            await self.server.until(happened)
        while not happened(self.model):  # noqa: ASYNC110  in process there is nobody to tell us
            await asyncio.sleep(0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["sockets", "in-process"])
def stage(
    request: pytest.FixtureRequest,
) -> Callable[..., AbstractAsyncContextManager[Stage]]:
    """Opens a simulator; every test that asks for it runs on both mounts."""
    on_sockets = request.param == "sockets"

    @asynccontextmanager
    async def opened(
        scenario: str = "",
        *,
        seed: int = 0,
        idempotency: bool = True,
        key: str | None = "sim",
        image_format: str | None = None,
        base: str = "sim",
    ) -> AsyncGenerator[Stage]:
        clock = ManualClock()
        model = SimModel(seed=seed, scenario=parse(scenario), idempotency=idempotency)
        row: Dialect = dialect(base)
        if image_format is not None:
            row = msgspec.structs.replace(row, image_format=image_format)
        async with SimServer(model, clock=clock) as server:
            transport = None if on_sockets else SimTransport(model, clock=clock)
            url = server.url if on_sockets else "http://sim"
            wires = Wires(clock=clock, transport=transport)
            provider = OpenAiCompatible(row, wires=wires, key=key, base_url=url + "/v1")
            yield Stage(
                model, provider, wires, clock, url, transport, server if on_sockets else None
            )
            await wires.aclose()

    return opened
