"""The simulator without sockets: a transport that plays scripts under any clock.

What it is not: a second simulator.  `SimModel` decides; this waits, sends and breaks off.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable

import httpx2

from tildawn.clock import Clock
from tildawn.providers.sim.model import SimModel
from tildawn.providers.sim.script import Action, Asked, Cut, Data, Hang, Head, Wait
from tildawn.units import Micros


FOREVER = Micros(10 * 365 * 24 * 3_600 * 1_000_000)
"""How long a hang lasts for the clock: longer than any test."""


class SimTransport(httpx2.AsyncBaseTransport):
    """Answers in place of the network; a call that is cancelled counts as a disconnect."""

    def __init__(self, model: SimModel, *, clock: Clock) -> None:
        """Take the provider and the clock by which it waits."""
        self._model = model
        self._clock = clock

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Play the script up to the head of the answer.

        Raises:
            httpx2.RemoteProtocolError: the script closes the connection before that.
        """
        await _tell(request)
        body = await request.aread()
        asked = Asked(
            method=request.method,
            path=request.url.path,
            headers={key.lower(): value for key, value in request.headers.items()},
            body=body,
            origin=f"{request.url.scheme}://{request.url.netloc.decode()}",
        )
        play = _Play(list(self._model.script(asked, now=self._clock.wall())), self)
        head = await play.head()
        headers = list(head.headers)
        if head.length is not None:
            headers.append(("content-length", str(head.length)))
        return httpx2.Response(head.status, headers=headers, stream=play)

    async def pause(self, wait: Micros) -> None:
        """Wait by the clock; being cancelled here is what a server sees as a disconnect.

        Raises:
            Nothing; a cancellation goes through.
        """
        ended = False
        try:
            await self._clock.sleep(wait)
            ended = True
        finally:
            self._model.meter.disconnects += not ended


class _Play(httpx2.AsyncByteStream):
    def __init__(self, actions: list[Action], stage: SimTransport) -> None:
        self._actions = actions
        self._stage = stage

    async def head(self) -> Head:
        while self._actions:
            action = self._actions.pop(0)
            if isinstance(action, Head):
                return action
            await self._step(action)
        message = "Server disconnected without sending a response."
        raise httpx2.RemoteProtocolError(message)

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        for action in self._actions:
            if isinstance(action, Data):
                yield action.data
            else:
                await self._step(action)

    async def _step(self, action: Action) -> None:
        if isinstance(action, Wait):
            await self._stage.pause(action.wait)
        elif isinstance(action, Hang):
            await self._stage.pause(FOREVER)
        elif isinstance(action, Cut):
            message = "peer closed connection without sending complete message body"
            raise httpx2.RemoteProtocolError(message)


async def _tell(request: httpx2.Request) -> None:
    trace: Callable[[str, dict[str, object]], Awaitable[None]] | None = request.extensions.get(
        "trace"
    )
    if trace is not None:
        await trace("http11.send_request_headers.started", {})
