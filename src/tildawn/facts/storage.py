"""Facts about the space of the disk that a house is on.

What it is not: a measurement at every look; only what changed is recorded.
"""

from tildawn.facts.fact import FactData


class BallastLaid(FactData, frozen=True):
    """Space was set aside; ``free_bytes`` were left besides."""

    size_bytes: int
    free_bytes: int


class StorageExhausted(FactData, frozen=True):
    """The disk was full, and what had been set aside was given back to end in order."""

    released_bytes: int
    free_bytes: int


KINDS: tuple[type[FactData], ...] = (BallastLaid, StorageExhausted)
