"""The places of a plan around its kinds: the night, the items, and the keys beside a kind.

What it is not: the order of reading, or what the places mean together (``compile``).
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from zoneinfo import available_timezones

from tildawn.facts.plan import Fixed, Lane, Mode, Once, Patience, Repeat, Value, When
from tildawn.runtime.plan.document import Node
from tildawn.runtime.plan.kinds import EvidenceKind, Kind, Registry
from tildawn.runtime.plan.permit import PERMIT
from tildawn.runtime.plan.problem import nearest
from tildawn.runtime.plan.reading import Reading
from tildawn.runtime.plan.shape import (
    DURATION,
    MONEY,
    BoolShape,
    ChoiceShape,
    FieldSpec,
    IntShape,
    JsonShape,
    ListShape,
    RecordShape,
    Schema,
    TextShape,
)


_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]"
#: Names appear in templates, routes, file names and URLs; this is safe in all of them.
STEP_NAME = r"[A-Za-z][A-Za-z0-9_]{0,63}"
ITEM_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_WORD = r"[^\s{}]{1,128}"


@dataclass(frozen=True, slots=True)
class LaterShape:
    """A place that is read by itself later; here it only has a schema."""

    published: Schema

    def read(self, node: Node, reading: Reading, what: str) -> Value | None:
        """See `Shape.read`; a placeholder."""
        del node, reading, what
        return Fixed(None)

    def schema(self) -> Schema:
        """See `Shape.schema`."""
        return self.published


@dataclass(frozen=True, slots=True)
class ZoneShape:
    """The name of a time zone as the IANA database has it."""

    def read(self, node: Node, reading: Reading, what: str) -> Value | None:
        """See `Shape.read`."""
        scalar = reading.text(node, what)
        if scalar is None:
            return None
        zones = available_timezones()
        if scalar.text in zones:
            return Fixed(scalar.text)
        found = f"{scalar.text!r:.80} is no time zone"
        expected = "a name such as Europe/Berlin"
        close = _likely(scalar.text, zones)
        reading.problems.add(scalar.mark, found, expected=expected, nearest=close)
        return None

    def schema(self) -> Schema:
        """See `Shape.schema`."""
        return {"type": "string", "examples": ["Europe/Berlin", "UTC"]}


def _likely(given: str, zones: set[str]) -> str | None:
    """A zone of the city named, else the one spelled most alike; always the same one."""
    city = re.sub(r"\s", "_", given.rsplit("/", 1)[-1].strip()).casefold()
    same = sorted(zone for zone in zones if zone.rsplit("/", 1)[-1].casefold() == city)
    return same[0] if same else nearest(given, sorted(zones))


def _choice(words: type[StrEnum]) -> ChoiceShape:
    return ChoiceShape(tuple(word.value for word in words))


_CLOCK_FORM = "a time of day such as 07:00"
_WINDOW_FORM = 'two times of day such as "23:00-06:30"'

NIGHT = RecordShape(
    (
        FieldSpec("window", TextShape(pattern=f"{_CLOCK}-{_CLOCK}", form=_WINDOW_FORM)),
        FieldSpec("zone", ZoneShape(), help="a time zone such as Europe/Berlin"),
        FieldSpec("report_at", TextShape(pattern=_CLOCK, form=_CLOCK_FORM)),
        FieldSpec("budget", MONEY),
        FieldSpec(
            "stop",
            RecordShape(
                (
                    FieldSpec("in_a_row", IntShape(1, 1_000_000)),
                    FieldSpec("total", IntShape(1, 1_000_000)),
                )
            ),
            help="after how many failures the night ends",
        ),
    )
)

NEED = RecordShape(
    (
        FieldSpec("item", TextShape(), required=True, help="the id of another item"),
        FieldSpec("when", _choice(When)),
    )
)

_MODEL = TextShape(pattern=_WORD, form="the name of a model")
#: Which tiers there are depends on the kind.
_TIER = TextShape(pattern=_WORD, form="the name of a tier")

GENERIC: tuple[FieldSpec, ...] = (
    FieldSpec("timeout", DURATION, help="the whole call, retries included"),
    FieldSpec("route", TextShape(pattern=_WORD, form="a name without spaces such as shop:create")),
    FieldSpec("repeat", _choice(Repeat), help="what a lost answer allows"),
    FieldSpec("max_cost", MONEY),
    FieldSpec("model", _MODEL),
    FieldSpec("retry", IntShape(0, 20), help="further tries after the first"),
    FieldSpec("accepts", ListShape(_MODEL, least=1), help="other models that may answer"),
    FieldSpec("tiers", ListShape(_TIER, least=1), help="what may stand in for an answer"),
    FieldSpec("patience", _choice(Patience), help="interactive where somebody waits for it"),
    FieldSpec("approve", BoolShape(), help="ask before doing it"),
)


def plan_shape(registry: Registry) -> RecordShape:
    """The whole plan.

    Raises:
        Nothing.
    """
    fields = item_shape(registry).fields
    live = RecordShape(tuple(spec for spec in fields if spec.name not in registry.reserved))
    work = ListShape(LaterShape(live.schema()), least=1)
    return RecordShape(
        (
            FieldSpec("version", IntShape(1, 1), required=True, help="1"),
            FieldSpec("night", NIGHT),
            FieldSpec("work", LaterShape(work.schema()), required=True, help="a list of items"),
        )
    )


def item_shape(registry: Registry) -> RecordShape:
    """One entry of ``work``.

    Raises:
        Nothing.
    """
    return RecordShape(
        (
            FieldSpec(
                "id",
                TextShape(pattern=ITEM_ID, form="letters, digits, '.', '_' and '-'"),
                required=True,
                help="a name such as listings",
            ),
            FieldSpec("title", TextShape()),
            FieldSpec("for_each", TextShape(), help="a CSV file: one run a row"),
            FieldSpec("key", TextShape(Mode.TEXT), help="what names a run: '{{ item.sku }}'"),
            FieldSpec(
                "subject",
                TextShape(Mode.TEXT),
                help="whom a run is about, for tildawn erase: '{{ item.customer }}'",
            ),
            FieldSpec("once", _choice(Once), help="within what keys are unique"),
            FieldSpec("budget", MONEY, help="for each run"),
            FieldSpec("budget_total", MONEY, help="for the whole item"),
            FieldSpec("steps", LaterShape(_steps_schema(registry))),
            FieldSpec("task", TextShape(), help="a Python task as module:function"),
            FieldSpec("input", JsonShape(), help="what the task is given"),
            FieldSpec("evidence", LaterShape(_evidence_schema(registry))),
            FieldSpec("needs", LaterShape(_needs_schema()), help="items that come first"),
            FieldSpec("concurrency", IntShape(1, 1_000), help="runs at the same time"),
            FieldSpec("priority", IntShape(-100, 100), help="higher goes first"),
            FieldSpec("model", _MODEL),
            FieldSpec("lane", _choice(Lane)),
            FieldSpec("must", BoolShape()),
            FieldSpec("when", TextShape(Mode.VALUE)),
            FieldSpec("trial", BoolShape()),
            FieldSpec("permit", PERMIT, help="what its runs may do; anything if left out"),
        )
    )


def _needs_schema() -> Schema:
    return {"type": "array", "items": {"anyOf": [{"type": "string"}, NEED.schema()]}}


def _steps_schema(registry: Registry) -> Schema:
    common = {s.name: s.shape.schema() for s in GENERIC if s.name not in registry.reserved}
    bodies = [_step_schema(kind, common) for kind in registry.kinds.values()]
    named = {"type": "object", "minProperties": 1, "maxProperties": 1}
    step = {
        **named,
        "propertyNames": {"pattern": f"^{STEP_NAME}$"},
        "additionalProperties": {"oneOf": bodies},
    }
    return {"type": "array", "minItems": 1, "items": step}


def _step_schema(kind: Kind, generic: Schema) -> Schema:
    own = {**kind.shape.schema(), "description": kind.help}
    has = {"model": kind.model, "accepts": kind.model, "tiers": kind.tiers, "patience": kind.tiers}
    beside = {name: said for name, said in generic.items() if has.get(name, True)}
    if kind.tiers:
        beside["tiers"] = ListShape(ChoiceShape(kind.tiers), least=1).schema()
    return {
        "type": "object",
        "properties": {kind.name: own, **beside},
        "required": [kind.name],
        "additionalProperties": False,
    }


def _evidence_schema(registry: Registry) -> Schema:
    checks = [_check_schema(kind) for kind in registry.evidence.values()]
    return {"type": "array", "items": {"oneOf": checks}}


def _check_schema(kind: EvidenceKind) -> Schema:
    own = {**kind.shape.schema(), "description": kind.help}
    return {
        "type": "object",
        "properties": {kind.name: own},
        "required": [kind.name],
        "additionalProperties": False,
    }
