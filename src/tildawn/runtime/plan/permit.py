"""The ``permit`` of an item: what its runs may do, as a place of a plan.

What it is not: a permit.  One is minted when the plan is accepted (`tildawn.apps.night.permits`).
"""

from collections.abc import Iterable
from typing import cast

from msgspec import UNSET, UnsetType

from tildawn.facts.permit import CALLS, GROUPS
from tildawn.facts.plan import Allowed, Fixed, ListOf, MapOf, Value
from tildawn.runtime.plan.shape import (
    DURATION,
    MONEY,
    ChoiceShape,
    FieldSpec,
    IntShape,
    ListShape,
    RecordShape,
    TextShape,
)
from tildawn.units import Micros, MicroUsd


OPERATIONS = (
    *(name for name, words in GROUPS.items() if set(words) <= set(CALLS)), *CALLS,
)  # fmt: skip
"""What calls do; what is asked of the house is no matter of a plan."""

_GLOB = TextShape(
    pattern=r"[^\s{}][^\n{}]{0,199}", form="a pattern such as shop:* or https://api.example.org/**"
)

PERMIT = RecordShape(
    (
        FieldSpec(
            "operations", ListShape(ChoiceShape(OPERATIONS)), required=True,
            help="what its calls may do; an empty list is nothing",
        ),
        FieldSpec("routes", ListShape(_GLOB, least=1), help="on which routes"),
        FieldSpec("resources", ListShape(_GLOB, least=1), help="to which URLs, files, programs"),
        FieldSpec("max_calls", IntShape(0, 1_000_000_000), help="how often, by all its runs"),
        FieldSpec("max_cost", MONEY, help="for how much, by all its runs"),
        FieldSpec("expires", DURATION, help="how long after the plan was accepted"),
    )
)  # fmt: skip


def allowed_of(value: Value | None) -> Allowed | UnsetType:
    """What was read at the place; unset where nothing stands there.

    Raises:
        Nothing.
    """
    if not isinstance(value, MapOf):
        return UNSET
    held = {entry.name: entry.value for entry in value.entries}
    return Allowed(
        operations=_words(held.get("operations")), routes=_words(held.get("routes")),
        resources=_words(held.get("resources")), max_calls=_number(held.get("max_calls")),
        max_cost=cast("MicroUsd | None", _number(held.get("max_cost"))),
        expires=cast("Micros | None", _number(held.get("expires"))),
    )  # fmt: skip


def _words(value: Value | None) -> tuple[str, ...]:
    items: Iterable[Value] = value.items if isinstance(value, ListOf) else ()
    return tuple(str(one.value) for one in items if isinstance(one, Fixed))


def _number(value: Value | None) -> int | None:
    return value.value if isinstance(value, Fixed) and isinstance(value.value, int) else None
