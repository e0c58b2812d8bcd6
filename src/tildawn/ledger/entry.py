"""What goes into an append and what comes back.

What it is not: the writer.  These are values that cross the border of the ledger.
"""

import msgspec

from tildawn.errors import TildawnError
from tildawn.facts.fact import Fact, Payload
from tildawn.ledger.fold import Row
from tildawn.units import Seq


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A fact ready to append: stamped, encoded, with its payloads in slot order.

    ``payloads[i]`` belongs to the field ``type(fact.data).PAYLOADS[i]``, None where that field is
    empty; ``blobs`` are SHA-256 names (hexadecimal) of blobs that this fact keeps alive.
    """

    fact: Fact
    body: bytes
    payloads: tuple[Payload | None, ...] = ()
    blobs: tuple[str, ...] = ()
    #: Payloads that go with this fact, as position times eight plus slot.
    erases: tuple[int, ...] = ()
    #: Blobs that the facts at these positions keep alive no more.
    frees: tuple[tuple[str, int], ...] = ()


class Committed(msgspec.Struct, frozen=True):
    """The append is on disk: its facts have the positions ``first`` to ``first + count - 1``."""

    first: Seq
    count: int


class Unmet(msgspec.Struct, frozen=True):
    """An expectation did not hold; nothing of this append was recorded. An answer, no error."""

    why: str
    row: Row | None


Answer = Committed | Unmet
Outcome = Committed | Unmet | TildawnError
