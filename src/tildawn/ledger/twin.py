"""What the store hands to whoever keeps a second copy of each batch.

What it is not: the copy; `tildawn.ledger.mirror` is that.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from tildawn.units import Seq


FactRow = tuple[int, bytes, bytes]
"""Position, leaf and body."""

PayloadRow = tuple[int, bytes | None, bytes | None, str | None]
"""Position × 8 + slot, salt, text, name of the blob."""

UseRow = tuple[str, int]
"""A blob, and the position of a fact that keeps it."""

Part = tuple[Sequence[FactRow], Sequence[PayloadRow], Sequence[UseRow]]
"""What was written together."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of one commit, from ``first`` up to ``size``, with the chain after them.

    ``erased`` says for payloads that are gone which fact said so; ``relaxed`` ones need no sync.
    """

    first: Seq
    size: Seq
    chain: bytes
    parts: Sequence[Part]
    relaxed: bool = False
    erased: Sequence[tuple[int, int]] = ()


class Twin(Protocol):
    """Writes a batch beside the database, in parallel with its commit.

    ``begin`` is called just before the commit, then one of the other two.  A twin never fails a
    commit: when it cannot keep up it says so elsewhere.
    """

    def begin(self, batch: Batch) -> None:
        """Start to write the batch."""
        ...

    def join(self) -> None:
        """Wait until it is durable; does nothing when nothing was begun."""
        ...

    def undo(self) -> None:
        """Take back what was begun: the commit was refused."""
        ...
