"""Queues for repair what a reader of pictures could not show.

What it is not: the reading; that is `tildawn.projections.damage`.
"""

from collections.abc import Iterable

from tildawn.facts.picture import PictureDamaged
from tildawn.ledger.entry import Committed
from tildawn.ledger.fold import Expect, Row
from tildawn.ledger.ledger import Ledger
from tildawn.projections.damage import Bad
from tildawn.projections.picture import PictureRow


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
        row = one.row
        data = PictureDamaged(attempt=row.attempt, blob=row.blob, why=one.why)
        entry = ledger.draft(data, run=row.run, path=row.path)
        answer = await ledger.append([entry], expect=[_unmoved(row)])
        count += isinstance(answer, Committed)
    return count


def _unmoved(row: PictureRow) -> Expect:
    def test(now: Row | None) -> bool:
        return now == row

    return Expect(row=PictureRow, key=(row.run, row.path, row.attempt), test=test, why="moved")
