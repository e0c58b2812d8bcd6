"""Shapes: what may stand at a place of a plan, as data that both reads it and publishes it.

What it is not: a list of the places; those are the kinds (``kinds``) and the items (``layout``).
Each shape turns a node into a value or notes why not, and gives its JSON Schema.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tildawn.errors import BadValue
from tildawn.facts.plan import Entry, Fixed, ListOf, MapOf, Mode, Value
from tildawn.runtime.plan import document
from tildawn.runtime.plan.document import Node, Scalar
from tildawn.runtime.plan.problem import Mark, nearest
from tildawn.runtime.plan.reading import Reading
from tildawn.units import duration, usd


Schema = Mapping[str, object]
"""A JSON Schema."""

#: How messages call the root of the plan.
WHOLE = "the plan"

#: Integers that every JSON reader keeps exactly. Source: RFC 8259 section 6.
_INTEGER_MAX = 2**53 - 1


class Shape(Protocol):
    """What may stand at one place."""

    def read(self, node: Node, reading: Reading, what: str) -> Value | None:
        """The value of a node, or None with a problem noted; ``what`` names the place."""
        ...

    def schema(self) -> Schema:
        """The JSON Schema of what is read."""
        ...


@dataclass(frozen=True, slots=True)
class TextShape:
    """A text; with a mode it may be a template."""

    mode: Mode | None = None
    secrets: bool = False
    pattern: str | None = None
    #: How messages describe the pattern.
    form: str | None = None
    #: Whether an empty text is meant.
    empty: bool = False

    def read(self, node: Node, reading: Reading, what: str) -> Value | None:
        """See `Shape.read`."""
        if self.empty and isinstance(node, Scalar) and not node.text and not node.plain:
            return Fixed("")
        scalar = reading.text(node, what)
        if scalar is None:
            return None
        if self.mode is None:
            return self._literal(scalar, reading, what)
        return reading.template(scalar, mode=self.mode, what=what, secrets=self.secrets)

    def _literal(self, node: Scalar, reading: Reading, what: str) -> Value | None:
        if self.pattern is not None and re.fullmatch(self.pattern, node.text) is None:
            found = f"{what} is {node.text!r:.80}"
            reading.problems.add(node.mark, found, expected=self.form or self.pattern)
            return None
        if re.search(r"\{\{|\$\{", node.text):
            reading.problems.add(node.mark, f"a template in {what}", expected="plain text")
            return None
        return Fixed(node.text)

    def schema(self) -> Schema:
        """See `Shape.schema`; YAML readers of editors make numbers of some texts."""
        if self.pattern is not None:
            return {"type": "string", "pattern": f"^(?:{self.pattern})$"}
        return {"type": ["string", "number", "boolean"]}


@dataclass(frozen=True, slots=True)
class IntShape:
    """A whole number within bounds."""

    low: int
    high: int

    def read(self, node: Node, reading: Reading, what: str) -> Value | None:
        """See `Shape.read`."""
        scalar = reading.text(node, what)
        if scalar is None:
            return None
        fits = re.fullmatch(r"-?(0|[1-9][0-9]{0,15})", scalar.text) is not None
        if not fits or not self.low <= int(scalar.text) <= self.high:
            bounds = f"a whole number from {self.low} to {self.high}"
            expected = bounds if self.low < self.high else str(self.low)
            found = f"{what} is {scalar.text!r:.80}"
            reading.problems.add(scalar.mark, found, expected=expected)
            return None
        return Fixed(int(scalar.text))

    def schema(self) -> Schema:
        """See `Shape.schema`."""
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class ChoiceShape:
    """One of a few words."""

    options: tuple[str, ...]

    def read(self, node: Node, reading: Reading, what: str) -> Value | None:
        """See `Shape.read`."""
        scalar = reading.text(node, what)
        if scalar is None:
            return None
        if scalar.text not in self.options:
            reading.problems.unknown(scalar.mark, what + " is {}", scalar.text, self.options)
            return None
        return Fixed(scalar.text)

    def schema(self) -> Schema:
        """See `Shape.schema`."""
        return {"enum": list(self.options)}


@dataclass(frozen=True, slots=True)
class BoolShape:
    """``true`` or ``false``, and no other word for them."""

    def read(self, node: Node, reading: Reading, what: str) -> Value | None:
        """See `Shape.read`."""
        read = ChoiceShape(("true", "false")).read(node, reading, what)
        return Fixed(read.value == "true") if isinstance(read, Fixed) else None

    def schema(self) -> Schema:
        """See `Shape.schema`."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class UnitShape:
    """A text that a unit reads into an integer."""

    parse: Callable[[str], int]
    form: str
    pattern: str

    def read(self, node: Node, reading: Reading, what: str) -> Value | None:
        """See `Shape.read`."""
        scalar = reading.text(node, what)
        if scalar is None:
            return None
        try:
            amount = self.parse(scalar.text)
        except BadValue:
            amount = _INTEGER_MAX + 1
        if amount > _INTEGER_MAX:
            found = f"{what} is {scalar.text!r:.80}"
            reading.problems.add(scalar.mark, found, expected=self.form)
            return None
        return Fixed(amount)

    def schema(self) -> Schema:
        """See `Shape.schema`."""
        return {"type": ["string", "number"], "pattern": self.pattern, "description": self.form}


