"""What one answer of a model may cost at worst, from the prices of a house, before there is a night.

What it is not: the reservation, which is made from the request itself as it leaves.
"""

from pathlib import Path

from tildawn.facts.plan import Fixed, ListOf, MapOf, Template, Text, Value
from tildawn.providers.dialect import dialect
from tildawn.providers.port import ChatRequest, ImageRequest, Message
from tildawn.providers.prices import Prices
from tildawn.runtime.outside.model import SIZE
from tildawn.runtime.outside.world import World
from tildawn.runtime.plan.showing import WorstCost
from tildawn.runtime.setting import Settings
from tildawn.runtime.surroundings import models_of
from tildawn.units import MicroUsd


FILLED_BYTES = 4_000
"""What a value that is filled into a prompt is counted as, since nobody knows it yet: a page of
text.  A longer one is reserved in full when the call leaves."""


def worst_costs(settings: Settings, folder: Path) -> WorstCost:
    """The worst case of a call, by the provider and the models that the settings name.

    Args:
        settings: of the house.
        folder: where the owner's ``prices.toml`` may be.

    Returns:
        What `tildawn.runtime.plan.show` asks; without a provider every price is unknown.

    Raises:
        BadSetting: the owner's prices cannot be read.
        UnknownName: no provider has the name of the settings.
    """
    name = settings.provider.name
    if not name:
        return lambda _kind, _fields, _model: None
    provider, prices, usual = dialect(name).name, Prices.of(folder), models_of(settings.provider)

    def worst(kind: str, fields: MapOf, model: str | None) -> MicroUsd | None:
        if kind == "chat":
            asked = _chat(fields, model or usual.chat)
        elif kind == "image":
            asked = ImageRequest(
                model=model or usual.image, prompt="", size=str(fields.plain("size") or SIZE)
            )
        else:
            return None
        found = prices.worst_case(provider, asked) if asked.model else None
        return None if found is None else found.amount

    return worst


def _chat(fields: MapOf, model: str) -> ChatRequest:
    length = sum(_length(fields.get(name)) for name in ("system", "prompt", "schema"))
    said = fields.plain("max_tokens")
    limit = said if isinstance(said, int) else World.max_tokens
    return ChatRequest(model=model, messages=(Message("user", "x" * length),), max_tokens=limit)


def _length(value: Value | None) -> int:
    """The most bytes of UTF-8 that a value has, with every template filled by a page."""
    if value is None:
        return 0
    if isinstance(value, Fixed):
        return len(str(value.value).encode())
    if isinstance(value, Template):
        return sum(
            len(part.text.encode()) if isinstance(part, Text) else FILLED_BYTES
            for part in value.parts
        )
    if isinstance(value, ListOf):
        return sum(_length(one) + 3 for one in value.items)
    return sum(len(entry.name.encode()) + _length(entry.value) + 6 for entry in value.entries)
