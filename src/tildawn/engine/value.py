"""User values as JSON, by their declared type.

What it is not: pickling.  What is recorded can be read by anybody with `jq`, and what a task
sees on its first run is what it would see on a replay: every value makes the round trip.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast, get_args, get_origin

import msgspec

from tildawn.errors import BadTask, BadValue


VALUE_BYTES_MAX = 262_144
"""Largest recorded value. Source: half of Temporal's warning limit of 512 KiB, so that a task
that runs here runs there; larger things are artifacts."""

UNDECLARED: Any = msgspec.UNSET
"""Marks a missing annotation: plain JSON comes back."""


class Codec:
    """Turns values of one declared type into JSON and back."""

    __slots__ = ("_decoder", "name")

    def __init__(self, annotation: object, *, where: str) -> None:
        """Make a codec for a type.

        Args:
            annotation: a type such as ``list[Product]``; `UNDECLARED` for plain JSON.
            where: what carries the annotation, for messages.

        Raises:
            BadTask: the type cannot be recorded: it is or holds ``Any``, a set, a callable, or
                a union whose members cannot be told apart.
        """
        self.name = where
        if annotation is UNDECLARED:
            self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
            return
        _refuse_types(annotation, where)
        try:
            self._decoder = msgspec.json.Decoder(cast("type", annotation), dec_hook=_from_json)
        except TypeError as error:
            message = f"{where} cannot be recorded: {error}"
            raise BadTask(message, hint="declare one type per JSON shape") from None

    def encode(self, value: object) -> bytes:
        """The value as JSON.

        Raises:
            BadValue: the value has no JSON form, holds NaN or an infinity, or is too large.
        """
        return encode(value, where=self.name)

    def decode(self, text: bytes) -> Any:
        """The value that the JSON says.

        Raises:
            BadValue: the JSON is not of the declared type.
        """
        try:
            return self._decoder.decode(text)
        except msgspec.MsgspecError as error:
            message = f"{self.name} is not what its declared type says: {error}"
            raise BadValue(message) from None


def encode(value: object, *, where: str) -> bytes:
    """A value as JSON with sorted keys where it is a set of fields.

    Args:
        value: dataclasses, msgspec structs, pydantic models, plain JSON types.
        where: what the value is, for messages.

    Returns:
        At most `VALUE_BYTES_MAX` bytes.

    Raises:
        BadValue: the value has no JSON form, holds NaN or an infinity, or is too large.
    """
    try:
        if type(value) not in _SCALARS and (odd := _odd(value)):
            raise TypeError(odd)
        text = _ENCODER.encode(value)
    except _NO_JSON as error:
        message = f"{where} cannot be recorded as JSON: {error}"
        raise BadValue(message, hint="return plain data, or keep it with ctx.artifact") from None
    if len(text) > VALUE_BYTES_MAX:
        message = f"{where} is {len(text):,} bytes long; at most {VALUE_BYTES_MAX:,} are recorded"
        raise BadValue(message, hint="keep it with ctx.artifact and pass the artifact on")
    return text


def _to_json(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    message = f"a {type(value).__qualname__} is no plain data"
    raise NotImplementedError(message)


def _from_json(kind: type, value: object) -> object:
    validate = getattr(kind, "model_validate", None)
    if callable(validate):
        return validate(value)
    message = f"{kind.__qualname__} cannot be made from JSON"
    raise NotImplementedError(message)


_ENCODER = msgspec.json.Encoder(enc_hook=_to_json, order="deterministic")


_SCALARS = frozenset({str, int, bool, type(None), bytes})

_NO_JSON = (
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    NotImplementedError,
    msgspec.MsgspecError,
)


def _odd(value: object) -> str:
    """What in a value would come back as something else, or an empty text.

    msgspec writes NaN and the infinities as null, and a set as a list in some order; silence
    there would be damage.
    """
    if isinstance(value, float):
        return "" if math.isfinite(value) else "it holds NaN or an infinity; use None"
    if isinstance(value, set | frozenset):
        return "it holds a set, which has no order; use a list"
    for part in _inside(value):
        if type(part) not in _SCALARS and (odd := _odd(part)):
            return odd
    return ""


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return cast("Mapping[object, object]", value).values()
    if isinstance(value, list | tuple):
        return cast("list[object]", value)
    if isinstance(value, msgspec.Struct):
        return [getattr(value, name) for name in value.__struct_fields__]
    fields = getattr(value, "__dataclass_fields__", None) or getattr(value, "model_fields_set", ())
    return [getattr(value, name) for name in fields]


def _refuse_types(annotation: object, where: str) -> None:
    for part in _parts(annotation):
        if part is Any or part is object:
            message = f"{where} is declared as Any, so its recorded form could not be checked"
            raise BadTask(message, hint="declare what it is")
        if part is set or part is frozenset:
            message = f"{where} holds a set, whose order differs from run to run"
            raise BadTask(message, hint="use a list")
        if part is Callable or get_origin(part) is Callable:
            message = f"{where} holds a function, which cannot be recorded"
            raise BadTask(message)


def _parts(annotation: object) -> list[object]:
    found: list[object] = [annotation, get_origin(annotation)]
    for part in get_args(annotation):
        found += _parts(part)
    return [part for part in found if part is not None]
