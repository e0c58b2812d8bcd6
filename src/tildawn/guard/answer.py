"""Whether a model's answer is what was asked for: a checker for a subset of JSON Schema.

What it is not: a whole validator.  A keyword outside the subset is refused when the schema is
read, never skipped: a check that is not made must not look like one that passed.

Source: JSON Schema draft 2020-12.  Pictures are judged by `tildawn.guard.picture`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import cast

import msgspec

from tildawn.errors import BadValue
from tildawn.guard.fault import InvalidAnswer


DEPTH_MAX = 64
"""Deepest nesting of an answer, and of references in a schema."""

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Check = Callable[[bytes], None]
_Object = Mapping[str, Json]
_Judge = Callable[["_Schema", Json, Json, str, int], Iterator[str]]

ANNOTATIONS = frozenset({
    "$schema", "$id", "$comment", "title", "description", "default", "examples", "deprecated",
    "readOnly", "writeOnly", "$defs", "definitions", "format",
})  # fmt: skip
"""Keywords that judge nothing. Source: draft 2020-12; ``format`` is an annotation there."""


def schema_check(schema: str) -> Check:
    """A check for `CallRequest.validate` from a JSON Schema.

    Args:
        schema: JSON text of an object: ``type enum const properties required
            additionalProperties items minItems maxItems minLength maxLength minimum maximum
            anyOf $ref`` (into its own ``$defs``), and annotations.

    Returns:
        A function that takes JSON text, and raises `InvalidAnswer` with the place and what was
        expected there.

    Raises:
        BadValue: the schema is no JSON, or uses a keyword or a type outside the subset.
    """
    read = _Schema(_decoded(schema))
    read.accept()

    def check(answer: bytes) -> None:
        try:
            value = cast("Json", msgspec.json.decode(answer))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            detail = f"the answer is no JSON: {error}"
            raise InvalidAnswer(detail) from error
        for wrong in read.judge(read.root, value, "$", 0):
            raise InvalidAnswer(wrong)

    return check


def _decoded(schema: str) -> Json:
    try:
        return cast("Json", msgspec.json.decode(schema.encode()))
    except msgspec.DecodeError as error:
        message = f"the schema is no JSON: {error}"
        raise BadValue(message) from error


class _Schema:
    """A schema that has been read, and how it judges."""

    def __init__(self, root: Json) -> None:
        self.root = root

    # -- reading the schema ----------------------------------------------------------------

    def accept(self) -> None:
        self._accept(self.root, "#")
        if isinstance(self.root, dict):
            for group in ("$defs", "definitions"):
                for name, part in _object(self.root.get(group)).items():
                    self._accept(part, f"#/{group}/{name}")

    def _accept(self, part: Json, at: str) -> None:
        if isinstance(part, bool):
            return
        if not isinstance(part, dict):
            message = f"the schema at {at} is neither an object nor true or false"
            raise BadValue(message)
        for keyword, value in part.items():
            self._accept_keyword(keyword, value, at)

    def _accept_keyword(self, keyword: str, value: Json, at: str) -> None:
        fits = _FITS.get(keyword)
        if keyword in ANNOTATIONS:
            return
        if fits is None:
            message = f"the schema at {at} uses {keyword!r}, which is not checked here"
            hint = f"use only {', '.join(sorted(_FITS))}"
            raise BadValue(message, hint=hint)
        if not fits(value) or (keyword == "$ref" and self._target(value) is None):
            message = f"the schema at {at} has a {keyword!r} that cannot be: {value!r}"
            raise BadValue(message)
        for name, part in _parts(keyword, value):
            self._accept(part, f"{at}/{keyword}{name}")

    def _target(self, pointer: Json) -> Json:
        """What a reference points to; None where there is nothing."""
        found: Json = self.root
        for step in str(pointer).removeprefix("#").split("/")[1:]:
            if not isinstance(found, dict):
                return None
            found = found.get(step.replace("~1", "/").replace("~0", "~"))
        return found

    # -- judging an answer -----------------------------------------------------------------

    def judge(self, part: Json, value: Json, at: str, depth: int) -> Iterator[str]:
        """What is wrong with a value, the outermost first."""
        if depth > DEPTH_MAX:
            yield f"{at}: nested deeper than {DEPTH_MAX}"
        elif isinstance(part, bool):
            if not part:
                yield f"{at}: nothing is allowed here"
        else:
            for keyword, says in _object(part).items():
                judge = _JUDGES.get(keyword)
                if judge is not None:
                    yield from judge(self, says, value, at, depth)
            if isinstance(value, dict):
                yield from self._others(_object(part), value, at, depth)

    def ref(self, says: Json, value: Json, at: str, depth: int) -> Iterator[str]:
        return self.judge(self._target(says), value, at, depth + 1)

    def any_of(self, says: Json, value: Json, at: str, depth: int) -> Iterator[str]:
        parts = says if isinstance(says, list) else []
        wrongs = [next(self.judge(part, value, at, depth + 1), None) for part in parts]
        if None not in wrongs:
            yield f"{at}: fits none of the alternatives ({'; '.join(map(str, wrongs))})"

    def properties(self, says: Json, value: Json, at: str, depth: int) -> Iterator[str]:
        for name, part in _object(says).items():
            if isinstance(value, dict) and name in value:
                yield from self.judge(part, value[name], f"{at}.{name}", depth + 1)

    def items(self, says: Json, value: Json, at: str, depth: int) -> Iterator[str]:
        for index, one in enumerate(value if isinstance(value, list) else []):
            yield from self.judge(says, one, f"{at}[{index}]", depth + 1)

    def _others(self, part: _Object, value: dict[str, Json], at: str, depth: int) -> Iterator[str]:
        rest = part.get("additionalProperties", True)
        known = _object(part.get("properties"))
        for name, one in value.items():
            if name not in known:
                if rest is False:
                    yield f"{at}.{name}: no such property was asked for"
                else:
                    yield from self.judge(rest, one, f"{at}.{name}", depth + 1)


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _parts(keyword: str, value: Json) -> Iterator[tuple[str, Json]]:
    """The schemas inside a keyword, with their place."""
    if keyword == "properties":
        yield from ((f"/{name}", part) for name, part in _object(value).items())
    elif keyword == "anyOf" and isinstance(value, list):
        yield from ((f"/{index}", part) for index, part in enumerate(value))
    elif keyword in {"items", "additionalProperties"}:
        yield "", value


# -- types and limits ----------------------------------------------------------------------


def _is(kind: str, value: Json) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, float) and kind == "integer":
        return value.is_integer()  # 1.0 is an integer. Source: draft 2020-12, 6.1.1
    return isinstance(value, _TYPES[kind])


_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "number": (int, float), "integer": int,
    "boolean": bool, "null": type(None),
}  # fmt: skip


def _type(_: _Schema, says: Json, value: Json, at: str, _depth: int) -> Iterator[str]:
    kinds = [str(kind) for kind in says] if isinstance(says, list) else [str(says)]
    if not any(_is(kind, value) for kind in kinds):
        yield f"{at}: expected {' or '.join(kinds)}, got {_shown(value)}"


def _same(one: Json, other: Json) -> bool:
    # True is 1 in Python and not in JSON.
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _enum(_: _Schema, says: Json, value: Json, at: str, _depth: int) -> Iterator[str]:
    allowed = says if isinstance(says, list) else []
    if not any(_same(one, value) for one in allowed):
        yield f"{at}: expected one of {_shown(says)}, got {_shown(value)}"


def _const(_: _Schema, says: Json, value: Json, at: str, _depth: int) -> Iterator[str]:
    if not _same(says, value):
        yield f"{at}: expected {_shown(says)}, got {_shown(value)}"


def _required(_: _Schema, says: Json, value: Json, at: str, _depth: int) -> Iterator[str]:
    for name in says if isinstance(says, list) else []:
        if isinstance(value, dict) and name not in value:
            yield f"{at}: {name} is missing"


def _bound(kind: type | tuple[type, ...], least: bool, sized: bool) -> _Judge:
    def judge(_: _Schema, says: Json, value: Json, at: str, _depth: int) -> Iterator[str]:
        if not isinstance(value, kind) or isinstance(value, bool):
            return
        limit = cast("float", says)
        measure = len(cast("str", value)) if sized else cast("float", value)
        if (measure < limit) if least else (measure > limit):
            what = "its length" if sized else "it"
            yield f"{at}: {what} is {measure}, {'least' if least else 'most'} is {limit}"

    return judge


_JUDGES: dict[str, _Judge] = {
    "type": _type, "enum": _enum, "const": _const, "required": _required,
    "$ref": _Schema.ref, "anyOf": _Schema.any_of, "properties": _Schema.properties,
    "items": _Schema.items,
    "minLength": _bound(str, least=True, sized=True),
    "maxLength": _bound(str, least=False, sized=True),
    "minItems": _bound(list, least=True, sized=True),
    "maxItems": _bound(list, least=False, sized=True),
    "minimum": _bound((int, float), least=True, sized=False),
    "maximum": _bound((int, float), least=False, sized=False),
}  # fmt: skip


def _is_type(value: Json) -> bool:
    kinds = value if isinstance(value, list) else [value]
    return bool(kinds) and all(isinstance(kind, str) and kind in _TYPES for kind in kinds)


def _is_schema(value: Json) -> bool:
    return isinstance(value, bool | dict)


def _is_count(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_names(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


_FITS: dict[str, Callable[[Json], bool]] = {
    "type": _is_type,
    "enum": lambda value: isinstance(value, list) and bool(value),
    "const": lambda _: True,
    "required": _is_names,
    "properties": lambda value: isinstance(value, dict),
    "additionalProperties": _is_schema,
    "items": _is_schema,
    "anyOf": lambda value: isinstance(value, list) and bool(value),
    "$ref": lambda value: isinstance(value, str) and value.startswith("#"),
    "minLength": _is_count, "maxLength": _is_count, "minItems": _is_count, "maxItems": _is_count,
    "minimum": _is_number, "maximum": _is_number,
}  # fmt: skip


def _shown(value: Json) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"


_SHOWN_CHARS = 80
