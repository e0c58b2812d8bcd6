"""Keeps the archive of a house: seals what is full, lets bodies leave, drops what is over.

What it is not: the files; `tildawn.ledger.segment` writes and checks those.
"""

from collections.abc import Iterable

import msgspec

from tildawn.errors import ArchiveMissing, LedgerBroken
from tildawn.facts.segment import BodiesArchived, SegmentPruned
from tildawn.ledger.archive import Archive
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.reader import Reader
from tildawn.ledger.sealing import publish_checkpoint, seal_next, segment_meant
from tildawn.ledger.segment import check_segment
from tildawn.ledger.sqlite.leaving import LEAVE_FACTS, bodies_leave
from tildawn.ledger.verdict import State
from tildawn.projections.run import ENDED
from tildawn.projections.segment import SegmentRow, sealed_segments
from tildawn.units import Micros


FOR_EVER = Micros(36_500 * 86_400 * 1_000_000)
"""A hundred years; a setting of as much means that nothing leaves by itself."""


class Leaving(msgspec.Struct, frozen=True, kw_only=True):
    """Which segments' bodies may leave the database; ``stopped_by`` says why not more."""

    numbers: tuple[int, ...]
    #: Facts before this position have left afterwards.
    to: int
    stopped_by: str


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


def plan_leaving(
    reader: Reader, archive: Archive, *, before: int | None = None, older: Micros | None = None
) -> Leaving:
    """Which bodies may leave: whole segments from the first one on, whose runs have all ended.

    Args:
        reader: of the moment.
        archive: of the house.
        before: only segments that end at or before this position.
        older: only segments all of whose facts are older than this instant.

    Returns:
        The plan; nothing is changed.

    Raises:
        ArchiveMissing: a manifest is not there, or not the one that was sealed.
    """
    to, numbers = 0, list[int]()
    stopped, open_at = "no more is sealed", None
    for row in reader.rows(SegmentRow):
        end = row.first + row.count
        if row.moved >= 0:
            to = end
            continue
        if before is not None and end > before:
            stopped = f"segment {row.number} reaches beyond fact {before}"
            break
        if older is not None and _newest(archive, row) >= older:
            stopped = f"segment {row.number} is not old enough"
            break
        if open_at is None:
            open_at = _first_open(reader)
        if open_at[0] < end:
            stopped = f"run {open_at[1]}, accepted at fact {open_at[0]}, has not ended"
            break
        to = end
        numbers.append(row.number)
    return Leaving(numbers=tuple(numbers), to=to, stopped_by=stopped)


def let_leave(ledger: Ledger, numbers: Iterable[int]) -> int:
    """Check each segment again, then empty its bodies in the database; blocks.

    A crash in between leaves some bodies in both places, which reading does not mind; the next
    time goes on, and the fact about the segment comes when all of it is done.

    Returns:
        How many segments it were.

    Raises:
        ArchiveMissing: a segment is not whole; nothing of it was emptied.
        LedgerBroken: a segment contradicts the ledger; nothing of it was emptied.
        TildawnError: the house cannot be written.
    """
    count = 0
    for number in numbers:
        _prove(ledger, number)
        first = number * ledger.archive.facts
        end = first + ledger.archive.facts
        for begin in range(first, end, LEAVE_FACTS):
            ledger.do(bodies_leave(begin, min(begin + LEAVE_FACTS, end)))
        ledger.append_now([ledger.draft(BodiesArchived(number=number, to=end))])
        count += 1
    return count


def prune(ledger: Ledger, older: Micros) -> int:
    """Drop the entries of segments all of whose facts are older; tiles and manifests stay.

    The fact comes first: a crash in between leaves entries that were to go, and the next turn
    finds them.  Only bodies that have left the database are dropped.

    Returns:
        How many segments it were.

    Raises:
        ArchiveMissing: a manifest is not there, or not the one that was sealed.
        OSError: the disk refuses.
        TildawnError: the house cannot be written.
    """
    count, archive = 0, ledger.archive
    with ledger.read() as reader:
        rows = reader.rows(SegmentRow, "moved >= 0")
    for row in rows:
        if row.pruned < 0:
            if _newest(archive, row) >= older:
                break
            ledger.append_now([ledger.draft(SegmentPruned(number=row.number))])
            count += 1
        _drop_entries(archive, row)
    archive.forget()
    return count


def keep(ledger: Ledger, now: Micros, *, hot: Micros, kept: Micros) -> tuple[int, int]:
    """What the settings ask for: old bodies leave the database, older ones are dropped; blocks.

    Args:
        ledger: open to write.
        now: the time.
        hot: how long bodies stay in the database.
        kept: how long they stay at all.

    Returns:
        Of how many segments the bodies left, and of how many the entries were dropped.

    Raises:
        OSError: the disk refuses.
        TildawnError: a segment is not what it should be, or the house cannot be written.
    """
    moved = pruned = 0
    if hot < FOR_EVER:
        with ledger.read() as reader:
            plan = plan_leaving(reader, ledger.archive, older=Micros(now - hot))
        moved = let_leave(ledger, plan.numbers)
    if kept < FOR_EVER:
        pruned = prune(ledger, Micros(now - kept))
    return moved, pruned


def _newest(archive: Archive, row: SegmentRow) -> int:
    return archive.manifest(row.number, digest=row.manifest).newest_at


def _first_open(reader: Reader) -> tuple[int, str]:
    """Where the oldest run was accepted that has not ended, and its name."""
    marks = ", ".join("?" * len(ENDED))
    sql = (
        f"SELECT accepted, run FROM run WHERE state NOT IN ({marks})"  # noqa: S608 - only marks
        " ORDER BY accepted LIMIT 1"
    )
    found = reader.query(sql, sorted(ENDED))
    return (int(found[0][0]), str(found[0][1])) if found else (2**63, "")


def _prove(ledger: Ledger, number: int) -> None:
    with ledger.read() as reader:
        sealed = sealed_segments(reader)
        segment = segment_meant(reader, ledger.archive, sealed, number, pruned=False)
    found = check_segment(ledger.archive, segment)
    if found is None:
        return
    kind = LedgerBroken if found.state is State.BROKEN else ArchiveMissing
    raise kind(found.what, hint="tildawn verify", segment=number)


def _drop_entries(archive: Archive, row: SegmentRow) -> None:
    """Remove bundles from the last to the first, so that the first one tells whether any is left."""
    begin = row.first // archive.width
    if not archive.bundle_file(begin).exists():
        return
    for index in reversed(range(begin, begin + archive.width)):
        archive.bundle_file(index).unlink(missing_ok=True)
