"""The simulator on a real socket: HTTP/1.1 by hand, so that it can hang, drip and break off.

What it is not: a web server for anything else.  It reads what HTTP clients send and plays the
script that `SimModel` writes.
"""

import asyncio
import ipaddress
from collections.abc import Callable
from contextlib import suppress
from http.client import responses
from types import TracebackType
from typing import Self

from tildawn.clock import Clock
from tildawn.errors import BadSetting
from tildawn.providers.sim.model import SimModel
from tildawn.providers.sim.script import Action, Asked, Cut, Data, Hang, Head, Wait


MAX_HEAD, MAX_BODY = 64 * 1024, 32 * 1024 * 1024
"""The largest request that is read, in bytes; a longer one is hung up on."""


async def serve(
    *,
    clock: Clock,
    host: str = "127.0.0.1",
    port: int = 0,
    model: SimModel,
    on_ready: Callable[[str], None],
) -> None:
    """Serve until cancelled.

    Args:
        clock: by which the simulator waits.
        host: an address of this machine.
        port: 0 takes a free one.
        model: the provider; see `SimModel` for seed, scenario, key and idempotency.
        on_ready: told the address, such as ``http://127.0.0.1:8484``, once it is open.

    Raises:
        BadSetting: the host is not this machine.
        OSError: the port cannot be opened.
    """
    async with SimServer(model, clock=clock, host=host, port=port) as server:
        on_ready(server.url)
        await asyncio.Event().wait()


class SimServer:
    """A running simulator; an async context manager that ends with all its connections."""

    def __init__(
        self, model: SimModel, *, clock: Clock, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        """Take the provider and where to listen.

        Raises:
            BadSetting: the host is not this machine.
        """
        if host != "localhost" and not _loopback(host):
            message = f"the simulator listens on this machine only, not on {host!r}"
            raise BadSetting(message, hint="use 127.0.0.1")
        self.model = model
        self._clock = clock
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, self._host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening and hang up on everybody."""
        assert self._server is not None
        self._server.close()
        talks = list(self._talks)
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)

    @property
    def url(self) -> str:
        """The address, without ``/v1``."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def until(self, happened: Callable[[SimModel], bool]) -> None:
        """Wait until something is true of the provider, such as a disconnect on its meter.

        Raises:
            Nothing.
        """
        while not happened(self.model):
            self._changed.clear()
            await self._changed.wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None
        self._talks.add(talk)
        try:
            await self._talk(_Line(reader), writer)
        except (ConnectionError, EOFError, ValueError):
            # Hung up, or not HTTP (a line too long, half a request): nothing to answer.
            self.model.meter.disconnects += 1
        except asyncio.CancelledError:
            # Only `__aexit__` cancels; streams log a cancelled handler as an error, so end here.
            pass
        finally:
            self._talks.discard(talk)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self._changed.set()

    async def _talk(self, line: "_Line", writer: asyncio.StreamWriter) -> None:
        while (asked := await line.request(self.url)) is not None:
            script = self.model.script(asked, now=self._clock.wall())
            self._changed.set()
            playing = asyncio.ensure_future(self._play(script, writer))
            try:
                if not await line.open_while(playing):
                    self.model.meter.disconnects += 1
                    return
            finally:
                playing.cancel()
                await asyncio.gather(playing, return_exceptions=True)
            if not playing.result() or asked.headers.get("connection", "") == "close":
                return

    async def _play(self, script: tuple[Action, ...], writer: asyncio.StreamWriter) -> bool:
        """Do as written; whether the connection may go on."""
        chunked = False
        for action in script:
            match action:
                case Wait(wait):
                    await self._clock.sleep(wait)
                case Hang():
                    await asyncio.Event().wait()
                case Cut():
                    return False
                case Head():
                    chunked = action.length is None
                    writer.write(_head(action))
                case Data(data):
                    writer.write(_chunk(data) if chunked else data)
            await writer.drain()
        if chunked:
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        return True


class _Line:
    """The reading side of a connection."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._ahead = b""

    async def request(self, origin: str) -> Asked | None:
        """The next request, or None at a proper end."""
        first = await self._line()
        if not first:
            return None
        method, target, _ = first.split(" ", 2)
        headers = dict[str, str]()
        while text := await self._line():
            name, _, value = text.partition(":")
            headers[name.strip().lower()] = value.strip()
        return Asked(
            method=method,
            path=target.partition("?")[0],
            headers=headers,
            body=await self._body(headers),
            origin=f"http://{headers['host']}" if "host" in headers else origin,
        )

    async def open_while(self, playing: "asyncio.Future[bool]") -> bool:
        """Wait for the playing to end; False as soon as the other side hangs up."""
        listening = asyncio.ensure_future(self._reader.read(1))
        try:
            await asyncio.wait({playing, listening}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done() and not playing.done():
                self._ahead = listening.result()
                if not self._ahead:
                    return False
                await playing  # the other side talks ahead, which HTTP allows
            return True
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                self._ahead = await listening

    async def _line(self) -> str:
        ahead, self._ahead = self._ahead, b""
        line = ahead + await self._reader.readline()
        if len(line) > MAX_HEAD:
            raise ConnectionError
        return line.decode("latin-1").rstrip("\r\n")

    async def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return await self._chunks()
        size = int(headers.get("content-length", "0"))
        if size > MAX_BODY:
            raise ConnectionError
        return await self._reader.readexactly(size)

    async def _chunks(self) -> bytes:
        got = b""
        while size := int((await self._line()).partition(";")[0], 16):
            if len(got) + size > MAX_BODY:
                raise ConnectionError
            got += await self._reader.readexactly(size)
            await self._line()
        await self._line()
        return got


def _head(head: Head) -> bytes:
    length = (
        ("transfer-encoding", "chunked")
        if head.length is None
        else ("content-length", str(head.length))
    )
    lines = [f"HTTP/1.1 {head.status} {responses.get(head.status, '')}"]
    lines += [f"{name}: {value}" for name, value in (*head.headers, length)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""  # an empty one would be the end


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
