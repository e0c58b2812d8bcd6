"""Facts about quarantine: a house that is read and not worked in, until a person says so.

What it is not: the quarantine of one run that kills its process; that is a held run.
"""

from tildawn.facts.fact import FactData


class HouseQuarantined(FactData, frozen=True):
    """Nothing new begins from here on; ``text`` says to a person what was found."""

    #: ``drift`` or ``invariant``.
    why: str
    #: The table concerned.
    table: str
    #: How often the same was found.
    times: int
    text: str = ""

    PAYLOADS = ("text",)


class QuarantineLifted(FactData, frozen=True):
    """Its owner let the house work again, and said why."""

    reason: str = ""

    PAYLOADS = ("reason",)


KINDS: tuple[type[FactData], ...] = (HouseQuarantined, QuarantineLifted)
