"""Queues for repair what a reader of pictures could not show, and looks at some by itself.

What it is not: the reading; that is `tildawn.projections.damage`.
"""

from collections.abc import Iterable

from tildawn.facts.picture import Drawn, PictureDamaged
from tildawn.ledger.entry import Committed, Entry
from tildawn.ledger.fold import Expect, Row
from tildawn.ledger.ledger import Ledger
from tildawn.projections.damage import (
    Bad,
    Looked,
    pictures_after,
    readable,
    undamaged_with,
)
from tildawn.projections.picture import PictureRow


ROUND = 256
"""Pictures of one turn of the loop: a gigabyte at most, read in the background."""


async def queue_damage(ledger: Ledger, bad: Iterable[Bad]) -> int:
    """Put on record that pictures cannot be shown; readers pass them over from then on.

    A crash in between leaves some of them to the next reader.

    Args:
        ledger: open to write.
        bad: what `tildawn.projections.damage.readable` found.

    Returns:
        How many were new.

    Raises:
        TildawnError: the house cannot be written.
    """
    count = 0
    for one in bad:
        answer = await ledger.append([_entry(ledger, one)], expect=[_unmoved(one.row)])
        count += isinstance(answer, Committed)
    return count


def report_damage(ledger: Ledger, blob: str) -> int:
    """Look at a blob that somebody could not show, and queue its pictures if it is damaged.

    Blocks; for threads that read pictures.  A house that is only read is left as it is.

    Args:
        ledger: open.
        blob: its name.

    Returns:
        How many pictures were queued.

    Raises:
        TildawnError: the house cannot be read or written.
    """
    found = Looked(ledger.blobs).at(blob)
    if isinstance(found, Drawn) or not ledger.writable:
        return 0
    with ledger.read() as reader:
        bad = [Bad(row, *found) for row in undamaged_with(reader, blob)]
    answers = [ledger.append_now([_entry(ledger, one)], expect=[_unmoved(one.row)]) for one in bad]
    return sum(isinstance(one, Committed) for one in answers)


class Rounds:
    """Goes round the pictures of a house, some at a time; a restart begins anew."""

    def __init__(self, ledger: Ledger) -> None:
        """Begin before the first."""
        self._ledger = ledger
        self._after = ("", "", -1)

    def look(self) -> tuple[Bad, ...]:
        """What is wrong with the next pictures; blocks while it reads them.

        Raises:
            TildawnError: the house cannot be read.
        """
        with self._ledger.read() as reader:
            rows = pictures_after(reader, self._after, ROUND)
        last = rows[-1] if len(rows) == ROUND else None
        self._after = (last.run, last.path, last.attempt) if last is not None else ("", "", -1)
        # Each round reads the files again: a disk that rots changes no time of a file.
        return readable(Looked(self._ledger.blobs), rows).bad


def _entry(ledger: Ledger, one: Bad) -> Entry:
    row = one.row
    data = PictureDamaged(attempt=row.attempt, blob=row.blob, why=one.why)
    return ledger.draft(data, run=row.run, path=row.path)


def _unmoved(row: PictureRow) -> Expect:
    def test(now: Row | None) -> bool:
        return now == row

    return Expect(row=PictureRow, key=(row.run, row.path, row.attempt), test=test, why="moved")