def _bounded_duration(text: str) -> int:
    # More digits than a lifetime needs, and Decimal work that grows with them.
    if len(text) > len("999999999d 23h 59m 59s 999ms"):
        message = "too long"
        raise BadValue(message)
    return duration(text)


def _bounded_usd(text: str) -> int:
    # The plain form only: units.usd also reads what Decimal does, such as 1e3.
    if re.fullmatch(r"\$?\s*[0-9]{1,9}(\.[0-9]{1,6})?", text.strip()) is None:
        message = "not plain"
        raise BadValue(message)
    return usd(text)


DURATION = UnitShape(
    _bounded_duration,
    "a duration such as 10m, 90s, 1h30m or 250ms",
    r"^(\d+(\.\d+)?\s*(ms|s|m|h|d))+$",
)
MONEY = UnitShape(
    _bounded_usd, 'an amount of US dollars such as "$5.00"', r"^\$?\s*\d+(\.\d{1,6})?$"
)


@dataclass(frozen=True, slots=True)
class JsonShape:
    """Any JSON, its texts templates.

    A plain scalar is a number, a truth or null only when JSON itself would write it so, and
    never in scientific notation; ``on``, ``yes``, ``010`` and ``1e3`` are texts.
    """

    mode: Mode = Mode.VALUE
    secrets: bool = False

    def read(self, node: Node, reading: Reading, what: str) -> Value | None:
        """See `Shape.read`."""
        if isinstance(node, document.Sequence):
            items = [self.read(item, reading, what) for item in node.items]
            return ListOf(tuple(item for item in items if item is not None))
        if isinstance(node, document.Mapping):
            return MapOf(tuple(self._entries(node, reading, what)))
        if node.plain and node.text in _JSON_WORDS:
            return Fixed(_JSON_WORDS[node.text])
        if node.plain and re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", node.text):
            return self._number(node, reading, what)
        return reading.template(node, mode=self.mode, what=what, secrets=self.secrets)

    def _entries(self, node: document.Mapping, reading: Reading, what: str) -> list[Entry]:
        entries: list[Entry] = []
        for key, child in node.entries:
            if re.search(r"\{\{|\$\{", key.text):
                reading.problems.add(
                    key.mark, f"a template in a key of {what}", expected="plain text"
                )
            value = self.read(child, reading, what)
            if value is not None:
                entries.append(Entry(key.text, value))
        return entries

    def _number(self, node: Scalar, reading: Reading, what: str) -> Value | None:
        exact = len(node.text) <= len(str(-_INTEGER_MAX))
        number = (float(node.text) if "." in node.text else int(node.text)) if exact else None
        if number is None or abs(number) > _INTEGER_MAX:
            found = f"{what} holds the number {node.text:.40}"
            expected = "at most 16 digits, or the digits as a text in quotes"
            reading.problems.add(node.mark, found, expected=expected)
            return None
        return Fixed(number)

    def schema(self) -> Schema:
        """See `Shape.schema`."""
        return {}


_JSON_WORDS = {"true": True, "false": False, "null": None, "": None}


@dataclass(frozen=True, slots=True)
class ListShape:
    """A list of one shape."""

    of: Shape
    least: int = 0

    def read(self, node: Node, reading: Reading, what: str) -> Value | None:
        """See `Shape.read`."""
        if not isinstance(node, document.Sequence):
            reading.problems.add(node.mark, f"{what} is no list", expected="a list: [a, b]")
            return None
        if len(node.items) < self.least:
            expected = f"at least {self.least}"
            reading.problems.add(
                node.mark, f"{what} has {len(node.items)} entries", expected=expected
            )
        items = [self.of.read(item, reading, f"an entry of {what}") for item in node.items]
        return ListOf(tuple(item for item in items if item is not None))

    def schema(self) -> Schema:
        """See `Shape.schema`."""
        return {"type": "array", "items": self.of.schema(), "minItems": self.least}


