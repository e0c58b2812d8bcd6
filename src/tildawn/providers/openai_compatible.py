"""The adapter to everything that speaks OpenAI's wire format, by dialect.

What it is not: a policy.  One call is one request; see `port` for what is promised.
"""

import base64
import binascii
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from tildawn.picture import read_picture
from tildawn.providers import reply, sse
from tildawn.providers.dialect import Dialect
from tildawn.providers.fault import Fault, FaultKind
from tildawn.providers.port import (
    Bill,
    Capabilities,
    ChatAnswer,
    ChatDelta,
    ChatRequest,
    EmbedAnswer,
    EmbedRequest,
    ImageAnswer,
    ImageRequest,
    Wire,
)
from tildawn.providers.wire import Outgoing, Wires, is_inside


TEXT_BYTES = 8 * 1024 * 1024
"""The longest answer in words or vectors; far above any model's longest output."""

IMAGE_BYTES = 64 * 1024 * 1024
"""The longest answer with a picture in it, as base64."""

_ID_CHARS = 200
"""The longest name of an answer that is kept."""


class OpenAiCompatible:
    """A provider at one address, in one dialect, with one key."""

    def __init__(
        self, dialect: Dialect, *, wires: Wires, key: str | None, base_url: str | None = None
    ) -> None:
        """Make the adapter.

        Args:
            dialect: how the host wants to be spoken to.
            wires: the pools of connections; shared with others, or our own.
            key: the secret key, or None; it is sent, and appears nowhere else.
            base_url: in place of the dialect's, up to and including ``/v1``.

        Raises:
            Nothing.
        """
        self._dialect = dialect
        self._wires = wires
        self._key = key
        self._base_url = (base_url or dialect.base_url).rstrip("/")

    @property
    def name(self) -> str:
        """See `Provider.name`."""
        return self._dialect.name

    @property
    def can(self) -> Capabilities:
        """See `Provider.can`."""
        return self._dialect.can

    async def chat(
        self, request: ChatRequest, *, idempotency_key: str, wire: Wire | None = None
    ) -> ChatAnswer:
        """See `Provider.chat`.

        Raises:
            Fault: there is no usable answer.
        """
        out = self._post("/chat/completions", self._chat_body(request), idempotency_key)
        got = await self._wires.exchange(out, limit=TEXT_BYTES, wire=wire)
        answer = reply.parse(got, reply.Chat)
        bill = self._bill(answer.model or request.model, answer.usage, answer.id)
        if not answer.choices:
            raise _invalid(_NO_CHOICES, bill)
        choice = answer.choices[0]
        _refuse_filtered(choice.message, choice.finish_reason, bill)
        text = choice.message.content
        if text is None:
            raise _invalid(_NO_TEXT, bill)
        json = None if request.schema is None else _json_in(text, bill)
        return ChatAnswer(text=text, json=json, finish=choice.finish_reason or "", bill=bill)

    async def stream(
        self, request: ChatRequest, *, idempotency_key: str, wire: Wire | None = None
    ) -> AsyncGenerator[ChatDelta]:
        """See `Provider.stream`.

        Raises:
            Fault: while iterating: the answer broke off or is unusable.
        """
        body = self._chat_body(request)
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
        out = self._post("/chat/completions", body, idempotency_key)
        finish, bill = None, Bill(model=request.model)
        async with (
            self._wires.open(out, wire=wire) as opened,
            aclosing(sse.events(opened.pieces(TEXT_BYTES))) as events,
        ):
            async for event in events:
                if event == "[DONE]":
                    break
                chunk = reply.decode(event.encode(), reply.Chunk)
                if chunk.usage is not None:
                    bill = self._bill(chunk.model or request.model, chunk.usage, chunk.id)
                for choice in chunk.choices:
                    finish = choice.finish_reason or finish
                    _refuse_filtered(choice.delta, choice.finish_reason, bill)
                    if choice.delta.content:
                        yield ChatDelta(text=choice.delta.content)
        if finish is None:
            raise _invalid(_NO_END, bill)
        yield ChatDelta(finish=finish, bill=bill)

    async def image(
        self, request: ImageRequest, *, idempotency_key: str, wire: Wire | None = None
    ) -> ImageAnswer:
        """See `Provider.image`; an address in the answer is fetched within the same call.

        Raises:
            Fault: there is no usable picture.
        """
        if not self.can.images:
            raise _cannot(self.name, "make pictures")
        body = self._image_body(request)
        out = self._post(self._dialect.images_path, body, idempotency_key)
        got = await self._wires.exchange(out, limit=IMAGE_BYTES, wire=wire)
        answer = reply.parse(got, reply.Images)
        bill = self._bill(request.model, answer.usage, got.header("x-request-id"))
        if not answer.data:
            raise _invalid(_NO_PICTURE, bill)
        data = await self._picture_bytes(answer.data[0], bill, wire)
        try:
            picture = read_picture(data)
        except ValueError as error:
            raise _invalid(str(error), bill) from error
        return ImageAnswer(
            data=data,
            media_type=picture.media,
            width=picture.width,
            height=picture.height,
            bill=bill,
        )

    async def embed(
        self, request: EmbedRequest, *, idempotency_key: str, wire: Wire | None = None
    ) -> EmbedAnswer:
        """See `Provider.embed`.

        Raises:
            Fault: there is no usable answer.
        """
        if not self.can.embeddings:
            raise _cannot(self.name, "make embeddings")
        body: reply.Body = {
            "model": request.model,
            "input": list(request.texts),
            "encoding_format": "float",
        }
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        out = self._post("/embeddings", body, idempotency_key)
        got = await self._wires.exchange(out, limit=TEXT_BYTES, wire=wire)
        answer = reply.parse(got, reply.Embeddings)
        bill = self._bill(answer.model or request.model, answer.usage, got.header("x-request-id"))
        rows = sorted(answer.data, key=lambda row: row.index)
        lengths = {len(row.embedding) for row in rows}
        in_order = [row.index for row in rows] == list(range(len(request.texts)))
        if not in_order or len(lengths) > 1 or 0 in lengths:
            raise _invalid(_NO_VECTORS, bill)
        return EmbedAnswer(vectors=tuple(row.embedding for row in rows), bill=bill)

    async def models(self, *, idempotency_key: str, wire: Wire | None = None) -> tuple[str, ...]:
        """See `Provider.models`.

        Raises:
            Fault: there is no usable answer.
        """
        out = self._out("GET", "/models", None, idempotency_key)
        got = await self._wires.exchange(out, limit=TEXT_BYTES, wire=wire)
        return tuple(model.id for model in reply.parse(got, reply.Models).data)

    async def aclose(self) -> None:
        """See `Provider.aclose`; closes the pools that were handed in.

        Raises:
            Nothing.
        """
        await self._wires.aclose()

    def _post(self, path: str, body: "reply.Body", idempotency_key: str) -> Outgoing:
        return self._out("POST", path, msgspec.json.encode(body), idempotency_key)

    def _out(self, method: str, path: str, body: bytes | None, key: str) -> Outgoing:
        headers = [("accept", "application/json, text/event-stream"), ("idempotency-key", key)]
        if body is not None:
            headers.append(("content-type", "application/json"))
        if self._key is not None:
            headers.append(("authorization", f"Bearer {self._key}"))
        return Outgoing(
            method=method,
            url=self._base_url + path,
            headers=tuple(headers),
            body=body,
            secrets=(self._key,) if self._key else (),
        )

    def _chat_body(self, request: ChatRequest) -> "reply.Body":
        messages: list[object] = [{"role": m.role, "content": m.content} for m in request.messages]
        body: reply.Body = {"model": request.model, "messages": messages}
        if request.schema is not None and self.can.json_schema:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": request.schema_name,
                    "strict": True,
                    "schema": msgspec.Raw(request.schema.encode()),
                },
            }
        elif request.schema is not None:
            messages.insert(0, {"role": "system", "content": _INSTRUCTION + request.schema})
        if request.max_tokens is not None:
            body[self._dialect.max_tokens] = request.max_tokens
        if request.temperature_milli is not None:
            body["temperature"] = request.temperature_milli / 1_000
        if request.seed is not None:
            body["seed"] = request.seed
        if request.stop:
            body["stop"] = list(request.stop)
        if self._dialect.ask_cost:
            body["usage"] = {"include": True}
        return body

    def _image_body(self, request: ImageRequest) -> "reply.Body":
        body: reply.Body = {"model": request.model, "prompt": request.prompt, "n": 1}
        if self._dialect.size:
            body["size"] = request.size
        if self._dialect.image_format is not None:
            body["response_format"] = self._dialect.image_format
        if request.quality is not None:
            body["quality"] = request.quality
        if request.seed is not None and self._dialect.seed_in_images:
            body["seed"] = request.seed
        return body

    async def _picture_bytes(self, item: reply.ImageItem, bill: Bill, wire: Wire | None) -> bytes:
        if item.b64_json:
            try:
                return base64.b64decode(item.b64_json, validate=True)
            except binascii.Error as error:
                detail = f"the picture is no base64: {error}"
                raise _invalid(detail, bill) from error
        if not item.url:
            raise _invalid(_NO_ADDRESS, bill)
        if is_inside(item.url) and not is_inside(self._base_url):
            raise _invalid(_INSIDE, bill)
        # The address may be on another host (a storage service), so the key stays at home.
        out = Outgoing(method="GET", url=item.url)
        try:
            return (await self._wires.exchange(out, limit=IMAGE_BYTES, wire=wire)).body
        except Fault as fault:
            # The picture was made, and paid for, even if it cannot be fetched.
            raise Fault(
                fault.kind,
                f"the picture was made but not fetched: {fault.detail}",
                sent=True,
                retry_after=fault.retry_after,
                cost=bill.cost,
            ) from fault

    def _bill(self, model: str, usage: reply.Usage | None, provider_id: str | None) -> Bill:
        usage = usage or reply.Usage()
        return Bill(
            model=model,
            usage=reply.counts(usage),
            cost=reply.cost(usage, self._dialect.cost),
            provider_id=provider_id and provider_id[:_ID_CHARS],
        )


