"""Units as types: what a number measures is part of its name and its type.

What it is not: arithmetic.  All are integers; ratios are parts per million.
"""

import re
from decimal import Decimal, InvalidOperation
from typing import NewType

from tildawn.errors import BadValue


Micros = NewType("Micros", int)
"""A duration or an instant in microseconds; instants count from 1970-01-01 UTC."""

Ms = NewType("Ms", int)
"""A duration in milliseconds."""

MicroUsd = NewType("MicroUsd", int)
"""Money in millionths of a US dollar."""

Seq = NewType("Seq", int)
"""The position of a fact in the ledger; the first fact is 0."""

Epoch = NewType("Epoch", int)
"""How often the pen of a house has been taken; the first holder has 1."""

SECOND = Micros(1_000_000)
MILLISECOND = Micros(1_000)

_DURATION = re.compile(r"(?P<n>\d+(?:\.\d+)?)\s*(?P<u>ms|s|m|h|d)")
_SCALE = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


def usd(amount: str | int | Decimal) -> MicroUsd:
    """Money from a decimal amount of US dollars.

    Args:
        amount: such as ``"0.02"``, ``"$5.00"`` or ``5``; never a float, at most six decimals, >= 0.

    Returns:
        The amount in millionths of a dollar.

    Raises:
        BadValue: the text is no amount, is negative, or is finer than a millionth.
    """
    text = str(amount).strip().removeprefix("$").strip()
    try:
        micro = Decimal(text) * 1_000_000
    except InvalidOperation:
        message = f"{amount!r} is not an amount of money"
        raise BadValue(message, hint='write it like "$5.00"') from None
    if not micro.is_finite() or micro < 0 or micro != micro.to_integral_value():
        message = f"{amount!r} is not an amount from 0 upwards in steps of a millionth"
        raise BadValue(message, hint='write it like "$5.00"')
    return MicroUsd(int(micro))


def duration(text: str) -> Micros:
    """A duration from words such as ``10m``, ``1h30m``, ``250ms`` or ``8h``.

    Args:
        text: numbers each with a unit out of ``ms s m h d``, added up.

    Returns:
        The duration in microseconds, > 0.

    Raises:
        BadValue: the text is no duration.
    """
    total, end = 0, 0
    stripped = text.strip()
    for match in _DURATION.finditer(stripped):
        if match.start() != end:
            break
        total += int(Decimal(match["n"]) * _SCALE[match["u"]])
        end = match.end()
    if end == 0 or end != len(stripped) or total <= 0:
        message = f"{text!r} is not a duration"
        raise BadValue(message, hint="write it like 10m, 90s, 1h30m or 250ms")
    return Micros(total)
