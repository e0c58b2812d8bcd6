"""The simulated work: requests of the wire format in, answers of the wire format out.

What it is not: faults, time or accounts; those are `model`'s.  Everything here is a pure
function of the request and the seed.
"""

import base64
import math
import re
import struct
from typing import Literal, Protocol

import msgspec

from tildawn.providers.sim.answer import Conforming, sentence, words_of
from tildawn.providers.sim.chance import Chance
from tildawn.providers.sim.drawing import MAX_SIDE, png


MODELS = ("sim-chat", "sim-embed", "sim-image")

EMBEDDING_SIZE = 64
"""The usual length of a simulated vector; small, so that records stay small."""

#: Source: the rule of thumb that providers print beside their tokenizers, 4 bytes a token.
_TOKEN_BYTES = 4


class BadRequest(Exception):
    """The request is answered with 400 and this text."""


class Worked(msgspec.Struct, frozen=True, kw_only=True):
    """A finished answer: its body, or the events of a stream, and what it is billed by."""

    model: str
    input_tokens: int
    output_tokens: int
    image_size: str | None = None
    body: dict[str, object]
    text: str | None = None
    stream: bool = False
    with_usage: bool = False


class _Said(msgspec.Struct):
    role: str
    content: "str | list[_Part]" = ""


class _Part(msgspec.Struct):
    type: str
    text: str = ""


class _JsonSchema(msgspec.Struct):
    schema: msgspec.Raw


class _Format(msgspec.Struct):
    type: str
    json_schema: _JsonSchema | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Chat(msgspec.Struct):
    model: str
    messages: list[_Said]
    response_format: _Format | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream: bool = False
    stream_options: _StreamOptions | None = None


class _Image(msgspec.Struct):
    prompt: str
    model: str = "sim-image"
    size: str = "1024x1024"
    n: int = 1
    seed: int = 0
    response_format: Literal["b64_json", "url"] = "b64_json"


class _Embed(msgspec.Struct):
    model: str
    input: str | list[str]
    dimensions: int = EMBEDDING_SIZE
    encoding_format: Literal["float", "base64"] = "float"


class _Desk(Protocol):
    def __call__(self, body: bytes, *, seed: int, origin: str) -> Worked: ...


def work(path: str, body: bytes, *, seed: int, origin: str) -> Worked | None:
    """Answer a POST.

    Args:
        path: such as ``/v1/chat/completions``.
        body: JSON.
        seed: the simulator's.
        origin: scheme and host of the simulator, for the addresses of pictures.

    Returns:
        The answer, or None if nothing is served there.

    Raises:
        BadRequest: the body cannot be served.
    """
    desk = _DESKS.get(path)
    if desk is None:
        return None
    try:
        return desk(body, seed=seed, origin=origin)
    except (msgspec.DecodeError, ValueError) as error:
        raise BadRequest(str(error)) from error


def prompt_of(body: bytes) -> str:
    """All words that a request asks with, for the rules of a scenario; may be empty.

    Raises:
        Nothing.
    """
    try:
        asked = msgspec.json.decode(body, type=_Prompts)
    except msgspec.DecodeError:
        return ""
    texts = [asked.prompt, *([asked.input] if isinstance(asked.input, str) else asked.input)]
    return "\n".join([*texts, *[_text(said) for said in asked.messages]])


def picture_at(path: str) -> bytes | None:
    """The picture at an address given out before, or None; the address says what is drawn.

    Raises:
        Nothing.
    """
    match = re.fullmatch(r"/sim/images/([0-9a-f]{16})-([1-9]\d{0,3})x([1-9]\d{0,3})\.png", path)
    if match is None or max(int(match[2]), int(match[3])) > MAX_SIDE:
        return None
    return png(match[1], int(match[2]), int(match[3]))


class _Prompts(msgspec.Struct):
    messages: list[_Said] = []
    prompt: str = ""
    input: str | list[str] = ""


