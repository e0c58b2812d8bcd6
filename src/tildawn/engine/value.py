"""User values as JSON, by their declared type.

What it is not: pickling.  What is recorded can be read by anybody with `jq`, and what a task
sees on its first run is what it would see on a replay: every value makes the round trip.
"""

import math
from collections.abc import Callable
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
            self._decoder = msgspec.json.Decoder()
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
        text = _ENCODER.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        message = f"{where} cannot be recorded as JSON: {error}"
        raise BadValue(message, hint="return plain data, or keep it with ctx.artifact") from None
    if len(text) > VALUE_BYTES_MAX:
        message = f"{where} is {len(text):,} bytes long; at most {VALUE_BYTES_MAX:,} are recorded"
        raise BadValue(message, hint="keep it with ctx.artifact and pass the artifact on")
    # msgspec writes NaN and the infinities as null; silence there would be damage.
    if b"null" in text and not _finite(value):
        message = f"{where} holds NaN or an infinity, which JSON cannot say"
        raise BadValue(message, hint="use None for a missing number")
    return text


def _to_json(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    if isinstance(value, set | frozenset):
        message = "a set has no order; use a list"
        raise NotImplementedError(message)
    message = f"a {type(value).__qualname__} is no plain data"
    raise NotImplementedError(message)


def _from_json(kind: type, value: object) -> object:
    validate = getattr(kind, "model_validate", None)
    if callable(validate):
        return validate(value)
    message = f"{kind.__qualname__} cannot be made from JSON"
    raise NotImplementedError(message)


_ENCODER = msgspec.json.Encoder(enc_hook=_to_json, order="deterministic")


def _finite(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_finite, cast("dict[object, object]", value).values()))
    if isinstance(value, list | tuple):
        return all(map(_finite, cast("list[object]", value)))
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return _finite(dump())
    if isinstance(value, msgspec.Struct) or hasattr(value, "__dataclass_fields__"):
        return _finite(msgspec.to_builtins(value, enc_hook=_to_json))
    return True


def _refuse_types(annotation: object, where: str) -> None:
    for part in _parts(annotation):
        if part is Any or part is object:
            message = f"{where} is declared as Any, so its recorded form could not be checked"
            raise BadTask(message, hint="declare what it is")
        if part in {set, frozenset}:
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
