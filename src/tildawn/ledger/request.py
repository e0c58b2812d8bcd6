"""One append on its way through the writer.

What it is not: the answer; `tildawn.ledger.entry` has those.
"""

import asyncio
from collections.abc import Callable, Sequence

from tildawn.ledger.entry import Entry, Outcome
from tildawn.ledger.fold import Expect


Done = Callable[[Outcome], None]
Inside = Callable[[object], None]
"""Work on the tables in the transaction of an append, before it is judged; alone in its batch.

It gets the writing connection of the store.
"""


class Request:
    """Entries that go in together, what must hold for that, and whom to tell.

    ``loop`` is where ``done`` is called; None means the writer's own thread.
    """

    __slots__ = (
        "blobs", "done", "entries", "expect", "inside", "loop", "outcome", "relaxed", "scrub",
        "seal",
    )  # fmt: skip

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        expect: Sequence[Expect] = (),
        done: Done | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        relaxed: bool = False,
        seal: tuple[int, str] | None = None,
    ) -> None:
        """Take what the caller wants."""
        self.entries = entries
        self.expect = expect
        self.done = done
        self.loop = loop
        self.relaxed = relaxed
        #: A signed checkpoint to keep in the same transaction: its size and its note.
        self.seal = seal
        self.inside: Inside | None = None
        #: Afterwards the write-ahead log is cut to nothing, or the outcome is `Busy`.
        self.scrub = False
        self.outcome: Outcome | None = None
        #: Blobs already on the disk for long payloads, by (entry, slot).
        self.blobs: dict[tuple[int, int], str] = {}