def _chat(body: bytes, *, seed: int, origin: str) -> Worked:
    asked = msgspec.json.decode(body, type=_Chat)
    prompt = "\n".join(_text(said) for said in asked.messages if said.role != "assistant")
    own_words = "\n".join(_text(said) for said in asked.messages if said.role == "user")
    schema = _schema(asked)
    chance = Chance("chat", seed, asked.model, prompt, schema)
    words = words_of(own_words or prompt)
    text = sentence(words, chance)
    if schema:
        text = Conforming(schema, words=words, chance=chance).document()
    elif asked.response_format is not None and asked.response_format.type == "json_object":
        text = msgspec.json.encode({"answer": text}).decode()
    text, finish = _limited(text, asked.max_completion_tokens or asked.max_tokens)
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return Worked(
        model=asked.model,
        input_tokens=_tokens(prompt + schema),
        output_tokens=_tokens(text),
        body={"object": "chat.completion", "model": asked.model, "choices": [choice]},
        text=text,
        stream=asked.stream,
        with_usage=asked.stream_options is not None and asked.stream_options.include_usage,
    )


def _image(body: bytes, *, seed: int, origin: str) -> Worked:
    asked = msgspec.json.decode(body, type=_Image)
    match = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", asked.size)
    if match is None or asked.n != 1:
        message = f"size {asked.size!r} with n={asked.n}: give WIDTHxHEIGHT in pixels and n=1"
        raise BadRequest(message)
    digest = Chance("image", seed, asked.seed, asked.model, asked.prompt).digest().hex()[:16]
    address = f"/sim/images/{digest}-{asked.size}.png"
    drawn = picture_at(address)
    if drawn is None:
        message = f"size {asked.size!r} is beyond {MAX_SIDE} pixels a side"
        raise BadRequest(message)
    item = {"url": origin + address}
    if asked.response_format == "b64_json":
        item = {"b64_json": base64.b64encode(drawn).decode()}
    return Worked(
        model=asked.model,
        input_tokens=_tokens(asked.prompt),
        output_tokens=0,
        image_size=asked.size,
        body={"data": [item]},
    )


def _embed(body: bytes, *, seed: int, origin: str) -> Worked:
    asked = msgspec.json.decode(body, type=_Embed)
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    if not texts or not 1 <= asked.dimensions <= 4_096:  # noqa: PLR2004 as OpenAI's largest
        message = "give at least one text and 1 to 4096 dimensions"
        raise BadRequest(message)
    rows = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _encoded(_vector(text, asked.dimensions, seed), asked.encoding_format),
        }
        for index, text in enumerate(texts)
    ]
    return Worked(
        model=asked.model,
        input_tokens=sum(_tokens(text) for text in texts),
        output_tokens=0,
        body={"object": "list", "model": asked.model, "data": rows},
    )


def _text(said: _Said) -> str:
    if isinstance(said.content, str):
        return said.content
    return "\n".join(part.text for part in said.content)


def _schema(asked: _Chat) -> str:
    chosen = asked.response_format
    if chosen is None or chosen.json_schema is None:
        return ""
    return bytes(chosen.json_schema.schema).decode()


def _limited(text: str, max_tokens: int | None) -> tuple[str, str]:
    if max_tokens is None or _tokens(text) <= max_tokens:
        return text, "stop"
    kept = text.encode()[: max_tokens * _TOKEN_BYTES].decode("utf-8", "ignore")
    return kept, "length"


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // _TOKEN_BYTES)


def _vector(text: str, size: int, seed: int) -> list[float]:
    """A unit vector: texts that share words lie near each other."""
    sums = [0] * size
    for word in words_of(text.lower()):
        chance = Chance("embed", seed, word)
        for _ in range(8):
            sums[chance.below(size)] += 1 if chance.below(2) else -1
    if not any(sums):
        sums[0] = 1
    length = math.sqrt(sum(x * x for x in sums))
    return [round(x / length, 8) for x in sums]


def _encoded(vector: list[float], encoding: str) -> list[float] | str:
    if encoding == "float":
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


_DESKS: dict[str, _Desk] = {
    "/v1/chat/completions": _chat,
    "/v1/images/generations": _image,
    "/v1/embeddings": _embed,
}
