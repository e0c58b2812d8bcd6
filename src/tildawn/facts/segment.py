"""Facts about the archive: a segment was sealed, its bodies left the database, it was pruned.

What it is not: the segment itself; that is files, and their manifest says which.
"""

from tildawn.facts.fact import FactData


class SegmentSealed(FactData, frozen=True):
    """A segment of the ledger stands in the archive, whole and read-only.

    It holds ``count`` facts from ``first`` on; ``root`` is the root over their leaves and
    ``manifest`` the SHA-256 of its manifest, both in hexadecimal.
    """

    number: int
    first: int
    count: int
    root: str
    manifest: str


class BodiesArchived(FactData, frozen=True):
    """The bodies of a segment were verified in the archive and have left the database.

    With them all before ``to`` have left, except of facts that name the house or its keys.
    """

    number: int
    to: int


class SegmentPruned(FactData, frozen=True):
    """The time to keep a segment was over: its entries are dropped, its hashes stay."""

    number: int


KINDS: tuple[type[FactData], ...] = (SegmentSealed, BodiesArchived, SegmentPruned)
