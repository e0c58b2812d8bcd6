"""The socket of the holder of the pen: only its owner may connect.

What it is not: the operations; the application has those.
"""

import asyncio
import os
import socket
import struct
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from starlette.applications import Starlette
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from tildawn.runtime.holder import private_folder


_CREDENTIALS = "3i"
"""Process, user and group. Source: ``struct ucred`` in unix(7)."""

_LOCAL_PEERCRED, _SOL_LOCAL, _XUCRED = 1, 0, 76
"""Source: macOS ``sys/un.h`` and ``sys/ucred.h``; the user follows a version of four bytes."""

GRACE = 2.0
"""Seconds that requests may take when the holder leaves."""


def peer_user(connection: socket.socket) -> int:
    """The user at the other end of a Unix socket.

    Returns:
        The user's id, or -1 where the system does not tell.

    Raises:
        OSError: the connection is gone.
    """
    if sys.platform == "darwin":
        # HOLE: not run on macOS yet.
        raw = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED)
        return struct.unpack_from("Ii", raw)[1]
    if hasattr(socket, "SO_PEERCRED"):
        size = struct.calcsize(_CREDENTIALS)
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        return struct.unpack(_CREDENTIALS, raw)[1]
    return -1


class OwnersOnly(H11Protocol):
    """HTTP/1.1 for connections of the same user; others are closed before they say a word."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Look who it is."""
        connection = transport.get_extra_info("socket")
        if peer_user(connection) != os.getuid():
            transport.abort()
            return
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, if it was ever let in."""
        if getattr(self, "transport", None) is not None:
            super().connection_lost(exc)


@asynccontextmanager
async def listening(path: Path, app: Starlette) -> AsyncGenerator[None]:
    """Serve an application on a Unix socket while the block lasts.

    The caller holds the pen, so a socket that is there belongs to a dead process.

    Args:
        path: the socket; its folder is made, for us alone.
        app: what answers.

    Raises:
        HouseUnusable: somebody else can use the folder.
        OSError: the socket cannot be opened.
    """
    bound = _bind(path)
    config = Config(app, lifespan="off", access_log=False, log_config=None, ws="none")
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_unix_server(
        lambda: OwnersOnly(config=config, server_state=state, app_state={}), sock=bound
    )
    try:
        yield
    finally:
        server.close()
        _unbind(path)
        with suppress(OSError):  # something of somebody else lies there
            await asyncio.to_thread(path.parent.rmdir)
        for connection in list(state.connections):
            connection.shutdown()
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=GRACE)


def _bind(path: Path) -> socket.socket:
    private_folder(path.parent, make=True)
    _unbind(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(path))
        path.chmod(0o600)
    except OSError:
        bound.close()
        raise
    return bound


def _unbind(path: Path) -> None:
    path.unlink(missing_ok=True)