@dataclass(frozen=True, slots=True)
class MapShape:
    """Free names, all with values of one shape."""

    of: Shape

    def read(self, node: Node, reading: Reading, what: str) -> Value | None:
        """See `Shape.read`."""
        if not isinstance(node, document.Mapping):
            reading.problems.add(node.mark, f"{what} is no map", expected="a map: { name: value }")
            return None
        entries: list[Entry] = []
        for key, child in node.entries:
            value = self.of.read(child, reading, f"{key.text!r:.60} in {what}")
            if value is not None:
                entries.append(Entry(key.text, value))
        return MapOf(tuple(entries))

    def schema(self) -> Schema:
        """See `Shape.schema`."""
        return {"type": "object", "additionalProperties": self.of.schema()}


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One named place of a record."""

    name: str
    shape: Shape
    required: bool = False
    help: str = ""
    #: What stands in the compiled plan when the author wrote nothing.
    default: Value | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """One field as it was found: its value when it could be read, and where."""

    value: Value | None
    key: Mark
    node: Node


@dataclass(frozen=True, slots=True)
class RecordShape:
    """Named places, some required, no others."""

    fields: tuple[FieldSpec, ...]

    def read(self, node: Node, reading: Reading, what: str) -> Value | None:
        """See `Shape.read`."""
        held = self.held(node, reading, what)
        if held is None:
            return None
        return MapOf(tuple(Entry(n, h.value) for n, h in held.items() if h.value is not None))

    def held(self, node: Node, reading: Reading, what: str) -> dict[str, Held] | None:
        """The fields found, in the order of the file; None when the node is no map.

        Raises:
            Nothing.
        """
        if not isinstance(node, document.Mapping):
            expected = f"a map with {', '.join(spec.name for spec in self.fields)}"
            reading.problems.add(node.mark, f"{what} is no map", expected=expected)
            return None
        specs = {spec.name: spec for spec in self.fields}
        held: dict[str, Held] = {}
        misspelt: set[str | None] = set()
        for key, child in node.entries:
            spec = specs.get(key.text)
            if spec is None:
                reading.problems.unknown(key.mark, "unknown key {} in " + what, key.text, specs)
                misspelt.add(nearest(key.text, specs))
                continue
            value = spec.shape.read(child, reading, _within(key.text, what))
            held[key.text] = Held(value, key.mark, child)
        for spec in self.fields:
            if spec.required and spec.name not in held and spec.name not in misspelt:
                expected = f"{spec.name}: {spec.help or '…'}"
                found = f"{what} has no {spec.name!r}"
                reading.problems.add(node.mark, found, expected=expected)
        return held

    def schema(self) -> Schema:
        """See `Shape.schema`."""
        properties = {s.name: _described(s) for s in self.fields}
        required = [s.name for s in self.fields if s.required]
        return {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
            **({"required": required} if required else {}),
        }


def _within(name: str, what: str) -> str:
    return name if what == WHOLE else f"{name} in {what}"


def _described(spec: FieldSpec) -> Schema:
    return {**spec.shape.schema(), "description": spec.help} if spec.help else spec.shape.schema()


@dataclass(frozen=True, slots=True)
class SchemaShape:
    """The short form of an answer's schema, ``{ title: str, bullets: [str] }``; gives JSON Schema.

    A word is a type, a list of one entry is a list of it, a map is an object of which every
    field is required; ``?`` behind a word allows null.
    """

    def read(self, node: Node, reading: Reading, what: str) -> Value | None:
        """See `Shape.read`."""
        if not isinstance(node, document.Mapping) or not node.entries:
            found = f"{what} is no map of fields"
            reading.problems.add(node.mark, found, expected="{ title: str, bullets: [str] }")
            return None
        return self._object(node, reading, what)

    def _any(self, node: Node, reading: Reading, what: str) -> Value | None:
        if isinstance(node, document.Mapping):
            return self._object(node, reading, what)
        if isinstance(node, Scalar):
            return self._word(node, reading, what)
        if len(node.items) != 1:
            found = f"{len(node.items)} entries in a list of {what}"
            reading.problems.add(node.mark, found, expected="one type, such as [str]")
            return None
        items = self._any(node.items[0], reading, what)
        if items is None:
            return None
        return MapOf((Entry("type", Fixed("array")), Entry("items", items)))

    def _object(self, node: document.Mapping, reading: Reading, what: str) -> Value:
        read = [(key.text, self._any(child, reading, what)) for key, child in node.entries]
        fields = tuple(Entry(name, value) for name, value in read if value is not None)
        return MapOf(
            (
                Entry("type", Fixed("object")),
                Entry("properties", MapOf(fields)),
                Entry("required", ListOf(tuple(Fixed(entry.name) for entry in fields))),
                Entry("additionalProperties", Fixed(value=False)),
            )
        )

    def _word(self, node: Scalar, reading: Reading, what: str) -> Value | None:
        name = _TYPES.get(node.text.removesuffix("?"))
        if name is None:
            reading.problems.unknown(node.mark, "unknown type {} in " + what, node.text, _TYPES)
            return None
        if not node.text.endswith("?"):
            return MapOf((Entry("type", Fixed(name)),))
        return MapOf((Entry("type", ListOf((Fixed(name), Fixed("null")))),))

    def schema(self) -> Schema:
        """See `Shape.schema`."""
        return {"type": "object", "minProperties": 1, "additionalProperties": True}


_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
