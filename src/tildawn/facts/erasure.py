"""Facts about what was erased: which payloads, for whom, and why.

What it is not: what they held; nobody knows that any more.
"""

from tildawn.facts.fact import FactData


class PayloadErased(FactData, frozen=True):
    """Payloads were erased with their salts, in the transaction of this fact.

    ``ranges`` holds beginnings and ends (exclusive) in turn, of positions times eight plus slot;
    every payload within one is gone.  Not projected: the rows of the payloads name it, and
    verifying compares the two.
    """

    ranges: tuple[int, ...]
    #: A word such as asked, leaked or expired.
    why: str = "asked"


class SubjectErased(FactData, frozen=True):
    """Everything of some runs was erased; ``subject`` is a keyed digest, empty for single runs."""

    subject: str = ""
    runs: int = 0
    payloads: int = 0
    why: str = "asked"


KINDS: tuple[type[FactData], ...] = (PayloadErased, SubjectErased)
