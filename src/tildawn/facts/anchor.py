"""Facts about anchors: other places that keep a checkpoint of the ledger.

What it is not: the checkpoint, which is no fact: the ledger would grow by being signed.
"""

from tildawn.facts.fact import FactData


class Anchored(FactData, frozen=True):
    """A place has a checkpoint of ``size`` facts; ``evidence`` is what it gave for it."""

    anchor: str
    kind: str
    origin: str
    size: int
    #: Hexadecimal.
    root: str
    #: How often the settings want it.
    every_ms: int
    evidence: str = ""
    #: What makes the place weaker than it looks.
    warning: str = ""

    PAYLOADS = ("evidence", "warning")


class AnchorFailed(FactData, frozen=True):
    """A place did not take a checkpoint; said once, until that changes.

    ``state`` is ``failed``, or ``broken`` when the place has a larger or another ledger.
    """

    anchor: str
    kind: str
    origin: str
    state: str
    #: Of the checkpoint that it was asked to keep.
    size: int
    every_ms: int
    reason: str = ""

    PAYLOADS = ("reason",)


class AnchorRemoved(FactData, frozen=True):
    """The settings name a place no more; nothing is owed to it."""

    anchor: str


KINDS: tuple[type[FactData], ...] = (Anchored, AnchorFailed, AnchorRemoved)
