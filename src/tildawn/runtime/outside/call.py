"""Calls that users declare: a function that touches the outside, and its policy.

What it is not: a step.  A call may happen in the world without our hearing of it, so it says
whether it may be repeated and how to find out what became of it.
"""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

import msgspec

from tildawn.engine.task import Arguments, check_name, declared_types
from tildawn.engine.value import Codec
from tildawn.errors import BadTask
from tildawn.guard.request import Absent, Answer, Attempt, Found, Unclear, queue_time
from tildawn.guard.stream import limited
from tildawn.providers.fault import Fault
from tildawn.providers.http import HttpAnswer, HttpRequest, send
from tildawn.providers.port import (
    Bill,
    ChatAnswer,
    ChatDelta,
    ChatRequest,
    ImageAnswer,
    ImageRequest,
    Message,
    Wire,
)
from tildawn.runtime.outside.kind import CallOptions, Prepared, refuse
from tildawn.runtime.outside.web import Method
from tildawn.runtime.outside.world import World, is_loopback
from tildawn.units import MILLISECOND, Micros, MicroUsd


P = ParamSpec("P")
R = TypeVar("R")


class Outside:
    """What a declared call gets: the hands, for the time of one attempt."""

    def __init__(self, world: World, attempt: Attempt, *, simulated: bool) -> None:
        """Made by the runtime for each attempt."""
        self._world = world
        self._limits = attempt
        self._wire = attempt.wire = Wire()
        self._streams: list[AsyncGenerator[ChatDelta]] = []
        self._simulated = simulated
        #: The same on every attempt of the same request; send it where the other side takes one.
        self.key = attempt.key
        #: From 1.
        self.attempt = attempt.number
        self.spend = MicroUsd(0)
        self.spend_known = True
        self.source = ""
        self.tokens_in = 0
        self.tokens_out = 0
        #: Milliseconds until the first piece of the first stream, without time in our queue.
        self.first_ms: int | None = None

    def env(self, name: str) -> str:
        """A variable of the environment; its value must not be returned or logged.

        Raises:
            Fault: it is not set.
        """
        try:
            return self._world.env[name]
        except KeyError:
            detail = f"the variable {name} is not set"
            raise refuse(detail) from None

    async def http(
        self,
        method: Method,
        url: str,
        *,
        json: object = None,
        headers: tuple[tuple[str, str], ...] = (),
        any_status: bool = False,
    ) -> HttpAnswer:
        """Send one request with the idempotency key of this call.

        Raises:
            Fault: no answer, or one that is no success.
        """
        if self._simulated and method not in {"GET", "HEAD"} and not is_loopback(url):
            detail = "a simulated night changes nothing beyond this machine"
            raise refuse(detail)
        request = HttpRequest(
            method=method,
            url=url,
            headers=headers,
            any_status=any_status,
            json=None if json is None else msgspec.json.encode(json).decode(),
        )
        return await send(
            request, wires=self._world.wires, idempotency_key=self.key, wire=self._wire
        )

    async def chat(
        self, prompt: str, *, system: str = "", model: str = "", max_tokens: int | None = None
    ) -> ChatAnswer:
        """Ask a language model.

        Raises:
            Fault: there is no usable answer.
        """
        request = self._asking(prompt, system, model, max_tokens)
        got = await self._world.provider.chat(request, idempotency_key=self.key, wire=self._wire)
        self._book(got.bill)
        return got

    def stream(
        self, prompt: str, *, system: str = "", model: str = "", max_tokens: int | None = None
    ) -> AsyncGenerator[ChatDelta]:
        """Ask a language model and hear the answer while it is made; the last piece has the bill.

        The limits of silence are the guard's, before the first piece and between two.  Whoever
        leaves early closes the generator (``contextlib.aclosing``), or it is closed with the
        attempt; its bill is then unknown, and the reservation is booked.

        Raises:
            Misused: there is no provider of models.
            Fault: while iterating: the answer broke off or is unusable.
            StreamTimeout: while iterating: it was silent for too long.
        """
        request = self._asking(prompt, system, model, max_tokens)
        source = self._world.provider.stream(request, idempotency_key=self.key, wire=self._wire)
        self._streams.append(self._heard(source))
        return self._streams[-1]

    async def _heard(self, source: AsyncGenerator[ChatDelta]) -> AsyncGenerator[ChatDelta]:
        billed, clock, wire = False, self._world.clock, self._wire
        began = clock.mono() - queue_time(wire, clock.mono())
        pieces = limited(
            source, clock=clock, first=self._limits.first, idle=self._limits.idle, wire=wire
        )
        try:
            async for piece in pieces:
                if self.first_ms is None:
                    took = clock.mono() - began - queue_time(wire, clock.mono())
                    self.first_ms = took // MILLISECOND
                if piece.bill is not None:
                    billed = True
                    self._book(piece.bill)
                yield piece
        finally:
            self.spend_known = self.spend_known and billed
            await pieces.aclose()

    async def close(self) -> None:
        """Close the streams that were left open; the end of the attempt does this.

        Raises:
            Nothing.
        """
        for stream in self._streams:
            await stream.aclose()

    def _asking(self, prompt: str, system: str, model: str, max_tokens: int | None) -> ChatRequest:
        asked = Message("user", prompt)
        return ChatRequest(
            model=model or self._world.models.chat,
            messages=(Message("system", system), asked) if system else (asked,),
            max_tokens=max_tokens or self._world.max_tokens,
        )

    async def image(self, prompt: str, *, size: str = "1024x1024", model: str = "") -> ImageAnswer:
        """Have a picture drawn.

        Raises:
            Fault: there is no usable picture.
        """
        request = ImageRequest(model=model or self._world.models.image, prompt=prompt, size=size)
        got = await self._world.provider.image(request, idempotency_key=self.key, wire=self._wire)
        self._book(got.bill, size=size)
        return got

    def _book(self, bill: Bill, *, size: str | None = None) -> None:
        cost = self._world.prices.actual(self._world.provider.name, bill, image_size=size)
        self.spend_known = self.spend_known and cost is not None
        if cost is not None:
            # Several bills that rest on different words are a sum of ours.
            self.source = cost.source if self.source in {"", cost.source} else "computed"
        self.spend = MicroUsd(self.spend + (0 if cost is None else cost.amount))
        self.tokens_in += bill.usage.input_tokens or 0
        self.tokens_out += bill.usage.output_tokens or 0


