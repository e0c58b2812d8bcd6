"""Stamps and encodes facts on their way in.

What it is not: the place where a user's value is checked; that happens where it is encoded.
"""

import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from tildawn.errors import BadValue
from tildawn.facts.fact import INTEGER_MAX, FactData, Payload, Registry, payload
from tildawn.ids import Ids


Check = Callable[[FactData], None]
_POOL_BYTES = 4_096
_SALT_BYTES = 16


def checks_of(registry: Registry) -> dict[type[FactData], Check | None]:
    """For each kind, what its type leaves open and the profile of bodies forbids.

    Most kinds need only a look at their integers; kinds with mappings or tuples are walked.

    Raises:
        BadValue: a kind can hold something that no body may hold.
    """
    return {kind: _check_of(kind) for kind in registry.kinds().values()}


class Salts:
    """Random salts from a pool, because one request of the system for each is slow."""

    def __init__(self, ids: Ids) -> None:
        """Take the source of randomness."""
        self._ids = ids
        self._pool = b""
        self._at = 0

    def wrap(self, text: bytes) -> Payload:
        """JSON text as a payload with a fresh salt.

        Raises:
            Nothing.
        """
        at = self._at
        if at >= len(self._pool):
            self._pool, at = self._ids.random(_POOL_BYTES), 0
        self._at = at + _SALT_BYTES
        return payload(text, salt=self._pool[at : self._at])


def _check_of(kind: type[FactData]) -> Check | None:
    hints = get_type_hints(kind)
    numbers: list[str] = []
    deep: list[str] = []
    for name in kind.__struct_fields__:
        shape = _shape(hints[name])
        if shape == "bad":
            message = f"{kind.__name__}.{name}: a body holds no {hints[name]}"
            raise BadValue(message)
        if shape == "number":
            numbers.append(name)
        elif shape == "deep":
            deep.append(name)
    if not numbers and not deep:
        return None
    return _checker(kind.__name__, tuple(numbers), tuple(deep))


def _checker(kind: str, numbers: tuple[str, ...], deep: tuple[str, ...]) -> Check:
    def check(data: FactData) -> None:
        for name in numbers:
            value = getattr(data, name)
            if value is not None and not -INTEGER_MAX <= value <= INTEGER_MAX:
                raise _outside(kind, name)
        for name in deep:
            if not _fits(getattr(data, name)):
                raise _outside(kind, name)

    return check


def _outside(kind: str, name: str) -> BadValue:
    message = f"{kind}.{name} holds a float, a key outside ASCII, or an integer beyond 2^53 - 1"
    return BadValue(message, hint="keep user values in payloads, money in millionths")


def _fits(value: object) -> bool:
    if value is None or isinstance(value, str):
        return True
    if isinstance(value, int):
        return -INTEGER_MAX <= value <= INTEGER_MAX
    if isinstance(value, Mapping):
        items = typing.cast("Mapping[object, object]", value).items()
        return all(isinstance(key, str) and key.isascii() and _fits(one) for key, one in items)
    if isinstance(value, tuple | list):
        return all(map(_fits, typing.cast("tuple[object, ...]", value)))
    if isinstance(value, msgspec.Struct):
        return all(_fits(getattr(value, name)) for name in value.__struct_fields__)
    return False


def _shape(hint: Any) -> str:
    """``text``, ``number``, ``deep`` for what must be walked, ``bad`` for what never fits."""
    while isinstance(hint, typing.NewType):
        hint = hint.__supertype__
    if hint in {str, bool, type(None)}:
        return "text"
    if hint is int:
        return "number"
    if hint in {float, bytes, Any, object, complex}:
        return "bad"
    if get_origin(hint) in {Union, types.UnionType}:
        shapes = {_shape(part) for part in get_args(hint)}
        return next((one for one in ("bad", "deep", "number") if one in shapes), "text")
    if get_origin(hint) is typing.Literal:
        return "text"
    return "deep"
