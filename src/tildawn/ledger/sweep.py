"""Removes what nothing in the ledger names any more.

What it is not: retention.  What a fact names is never touched here.
"""

from tildawn.facts.house import BlobsSwept
from tildawn.ledger.ledger import Ledger


def sweep(ledger: Ledger) -> int:
    """Remove blobs that no fact names and whose day of grace is over; blocks.

    A crash in between leaves some of them for the next time, and no fact about the others.

    Args:
        ledger: open to write.

    Returns:
        How many went; the fact says it too when there were any.

    Raises:
        OSError: the disk refuses.
        TildawnError: the fact could not be appended; see `Ledger.submit`.
    """
    with ledger.read() as reader:
        used = {blob for (blob,) in reader.query("SELECT DISTINCT blob FROM blob_use")}
    count, size = ledger.blobs.sweep(used)
    if count:
        ledger.append_now([ledger.draft(BlobsSwept(count=count, size_bytes=size))])
    return count
