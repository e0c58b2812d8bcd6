"""Facts about the second copy of the ledger: lost, joined again, and when it knew more.

What it is not: the copy, nor a path; where it is, the settings say.
"""

from tildawn.facts.fact import FactData


class MirrorLost(FactData, frozen=True):
    """From here on facts have one copy only; ``why`` is a word of ours, such as ``EIO``."""

    why: str


class MirrorJoined(FactData, frozen=True):
    """The mirror has every fact again; it had been ``behind`` by so many."""

    behind: int


class MirrorPrevailed(FactData, frozen=True):
    """The database lacked the last ``count`` facts; they came back from the mirror.

    ``whole`` when there was no database at all and somebody made it anew from the mirror.
    """

    count: int
    whole: bool = False


KINDS: tuple[type[FactData], ...] = (MirrorLost, MirrorJoined, MirrorPrevailed)
