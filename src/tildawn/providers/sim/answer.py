"""What the simulated model says: words of the prompt, in the shape of the schema.

What it is not: a language model.  Everything follows from prompt, schema and seed.
"""

import math
import re

import msgspec

from tildawn.providers.sim.chance import Chance


Scalar = str | int | float | bool | None

MAX_DEPTH = 8
"""How deep a recursive schema is followed before optional parts are left out."""


class Schema(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The keywords of JSON Schema that answers follow; others are ignored.

    HOLE: `pattern`, most of `format`, `not` and `if` are not followed.
    """

    type: str | list[str] | None = None
    properties: "dict[str, Schema]" = {}
    required: list[str] = []
    items: "Schema | bool | None" = None
    prefix_items: "list[Schema]" = []
    enum: list[Scalar] = []
    const: msgspec.Raw = msgspec.Raw()
    any_of: "list[Schema]" = []
    one_of: "list[Schema]" = []
    all_of: "list[Schema]" = []
    ref: str | None = msgspec.field(default=None, name="$ref")
    defs: "dict[str, Schema]" = msgspec.field(default_factory=dict, name="$defs")
    definitions: "dict[str, Schema]" = {}
    min_items: int | None = None
    max_items: int | None = None
    unique_items: bool = False
    min_length: int | None = None
    max_length: int | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    exclusive_minimum: int | float | None = None
    exclusive_maximum: int | float | None = None
    multiple_of: int | float | None = None
    format: str | None = None


def words_of(prompt: str) -> tuple[str, ...]:
    """The words of a prompt, each once, in order; never empty.

    Raises:
        Nothing.
    """
    found = re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", prompt)
    return tuple(dict.fromkeys(found)) or ("quiet", "night")


def sentence(words: tuple[str, ...], chance: Chance) -> str:
    """A line of text from the words.

    Raises:
        Nothing.
    """
    return _phrase(words, chance, chance.between(8, 20)) + "."


class Conforming:
    """Makes documents that fit a schema."""

    def __init__(self, schema: str, *, words: tuple[str, ...], chance: Chance) -> None:
        """Take the schema as JSON text, the words to build from, and the dice.

        Raises:
            ValueError: the text is no JSON Schema that can be followed.
        """
        self._root = msgspec.json.decode(schema, type=Schema)
        self._words = words
        self._chance = chance

    def document(self) -> str:
        """A JSON document that fits, as text.

        Raises:
            ValueError: a reference leads nowhere.
        """
        return msgspec.json.encode(self._value(self._root, 0)).decode()

    def _value(self, schema: Schema, depth: int) -> object:
        schema = self._resolved(schema, depth)
        if schema.const:
            return schema.const
        if schema.enum:
            return schema.enum[self._chance.below(len(schema.enum))]
        kind = self._kind(schema, depth)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        return self._scalar(schema, kind)

    def _scalar(self, schema: Schema, kind: str) -> Scalar:
        if kind in {"integer", "number"}:
            return self._number(schema, whole=kind == "integer")
        if kind == "boolean":
            return self._chance.below(2) == 1
        if kind == "null":
            return None
        return self._string(schema)

    def _resolved(self, schema: Schema, depth: int) -> Schema:
        for _ in range(32):
            if schema.ref is not None:
                schema = self._referred(schema.ref)
            elif schema.any_of or schema.one_of:
                schema = self._chosen(schema.any_of or schema.one_of, depth)
            elif len(schema.all_of) == 1:
                schema = schema.all_of[0]
            else:
                return schema
        message = "the schema's references go in a circle"
        raise ValueError(message)

    def _referred(self, ref: str) -> Schema:
        if ref == "#":
            return self._root
        name = ref.rsplit("/", 1)[-1]
        known = self._root.definitions if "definitions" in ref else self._root.defs
        if name not in known:
            message = f"the schema refers to {ref}, which it does not hold"
            raise ValueError(message)
        return known[name]

    def _chosen(self, options: list[Schema], depth: int) -> Schema:
        if depth >= MAX_DEPTH:
            return next((x for x in options if x.type == "null"), options[0])
        return options[self._chance.below(len(options))]

    def _kind(self, schema: Schema, depth: int) -> str:
        if isinstance(schema.type, str):
            return schema.type
        if schema.type:
            ends = depth >= MAX_DEPTH and "null" in schema.type
            return "null" if ends else schema.type[0]
        if schema.properties:
            return "object"
        return "array" if schema.items is not None or schema.prefix_items else "string"

    def _object(self, schema: Schema, depth: int) -> dict[str, object]:
        names = list(schema.properties)
        if depth >= MAX_DEPTH:
            names = [name for name in names if name in schema.required]
        return {name: self._value(schema.properties[name], depth + 1) for name in names}

    def _array(self, schema: Schema, depth: int) -> list[object]:
        low = schema.min_items or 0
        high = schema.max_items if schema.max_items is not None else max(low, 3)
        usual = min(max(low, 2), high)
        size = low if depth >= MAX_DEPTH else self._chance.between(usual, min(high, usual + 2))
        size = max(size, min(len(schema.prefix_items), high))
        inner = schema.items if isinstance(schema.items, Schema) else Schema(type="string")
        kinds = [*schema.prefix_items, *[inner] * size][:size]
        values = [self._value(kind, depth + 1) for kind in kinds]
        return self._distinct(values, inner, depth) if schema.unique_items else values

    def _distinct(self, values: list[object], inner: Schema, depth: int) -> list[object]:
        seen = {msgspec.json.encode(value): value for value in values}
        for _ in range(64):
            if len(seen) == len(values):
                break
            value = self._value(inner, depth + 1)
            seen[msgspec.json.encode(value)] = value
        return list(seen.values())

    def _string(self, schema: Schema) -> str:
        if schema.format in _FORMATS:
            return _FORMATS[schema.format].format(n=self._chance.between(10, 28))
        low = schema.min_length or 0
        text = _phrase(self._words, self._chance, self._chance.between(2, 5))
        while len(text) < low:
            text += " " + _phrase(self._words, self._chance, 3)
        if schema.max_length is not None and len(text) > schema.max_length:
            # A cut may leave a space at the end, which is still a character of the text.
            text = text[: schema.max_length]
        return text

    def _number(self, schema: Schema, *, whole: bool) -> int | float:
        step = schema.multiple_of or (1 if whole else 0.01)
        low = schema.minimum if schema.minimum is not None else schema.exclusive_minimum
        high = schema.maximum if schema.maximum is not None else schema.exclusive_maximum
        if low is None:
            low = 1 if high is None or high >= 1 else high - 100 * step
        if high is None:
            high = low + 100 * step
        first, last = math.ceil(low / step), math.floor(high / step)
        if schema.exclusive_minimum is not None and first * step <= schema.exclusive_minimum:
            first += 1
        if schema.exclusive_maximum is not None and last * step >= schema.exclusive_maximum:
            last -= 1
        value = self._chance.between(first, last) * step
        return int(value) if whole else round(value, 6)


def _phrase(words: tuple[str, ...], chance: Chance, count: int) -> str:
    picked = " ".join(words[chance.below(len(words))] for _ in range(count))
    return picked[:1].upper() + picked[1:]


_FORMATS = {
    "date": "2026-02-{n}",
    "date-time": "2026-02-{n}T08:00:00Z",
    "email": "owner{n}@example.org",
    "uri": "https://example.org/{n}",
    "uuid": "01900000-0000-7000-8000-0000000000{n}",
}
