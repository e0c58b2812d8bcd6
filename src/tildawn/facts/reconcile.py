"""Facts about the two sets of books: where a table was not what the facts make of it.

What it is not: a change of history.  The facts are right, and a table is made anew from them.
"""

from collections.abc import Mapping

from tildawn.facts.fact import FactData


class DriftFound(FactData, frozen=True):
    """Rows of a table were not what the facts make of them; ``text`` says which, and how."""

    table: str
    rows: int
    #: SHA-256 over table, keys and columns: the same drift again has the same one.
    digest: str
    text: str = ""

    PAYLOADS = ("text",)


class DriftMended(FactData, frozen=True):
    """The table was made anew from the facts, in the transaction of this fact."""

    table: str
    digest: str


class InvariantBroken(FactData, frozen=True):
    """A table refused what facts would have made of it; those facts were not recorded."""

    table: str
    #: What objected, as the database names it.
    rule: str
    #: The kinds of facts that were refused, and how many of each.
    refused: Mapping[str, int]


KINDS: tuple[type[FactData], ...] = (DriftFound, DriftMended, InvariantBroken)
