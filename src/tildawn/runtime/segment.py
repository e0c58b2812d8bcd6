"""Keeps the archive of a house: seals what is full, and shows the newest checkpoint for it.

What it is not: the files; `tildawn.ledger.segment` writes and checks those.
"""

from tildawn.ledger.ledger import Ledger
from tildawn.ledger.sealing import publish_checkpoint, seal_next
from tildawn.projections.segment import sealed_segments


def seal_full(ledger: Ledger) -> int:
    """Seal every segment that is full and settled; blocks about a second for each.

    A crash leaves files that no fact names, and the next turn writes them again.

    Returns:
        How many were sealed.

    Raises:
        OSError: the disk refuses.
        TildawnError: the facts do not hold together, or the house cannot be written.
    """
    count = 0
    while True:
        with ledger.read() as reader:
            earlier = sealed_segments(reader)
        fact = seal_next(ledger, earlier)
        if fact is None:
            publish_checkpoint(ledger, len(earlier))
            return count
        count += 1