def _refuse_filtered(said: reply.Said, finish: str | None, bill: Bill) -> None:
    if said.refusal or finish == "content_filter":
        detail = said.refusal or "the provider's filter cut the answer"
        raise Fault(FaultKind.REFUSED_CONTENT, detail, sent=True, cost=bill.cost)


def _json_in(text: str, bill: Bill) -> str:
    """The JSON document in the model's words, which may be fenced; its spelling is kept."""
    inner = text.strip()
    if inner.startswith("```") and inner.endswith("```"):
        inner = inner[3:-3].removeprefix("json").strip()
    try:
        msgspec.json.decode(inner)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        detail = f"the answer is no JSON: {error}"
        raise _invalid(detail, bill) from error
    return inner


def _invalid(detail: str, bill: Bill) -> Fault:
    return Fault(FaultKind.INVALID_ANSWER, detail, sent=True, cost=bill.cost)


def _cannot(name: str, what: str) -> Fault:
    return Fault(FaultKind.BAD_REQUEST, f"{name} cannot {what}", sent=False)


_INSTRUCTION = "Answer with one JSON document and nothing else. It must fit this JSON Schema:\n"

_NO_CHOICES = "the answer has no choices"
_NO_TEXT = "the answer holds no text"
_NO_END = "the stream ended before the answer did"
_NO_PICTURE = "the answer holds no picture"
_NO_VECTORS = "the answer has not one vector of one length for each text"
_INSIDE = "the address of the picture is one inside our own network, which no provider can know"
_NO_ADDRESS = "the answer holds neither a picture nor its address"
