"""A witness on a real socket, under a clock that stands still."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from tildawn.clock import SystemClock
from tildawn.faces.witness.application import application
from tildawn.faces.witness.server import listening
from tildawn.ledger.note import Verifier
from tildawn.ledger.witness import Witness, make_witness, read_witness
from tildawn.providers.wire import Incoming, Outgoing, Wires
from tildawn.testing.clock import ManualClock
from tildawn.testing.log import GrowingLog


class Served:
    """A witness, where it is, and a client without opinions."""

    def __init__(self, url: str, witness: Witness, wires: Wires) -> None:
        """Take what runs."""
        self.url = url
        self.witness = witness
        self.key = witness.verifier.dump()
        self._wires = wires

    async def post(self, body: str | bytes) -> Incoming:
        """Submit something."""
        content = body if isinstance(body, bytes) else body.encode()
        return await self._send("POST", "add-checkpoint", content)

    async def get(self, path: str) -> Incoming:
        """Ask for something."""
        return await self._send("GET", path, None)

    async def _send(self, method: str, path: str, body: bytes | None) -> Incoming:
        out = Outgoing(method=method, url=f"{self.url}/{path}", body=body)
        return await self._wires.exchange(out, limit=100_000, any_status=True)


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Serves the same folder again, as after a restart."""
    folder = tmp_path / "witness"
    make_witness(folder, "witness.example/w1", bytes([3]) * 32)

    @asynccontextmanager
    async def serve_it(*logs: Verifier) -> AsyncGenerator[Served]:
        keys = logs or (GrowingLog(0).signer.verifier,)
        witness = Witness(folder, read_witness(folder), keys, wall=ManualClock().wall)
        wires = Wires(clock=SystemClock())
        async with listening("127.0.0.1", 0, application(witness)) as url:
            yield Served(url, witness, wires)
            await wires.aclose()

    return serve_it


@pytest.fixture
def anyio_backend() -> str:
    """The loop of the program."""
    return "asyncio"
