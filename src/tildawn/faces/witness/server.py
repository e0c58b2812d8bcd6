"""A witness on a TCP socket: of this machine alone unless it is told an address.

What it is not: protected.  Whoever reaches it may submit; only the signatures of logs count.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState


CONNECTIONS = 64
"""At once; more are answered with 503."""

IDLE_SECONDS = 10
"""How long a connection may take to begin a request, and may rest between two."""

GRACE = 2.0
"""Seconds that requests may take when the server ends."""


class Prompt(H11Protocol):
    """HTTP/1.1 that hangs up on whoever connects and does not finish the head of a request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Give it its time."""
        super().connection_made(transport)
        self.loop.call_later(IDLE_SECONDS, self._hurry)

    def _hurry(self) -> None:
        begun = self.cycle is not None  # pyright: ignore[reportUnnecessaryComparison]  None at first
        if not begun and not self.transport.is_closing():
            self.transport.abort()


@asynccontextmanager
async def listening(host: str, port: int, app: Starlette) -> AsyncGenerator[str]:
    """Serve an application on TCP while the block lasts.

    Args:
        host: an address of this machine.
        port: 0 takes a free one.
        app: what answers.

    Returns:
        Its address, such as ``http://127.0.0.1:8485``.

    Raises:
        OSError: the port cannot be opened.
    """
    config = Config(
        app, lifespan="off", access_log=False, log_config=None, ws="none",
        limit_concurrency=CONNECTIONS, timeout_keep_alive=IDLE_SECONDS, server_header=False,
    )  # fmt: skip
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: Prompt(config=config, server_state=state, app_state={}), host, port
    )
    try:
        yield _url(server.sockets[0])
    finally:
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=GRACE)


def _url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
