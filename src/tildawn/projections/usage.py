"""How many tokens the last answers of each route had, for the estimate of the next.

What it is not: an account, or an estimate; `tildawn.guard.estimate` makes that.
"""

import struct

import msgspec

from tildawn.ledger.fold import Row, Table
from tildawn.ledger.sqlite.reader import Reader


ANSWERS = 100
"""How many answers of a route are kept: 400 bytes, and five of them above the 95th percentile."""

_MOST = 2**32 - 1
_ONE = struct.Struct("<I")


class UsageRow(Row, frozen=True, kw_only=True):
    """One route: output tokens of its last answers, oldest first, 4 bytes each."""

    route: str
    outputs: bytes


USAGE = Table(name="usage", row=UsageRow, key=("route",))


def with_output(row: UsageRow, tokens: int) -> UsageRow:
    """One more answer, and the oldest gone where there are more than `ANSWERS`.

    Raises:
        Nothing.
    """
    outputs = row.outputs + _ONE.pack(min(max(tokens, 0), _MOST))
    return msgspec.structs.replace(row, outputs=outputs[-ANSWERS * _ONE.size :])


def outputs_of(reader: Reader, route: str) -> tuple[int, ...]:
    """Output tokens of the last answers of a route, oldest first.

    Raises:
        Nothing.
    """
    row = reader.get(UsageRow, route)
    if row is None:
        return ()
    return tuple(tokens for (tokens,) in _ONE.iter_unpack(row.outputs))
