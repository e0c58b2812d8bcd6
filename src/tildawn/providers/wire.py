"""The wire: one HTTP request out, one bounded answer in, every failure a `Fault`.

What it is not: a client with opinions.  It does not retry, follow redirects, keep cookies or
measure time; the caller bounds a call by cancelling it, and cancelling closes the socket.
"""

import asyncio
import ipaddress
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2
import msgspec

from tildawn.clock import Clock
from tildawn.ledger.secret import redact
from tildawn.providers.fault import (
    REDIRECTS,
    SUCCESS,
    Fault,
    FaultKind,
    kind_of_status,
    retry_after,
)
from tildawn.providers.port import Wire


#: Connections kept open to one host, and how many more may be open for a while; whoever comes
#: then waits, first come first served, and `Wire.queued` says how long.
KEPT_CONNECTIONS, EXTRA_CONNECTIONS = 20, 10

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

_FAULT_BODY_BYTES = 4_096
"""How much of a refusal is read; its reason is in the first lines."""


def is_inside(url: str) -> bool:
    """Whether an address is, as it is written, on this machine or in a network of our own.

    HOLE: a name that leads there is not looked up.

    Raises:
        Nothing; what is no address is not inside.
    """
    try:
        host = httpx2.URL(url).host
        return host.endswith("localhost") or not ipaddress.ip_address(host).is_global
    except (httpx2.InvalidURL, ValueError):
        return False


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A request as bytes; ``secrets`` are values that must not show up in a fault."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    secrets: tuple[str, ...] = ()


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as bytes; header names are in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header given in lower case, or None.

        Raises:
            Nothing.
        """
        return next((value for key, value in self.headers if key == name), None)


class Wires:
    """One pool of connections for each host, and one queue before it.

    Waiting for a free connection is told to `Wire` and is nobody's latency; the pool inside the
    client never makes anybody wait.  Bound to the event loop on which it is first used.
    """

    def __init__(self, *, clock: Clock, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        """Take the clock (for dates in ``Retry-After``) and, in place of sockets, a transport."""
        self._clock = clock
        self._transport = transport
        self._hosts: dict[tuple[str, str, int | None], _Host] = {}
        self._tls: ssl.SSLContext | None = None

    async def exchange(
        self, out: Outgoing, *, limit: int, wire: Wire | None = None, any_status: bool = False
    ) -> Incoming:
        """Send a request and read its whole answer.

        Args:
            out: the request.
            limit: the longest body accepted, in bytes.
            wire: told when the request waits for a connection and when it starts to leave.
            any_status: return refusals and redirects as answers too.

        Returns:
            The answer, with a 2xx status unless ``any_status``.

        Raises:
            Fault: no answer, too long an answer, or one that is no success.
        """
        async with self.open(out, wire=wire, any_status=any_status) as opened:
            body = await opened.read(limit)
            return Incoming(status=opened.status, headers=opened.headers, body=body)

    @asynccontextmanager
    async def open(
        self, out: Outgoing, *, wire: Wire | None = None, any_status: bool = False
    ) -> AsyncGenerator["Opened"]:
        """Send a request and hold its answer open; leaving the block hangs up.

        Raises:
            Fault: see `exchange`; also from reading the body.
        """
        wire = wire or Wire()
        try:
            host, request = self._prepare(out, wire)
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, ValueError) as error:
            raise _fault(error, out, sent=False) from error
        async with host.slot(wire, self._clock), _sending(host.client, request, out, wire) as got:
            opened = Opened(got, out)
            if not any_status and got.status_code not in SUCCESS:
                raise await opened.refusal(self._clock)
            yield opened

    def _prepare(self, out: Outgoing, wire: Wire) -> "tuple[_Host, httpx2.Request]":
        url = httpx2.URL(out.url)
        if url.scheme not in {"http", "https"} or not url.host:
            message = f"{out.url!r} is no http or https address"
            raise httpx2.UnsupportedProtocol(message)
        host = self._host(url)

        async def trace(event: str, info: Mapping[str, object]) -> None:
            # Once the first byte of the head may have left, the other side may have it.
            if event.endswith("send_request_headers.started"):
                wire.sent = True

        headers = [("accept-encoding", "identity"), ("user-agent", "tildawn"), *out.headers]
        request = host.client.build_request(
            out.method, url, headers=headers, content=out.body, extensions={"trace": trace}
        )
        return host, request

    def _host(self, url: httpx2.URL) -> "_Host":
        origin = (url.scheme, url.host, url.port)
        if origin not in self._hosts:
            local = url.host in LOOPBACK
            client = httpx2.AsyncClient(
                transport=self._transport,
                verify=self._context(url.scheme),
                timeout=None,  # the caller bounds the whole call by cancelling it
                trust_env=not local,  # a proxy has no business between us and this machine
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                limits=httpx2.Limits(
                    max_connections=KEPT_CONNECTIONS + EXTRA_CONNECTIONS,
                    max_keepalive_connections=KEPT_CONNECTIONS,
                ),
            )
            self._hosts[origin] = _Host(client)
        return self._hosts[origin]

    def _context(self, scheme: str) -> ssl.SSLContext:
        if scheme == "http":
            # Never used; the real one reads all the certificates of the system.
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self._tls is None:
            self._tls = httpx2.create_ssl_context()
        return self._tls

    async def aclose(self) -> None:
        """Close all connections.

        Raises:
            Nothing.
        """
        hosts, self._hosts = list(self._hosts.values()), {}
        for host in hosts:
            await host.client.aclose()


class _Host:
    """The client of one host, and who may use it now."""

    __slots__ = ("_free", "client")

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client
        self._free = asyncio.Semaphore(KEPT_CONNECTIONS + EXTRA_CONNECTIONS)

    @asynccontextmanager
    async def slot(self, wire: Wire, clock: Clock) -> AsyncGenerator[None]:
        """Wait for one of the connections; first come, first served."""
        if self._free.locked():
            wire.queue(clock.mono())
            try:
                await self._free.acquire()
            finally:
                wire.unqueue(clock.mono())
        else:
            await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()


@asynccontextmanager
async def _sending(
    client: httpx2.AsyncClient, request: httpx2.Request, out: Outgoing, wire: Wire
) -> AsyncGenerator[httpx2.Response]:
    """Send, and close the answer in the end, whatever became of it."""
    try:
        response = await client.send(request, stream=True)
    except httpx2.RequestError as error:
        raise _fault(error, out, sent=wire.sent) from error
    try:
        yield response
    finally:
        await response.aclose()


class Opened:
    """An answer whose body is still on its way."""

    def __init__(self, response: httpx2.Response, out: Outgoing) -> None:
        """Wrap the response to a request."""
        self._response = response
        self._out = out
        self.status = response.status_code
        self.headers = tuple((k.lower(), v) for k, v in response.headers.multi_items())

    async def pieces(self, limit: int) -> AsyncIterator[bytes]:
        """The body as it comes, at most ``limit`` bytes in all.

        Raises:
            Fault: the body breaks off, cannot be decoded or is longer than ``limit``.
        """
        said = self._response.headers.get("content-length", "")
        if said.isascii() and said.isdecimal() and int(said[:20]) > limit:
            raise self._too_large(limit)  # not a byte of it is read
        total = 0
        try:
            async for piece in self._response.aiter_bytes():
                total += len(piece)
                if total > limit:
                    raise self._too_large(limit)
                yield piece
        except httpx2.RequestError as error:
            raise _fault(error, self._out, sent=True) from error

    async def read(self, limit: int) -> bytes:
        """The whole body, at most ``limit`` bytes.

        Raises:
            Fault: see `pieces`.
        """
        return b"".join([piece async for piece in self.pieces(limit)])

    def _too_large(self, limit: int) -> Fault:
        detail = f"the answer is longer than {limit} bytes"
        return Fault(FaultKind.TOO_LARGE, detail, sent=True, status=self.status)

    async def refusal(self, clock: Clock) -> Fault:
        """The fault that an answer outside 200-299 stands for.

        Raises:
            Nothing.
        """
        body = await self._beginning()
        headers = self._response.headers
        wait = retry_after(
            seconds_or_date=headers.get("retry-after"),
            millis=headers.get("retry-after-ms"),
            now=clock.wall(),
        )
        detail = f"HTTP {self.status}: {body.strip()}"
        if self.status in REDIRECTS:
            detail = f"HTTP {self.status}: redirected to {headers.get('location')}; ask there"
        return Fault(
            kind_of_status(self.status, body),
            redact(detail, *self._out.secrets),
            sent=True,
            status=self.status,
            retry_after=wait,
        )

    async def _beginning(self) -> str:
        got = b""
        try:
            async for piece in self._response.aiter_bytes():
                got += piece
                if len(got) >= _FAULT_BODY_BYTES:
                    break
        except httpx2.RequestError:
            pass  # the status alone says enough
        return got[:_FAULT_BODY_BYTES].decode("utf-8", "replace")


def _fault(error: Exception, out: Outgoing, *, sent: bool) -> Fault:
    kind = next((kind for cls, kind in _KINDS if isinstance(error, cls)), FaultKind.UNKNOWN)
    if kind is FaultKind.NETWORK and _is_tls(error, sent=sent):
        kind = FaultKind.TLS
    if isinstance(error, httpx2.RemoteProtocolError) and not _BROKEN_OFF.search(str(error)):
        kind = FaultKind.INVALID_ANSWER  # it is there, and speaks no HTTP that can be read
    if isinstance(error, httpx2.LocalProtocolError):
        sent = False  # bodies are bytes, so only a head can be illegal, and it stays here
    detail = f"{type(error).__name__}: {error}"
    return Fault(kind, redact(detail, *out.secrets), sent=sent)


def _is_tls(error: BaseException | None, *, sent: bool) -> bool:
    """Whether the two sides cannot agree on TLS; a line that went dead meanwhile is no such thing.

    After the first byte of the request only the other side's explicit alert counts.
    """
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    if error is None or isinstance(error, _LINE_WENT_DEAD):
        return False
    return not sent or "ALERT" in (error.reason or "")


_LINE_WENT_DEAD = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)

_BROKEN_OFF = re.compile(r"disconnected|closed connection", re.IGNORECASE)
"""How the library says that an answer broke off; other protocol errors are about its bytes."""

#: First match wins, so narrower classes come first.
_KINDS: tuple[tuple[type[Exception], FaultKind], ...] = (
    (httpx2.TimeoutException, FaultKind.TIMEOUT),
    (httpx2.LocalProtocolError, FaultKind.BAD_REQUEST),
    (httpx2.UnsupportedProtocol, FaultKind.BAD_REQUEST),
    (httpx2.DecodingError, FaultKind.INVALID_ANSWER),
    (httpx2.TransportError, FaultKind.NETWORK),
    (httpx2.InvalidURL, FaultKind.BAD_REQUEST),
    (ValueError, FaultKind.BAD_REQUEST),
)
