"""The answers of the wire format, as far as we read them.

What it is not: a full model of the format.  Unknown fields are ignored, so that a provider may
add some; a field that we need and do not find is an invalid answer.
"""

from decimal import Decimal
from typing import TypeVar

import msgspec

from tildawn.providers.fault import Fault, FaultKind
from tildawn.providers.wire import Incoming


Body = dict[str, object]
"""The body of a request on its way to JSON."""

T = TypeVar("T")


class Cached(msgspec.Struct, frozen=True):
    """How much of the input was read from the provider's cache."""

    cached_tokens: int | None = None


class Usage(msgspec.Struct, frozen=True):
    """Tokens and money, in the spellings of chat and of images."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: Cached | None = None
    cost: Decimal | None = None
    cost_in_usd_ticks: int | None = None


class Said(msgspec.Struct, frozen=True):
    """A message, or a piece of one."""

    content: str | None = None
    refusal: str | None = None


class Choice(msgspec.Struct, frozen=True):
    """One of the answers."""

    message: Said
    finish_reason: str | None = None


class Chat(msgspec.Struct, frozen=True):
    """A whole answer."""

    choices: list[Choice]
    model: str | None = None
    id: str | None = None
    usage: Usage | None = None


class Piece(msgspec.Struct, frozen=True):
    """A piece of one of the answers."""

    delta: Said = Said()
    finish_reason: str | None = None


class Chunk(msgspec.Struct, frozen=True):
    """A piece of a stream; the last one has no choices but the usage."""

    choices: list[Piece]
    model: str | None = None
    id: str | None = None
    usage: Usage | None = None


class ImageItem(msgspec.Struct, frozen=True):
    """A picture, or where it is."""

    b64_json: str | None = None
    url: str | None = None


class Images(msgspec.Struct, frozen=True):
    """Pictures."""

    data: list[ImageItem]
    usage: Usage | None = None


class Vector(msgspec.Struct, frozen=True):
    """The vector of the text at ``index``."""

    index: int
    embedding: tuple[float, ...]


class Embeddings(msgspec.Struct, frozen=True):
    """Vectors."""

    data: list[Vector]
    model: str | None = None
    usage: Usage | None = None


class Model(msgspec.Struct, frozen=True):
    """A model on offer."""

    id: str


class Models(msgspec.Struct, frozen=True):
    """The models on offer."""

    data: list[Model]


def parse(got: Incoming, shape: type[T]) -> T:
    """The body of an answer in a given shape.

    Raises:
        Fault: it is no JSON or has another shape; the provider may have charged for it.
    """
    return decode(got.body, shape)


def decode(body: bytes, shape: type[T]) -> T:
    """JSON in a given shape.

    Raises:
        Fault: it is no JSON or has another shape.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        start = body[:120].decode("utf-8", "replace")
        detail = f"the answer cannot be read: {error}; it begins with {start!r}"
        raise Fault(FaultKind.INVALID_ANSWER, detail, sent=True) from error
