"""Facts about dead letters: runs that nothing but a person sets going again.

What it is not: their beginning; a run becomes a letter by its own facts, and by no other.
"""

from tildawn.facts.fact import FactData


class LetterAcknowledged(FactData, frozen=True):
    """The owner has seen a dead letter and wants it off the list; its run stays as it is."""

    reason: str = ""

    PAYLOADS = ("reason",)


KINDS: tuple[type[FactData], ...] = (LetterAcknowledged,)
