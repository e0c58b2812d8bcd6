"""The read side of the ledger, for everybody above it.

What it is not: an implementation; the store that is in use provides it.
"""

from tildawn.ledger.sqlite.reader import Head, Reader


__all__ = ["Head", "Reader"]
