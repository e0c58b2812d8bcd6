"""The dialects of "OpenAI-compatible": what differs between hosts, as data.

What it is not: code.  `openai_compatible` reads a row and behaves; a new host is a new row.
"""

from enum import StrEnum
from typing import Literal

import msgspec

from tildawn.errors import UnknownName
from tildawn.providers.port import Capabilities


class CostField(StrEnum):
    """Where the usage object reports money."""

    NONE = "none"
    #: ``usage.cost`` in US dollars.
    DOLLARS = "cost"
    #: ``usage.cost_in_usd_ticks``, 10,000,000,000 to a dollar.
    TICKS = "cost_in_usd_ticks"


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """One row: how a host wants to be spoken to.

    ``key_needed`` is false where a missing key is normal.  ``size`` tells whether image requests
    may name a size, ``image_format`` what they ask for, None where asking is refused.
    """

    name: str
    base_url: str
    can: Capabilities
    key_needed: bool = True
    cost: CostField = CostField.NONE
    max_tokens: str = "max_tokens"
    ask_cost: bool = False
    images_path: str = "/images/generations"
    size: bool = True
    image_format: Literal["b64_json", "url"] | None = "b64_json"
    seed_in_images: bool = False


def dialect(name: str) -> Dialect:
    """The row of a name.

    Raises:
        UnknownName: there is no such row.
    """
    if name not in DIALECTS:
        message = f"no provider is called {name!r}"
        raise UnknownName(message, hint="one of " + ", ".join(DIALECTS))
    return DIALECTS[name]


def _can(
    *, images: bool = False, idempotency: bool = False, reports_cost: bool = False
) -> Capabilities:
    return Capabilities(
        json_schema=True,
        images=images,
        embeddings=True,
        idempotency=idempotency,
        reports_cost=reports_cost,
    )


_ROWS = (
    # Chat wants max_completion_tokens since the reasoning models; the gpt-image family always
    # answers with bytes and refuses response_format.
    Dialect(
        name="openai",
        base_url="https://api.openai.com/v1",
        can=_can(images=True),
        max_tokens="max_completion_tokens",
        image_format=None,
    ),
    # Source: openrouter.ai/docs, "Generate an image" and "Usage accounting".
    Dialect(
        name="openrouter",
        base_url="https://openrouter.ai/api/v1",
        can=_can(images=True, reports_cost=True),
        cost=CostField.DOLLARS,
        ask_cost=True,
        images_path="/images",
        image_format=None,
    ),
    # Source: docs.x.ai/developers/cost-tracking.
    Dialect(
        name="xai",
        base_url="https://api.x.ai/v1",
        can=_can(images=True, reports_cost=True),
        cost=CostField.TICKS,
        size=False,
    ),
    Dialect(name="ollama", base_url="http://127.0.0.1:11434/v1", can=_can(), key_needed=False),
    Dialect(name="vllm", base_url="http://127.0.0.1:8000/v1", can=_can(), key_needed=False),
    # A host that speaks the wire format but not response_format; the schema goes in words.
    Dialect(
        name="plain",
        base_url="http://127.0.0.1:8080/v1",
        can=Capabilities(
            json_schema=False,
            images=False,
            embeddings=True,
            idempotency=False,
            reports_cost=False,
        ),
        key_needed=False,
    ),
    Dialect(
        name="sim",
        base_url="http://127.0.0.1:8484/v1",
        can=_can(images=True, idempotency=True, reports_cost=True),
        cost=CostField.DOLLARS,
        seed_in_images=True,
    ),
)

DIALECTS = {row.name: row for row in _ROWS}