Lookup = Callable[..., Awaitable[Any]]


class CallDef(Generic[P, R]):
    """A declared call: what ``@call`` makes of an async function."""

    def __init__(
        self,
        function: Callable[..., Awaitable[R]],
        *,
        name: str,
        options: CallOptions,
        lookup: Lookup | None,
        key: str | None = None,
    ) -> None:
        """Check the declaration; see `call`."""
        self.function = function
        self.name = check_name(name, "call")
        self.options = options
        self.lookup = lookup
        self.key = key
        parameters, returns = declared_types(function, skip=1, what=f"call {name}")
        self.arguments = Arguments(parameters, what=f"call {name}")
        self.result = Codec(returns, where=f"the answer of call {name}")

    def using(
        self,
        *,
        key: str | None = None,
        max_cost: MicroUsd | None = None,
        timeout: Micros | None = None,
        retry: int | None = None,
    ) -> "CallDef[P, R]":
        """The same call with other limits or a natural key."""
        options = msgspec.structs.replace(
            self.options,
            max_cost=max_cost if max_cost is not None else self.options.max_cost,
            timeout=timeout if timeout is not None else self.options.timeout,
            retry=retry if retry is not None else self.options.retry,
        )
        return CallDef(
            self.function,
            name=self.name,
            options=options,
            lookup=self.lookup,
            key=key if key is not None else self.key,
        )

    def prepare(
        self, world: World, args: tuple[Any, ...], kwargs: dict[str, Any], *, simulated: bool
    ) -> Prepared:
        """Make one use of it ready for the door."""

        async def perform(attempt: Attempt) -> Answer:
            out = Outside(world, attempt, simulated=simulated)
            try:
                value = self.result.encode(await self.function(out, *args, **kwargs))
            finally:
                await out.close()
            return Answer(
                value=value,
                spend=out.spend,
                tokens_in=out.tokens_in,
                tokens_out=out.tokens_out,
                spend_source=out.source or "computed" if out.spend_known else "none",
                first_ms=out.first_ms,
            )

        return Prepared(
            route=self.options.route or self.name,
            model="",
            reserve=self.options.max_cost or MicroUsd(0),
            reserve_tokens=0,
            what=self.name,
            perform=perform,
            decode=self.result.decode,
        )

    def looking(
        self, world: World, args: tuple[Any, ...], kwargs: dict[str, Any], *, simulated: bool
    ) -> Callable[[Attempt], Awaitable[Found | Absent | Unclear]] | None:
        """How to find out what became of one use of it, or None."""
        if self.lookup is None:
            return None
        lookup = self.lookup

        async def look(attempt: Attempt) -> Found | Absent | Unclear:
            out = Outside(world, attempt, simulated=simulated)
            try:
                found = await lookup(out, *args, **kwargs)
            except Fault as fault:
                return Unclear(str(fault))
            finally:
                await out.close()
            return Absent() if found is None else Found(value=self.result.encode(found))

        return look


def call(
    *,
    name: str,
    route: str | None = None,
    repeat: str = "never",
    lookup: Lookup | None = None,
    timeout: Micros | None = None,
    max_cost: MicroUsd | None = None,
) -> Callable[[Callable[Concatenate[Outside, P], Awaitable[R]]], CallDef[P, R]]:
    """Declare a call to the outside.

    Args:
        name: stable name in the ledger.
        route: the class of calls that share resilience state; the name when absent.
        repeat: ``safe`` (doing it twice is harmless), ``keyed`` (harmless under one idempotency
            key) or ``never``.
        lookup: with the same arguments, finds out what became of it: the answer, or None where it
            did not happen.
        timeout: of each attempt.
        max_cost: reserved for each attempt.

    Returns:
        A decorator for ``async def f(out: Outside, …)``.

    Raises:
        BadTask: the function is not async, or has a type that cannot be recorded.
    """
    if repeat not in {"safe", "keyed", "never"}:
        message = f"repeat={repeat!r} of call {name}"
        raise BadTask(message, hint="one of safe, keyed, never")
    options = CallOptions(
        route=route, repeat=cast("Any", repeat), timeout=timeout, max_cost=max_cost
    )

    def declare(
        function: Callable[Concatenate[Outside, P], Awaitable[R]],
    ) -> CallDef[P, R]:
        if not inspect.iscoroutinefunction(function):
            message = f"{function!r} is not an async function"
            raise BadTask(message, hint="declare it with async def")
        return CallDef(function, name=name, options=options, lookup=lookup)

    return declare
