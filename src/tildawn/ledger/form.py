"""Whether bytes are a body in canonical form; docs/spec/fact-body.md.

What it is not: what the body means, nor whether its kind is known.
"""

import re
from typing import cast

import msgspec

from tildawn.errors import LedgerBroken
from tildawn.facts.fact import BODY_BYTES_MAX, INTEGER_MAX


#: A number that may be beyond 2^53 - 1, or a key that is not plain: worth a closer look.
_SUSPECT = re.compile(rb"\d{16}|[^\x00-\x7f]")

_NEEDED = frozenset({"at", "data", "kind", "v"})


class Form:
    """The check; one for many bodies."""

    def __init__(self) -> None:
        """Make what decodes and encodes."""
        self._encode = msgspec.json.Encoder(order="sorted").encode
        self._decode = msgspec.json.Decoder(float_hook=_no_float).decode

    def check(self, seq: int, body: bytes) -> tuple[str, int]:
        """The kind and version of a body, as they were written.

        Args:
            seq: its position, for the message.
            body: as it is stored.

        Raises:
            LedgerBroken: there is another way to write the same, or it is no fact.
        """
        try:
            value = cast("dict[str, object]", self._decode(body))
            good = self._encode(value) == body and set(value) >= _NEEDED
        except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
            message = f"the body of fact {seq} is not in canonical form: {error}"
            raise LedgerBroken(message, seq=seq) from error
        if good and _SUSPECT.search(body):
            good = _in_profile(value)
        if not good or len(body) > BODY_BYTES_MAX:
            message = f"the body of fact {seq} is not in canonical form"
            raise LedgerBroken(message, seq=seq)
        return str(value["kind"]), cast("int", value["v"])


def _no_float(text: str) -> object:
    message = f"a body holds no floats, and this one has {text}"
    raise ValueError(message)


def _in_profile(value: object) -> bool:
    if isinstance(value, dict):
        items = cast("dict[object, object]", value).items()
        return all(
            isinstance(key, str) and key.isascii() and _in_profile(one) for key, one in items
        )
    if isinstance(value, list):
        return all(map(_in_profile, cast("list[object]", value)))
    return not isinstance(value, int) or -INTEGER_MAX <= value <= INTEGER_MAX
