"""The port to model providers: what can be asked, and what comes back.

What it is not: a client.  `openai_compatible` speaks to real ones and to the simulator.

Every adapter promises: one request on the wire for each call and no retry of its own; no time
limit of its own (cancelling the call closes its socket before the cancellation goes on); an
``Idempotency-Key`` header with the caller's key; a bounded answer; an error that is a `Fault`
or the caller's own cancellation and nothing else.  After an error the caller reads
`Fault.sent`, or `Wire.sent` after a cancellation, to learn whether the request may have arrived.
"""

from collections.abc import AsyncGenerator
from typing import Literal, Protocol

import msgspec

from tildawn.units import Micros, MicroUsd


class Wire:
    """How far a call got; handed in by the caller, who reads it when the call was cancelled.

    ``sent``: the request may have reached the other side.  ``queued``: microseconds waited so far
    for a free connection; that is our queue, not the other side's time.  ``queues_since``: the
    instant of `Clock.mono` at which the wait that is going on began, or None.
    """

    __slots__ = ("_waiting", "queued", "queues_since", "sent")

    def __init__(self) -> None:
        """Nothing has been sent yet."""
        self.sent = False
        self.queued = Micros(0)
        self.queues_since: Micros | None = None
        self._waiting = 0

    def queue(self, now: Micros) -> None:
        """A request of this call begins to wait for a connection.

        Raises:
            Nothing.
        """
        self._waiting += 1
        if self.queues_since is None:
            self.queues_since = now

    def unqueue(self, now: Micros) -> None:
        """It waits no longer; of requests that wait at the same time, the time counts once.

        Raises:
            Nothing.
        """
        self._waiting -= 1
        if self._waiting == 0 and self.queues_since is not None:
            self.queued = Micros(self.queued + now - self.queues_since)
            self.queues_since = None


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider can do; what it cannot is refused before anything is sent."""

    json_schema: bool
    images: bool
    embeddings: bool
    idempotency: bool
    reports_cost: bool


class Message(msgspec.Struct, frozen=True):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A question to a chat model.

    ``schema`` is a JSON Schema as JSON text; with it the answer carries `ChatAnswer.json`.
    ``temperature_milli`` is the temperature in thousandths, 0 to 2000.
    """

    model: str
    messages: tuple[Message, ...]
    schema: str | None = None
    schema_name: str = "answer"
    max_tokens: int | None = None
    temperature_milli: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()


class ImageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A wish for one picture; ``size`` is such as ``1024x1024``, in pixels."""

    model: str
    prompt: str
    size: str = "1024x1024"
    quality: str | None = None
    seed: int | None = None


class EmbedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Texts to be turned into vectors, in order."""

    model: str
    texts: tuple[str, ...]
    dimensions: int | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens, as counted by the provider; None where it gave no count."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer says about itself.

    ``cost`` is what the provider reports to have charged, rounded up, or None if it reports
    nothing; ``provider_id`` is the provider's own name for the answer, for its support desk.
    """

    model: str
    usage: Usage = Usage()
    cost: MicroUsd | None = None
    provider_id: str | None = None


class ChatAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The model's words; ``json`` is JSON text if a schema was asked for.

    The text parses as JSON then; whether it fits the schema is for the caller to check.
    ``finish`` is the provider's reason to stop, such as ``stop`` or ``length``.
    """

    text: str
    json: str | None
    finish: str
    bill: Bill


class ChatDelta(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a streamed answer; the last one carries ``finish`` and ``bill``."""

    text: str = ""
    finish: str | None = None
    bill: Bill | None = None


class ImageAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One picture: its bytes, ``image/png`` or the like, and its size in pixels."""

    data: bytes
    media_type: str
    width: int
    height: int
    bill: Bill


class EmbedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One vector for each text, in the order of the request, all of one length."""

    vectors: tuple[tuple[float, ...], ...]
    bill: Bill


class Provider(Protocol):
    """A model provider; the module says what each adapter promises."""

    @property
    def name(self) -> str:
        """The short name by which prices and routes know the provider."""
        ...

    @property
    def can(self) -> Capabilities:
        """What the provider can do."""
        ...

    async def chat(
        self, request: ChatRequest, *, idempotency_key: str, wire: Wire | None = None
    ) -> ChatAnswer:
        """Ask a chat model.

        Raises:
            Fault: there is no usable answer.
        """
        ...

    def stream(
        self, request: ChatRequest, *, idempotency_key: str, wire: Wire | None = None
    ) -> AsyncGenerator[ChatDelta]:
        """Ask a chat model and hear the answer while it is made.

        Close the generator (``contextlib.aclosing``) to hang up early.

        Raises:
            Fault: while iterating: the answer broke off or is unusable.
        """
        ...

    async def image(
        self, request: ImageRequest, *, idempotency_key: str, wire: Wire | None = None
    ) -> ImageAnswer:
        """Ask for a picture; the answer holds decodable bytes.

        Raises:
            Fault: there is no usable picture.
        """
        ...

    async def embed(
        self, request: EmbedRequest, *, idempotency_key: str, wire: Wire | None = None
    ) -> EmbedAnswer:
        """Ask for vectors.

        Raises:
            Fault: there is no usable answer.
        """
        ...

    async def models(self, *, idempotency_key: str, wire: Wire | None = None) -> tuple[str, ...]:
        """The names of the models on offer; free of charge, so it doubles as a sign of life.

        Raises:
            Fault: there is no usable answer.
        """
        ...

    async def aclose(self) -> None:
        """Close idle connections.

        Raises:
            Nothing.
        """
        ...
