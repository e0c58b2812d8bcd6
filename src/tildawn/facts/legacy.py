"""Facts about logs of other programs that were taken into the ledger.

What it is not: their entries.  An old log is sealed as it is, and nothing of it is hashed again.
"""

from tildawn.facts.fact import FactData


class LegacySealed(FactData, frozen=True):
    """An old log was sealed; the blob ``digest`` (SHA-256, hexadecimal) holds its bytes.

    ``lines`` are all but the empty ones: ``chained`` name the one before them and do so rightly,
    ``unchained`` name none, ``broken`` name another, ``altered`` do not hash to what they say,
    ``unreadable`` are no text or no JSON object.  ``repeated`` lines have an id that an earlier
    one had.  ``account`` says which.
    """

    digest: str
    size_bytes: int
    encoding: str
    lines: int
    chained: int
    unchained: int
    broken: int
    altered: int
    unreadable: int
    repeated: int
    name: str = ""
    account: str = ""

    PAYLOADS = ("name", "account")


KINDS: tuple[type[FactData], ...] = (LegacySealed,)
