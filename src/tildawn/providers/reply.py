"""The answers of the wire format, as far as we read them.

What it is not: a full model of the format.  Unknown fields are ignored, so that a provider may
add some; a field that we need and do not find is an invalid answer.
"""

from decimal import ROUND_CEILING, Decimal
from typing import Annotated, TypeVar

import msgspec

from tildawn.providers import port
from tildawn.providers.dialect import CostField
from tildawn.providers.fault import Fault, FaultKind
from tildawn.providers.wire import Incoming
from tildawn.units import MicroUsd


Body = dict[str, object]
"""The body of a request on its way to JSON."""

COST_MOST = Decimal(10_000)
"""More dollars for one answer are a broken bill."""

TICKS_IN_DOLLAR = 10_000_000_000
"""Source: docs.x.ai/developers/cost-tracking."""

T = TypeVar("T")

Tokens = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
"""A thousand times what the largest models take; beyond it an answer says nonsense."""


class Cached(msgspec.Struct, frozen=True):
    """How much of the input was read from the provider's cache."""

    cached_tokens: Tokens | None = None


class Usage(msgspec.Struct, frozen=True):
    """Tokens and money, in the spellings of chat and of images."""

    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
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
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        start = body[:120].decode("utf-8", "replace")
        detail = f"the answer cannot be read: {error}; it begins with {start!r}"
        raise Fault(FaultKind.INVALID_ANSWER, detail, sent=True) from error


def counts(usage: Usage) -> port.Usage:
    """The tokens of an answer.

    Raises:
        Nothing; negative and absurd counts are refused when the answer is read.
    """
    cached = usage.prompt_tokens_details
    return port.Usage(
        input_tokens=_first(usage.prompt_tokens, usage.input_tokens),
        output_tokens=_first(usage.completion_tokens, usage.output_tokens),
        cached_tokens=None if cached is None else cached.cached_tokens,
    )


def cost(usage: Usage, field: CostField) -> MicroUsd | None:
    """What the provider says that it charged, rounded up, in its dialect's unit.

    Raises:
        Fault: the amount is negative or absurd.
    """
    dollars: Decimal | None = None
    if field is CostField.DOLLARS:
        dollars = usage.cost
    elif field is CostField.TICKS and usage.cost_in_usd_ticks is not None:
        dollars = Decimal(usage.cost_in_usd_ticks) / TICKS_IN_DOLLAR
    if dollars is None:
        return None
    if not dollars.is_finite() or not 0 <= dollars <= COST_MOST:
        detail = f"the answer reports a cost of {dollars:.6g} dollars, which cannot be"
        raise Fault(FaultKind.INVALID_ANSWER, detail, sent=True)
    return MicroUsd(int((dollars * 1_000_000).to_integral_value(ROUND_CEILING)))


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)
