"""Where a restore takes its facts from: the house itself, or the newest snapshot that has them.

What it is not: the restore.  Nothing here changes a house.
"""

from pathlib import Path

import msgspec

from tildawn.errors import LedgerBroken, Misused, ProofBroken, TildawnError
from tildawn.ledger.archive import Archive
from tildawn.ledger.layout import Layout
from tildawn.ledger.place import read_note
from tildawn.ledger.snapshot import DATABASE, Snapshot, read_snapshot, snapshots, unpack
from tildawn.ledger.sqlite.prefix import End, proven_to, size_at
from tildawn.ledger.sqlite.signed import as_signed


LEDGER = "ledger"
"""The name of a source that is the house itself."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """Where to go back to: so many facts, an instant in microseconds, or with neither the end."""

    size: int | None = None
    at: int | None = None


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A database whose first ``size`` facts are proven; ``name`` is ``ledger`` or a snapshot's."""

    name: str
    database: Path
    size: int
    archive: Archive
    snapshot: Snapshot | None = None


def choose(layout: Layout, to: Point, *, place: Path, only: Path | None = None) -> Source:
    """The best source that is proven up to a point.

    Args:
        layout: of the house; its ledger may be damaged or gone.
        to: how far.
        place: an empty folder to unpack snapshots in.
        only: a snapshot's folder; no other source is looked at.

    Returns:
        The house itself where it can be proven that far, else the newest snapshot that can.

    Raises:
        Misused: the point lies before the first fact, or behind the last one of every source.
        LedgerBroken: no source can be proven that far; says what is wrong with each.
    """
    if to.size is not None and to.size < 1:
        message = "a house has at least its first fact"
        raise Misused(message, hint="tildawn restore --to 1 is the earliest")
    wrong: list[str] = []
    ends: list[int] = []
    best: Source | None = None
    if only is None:
        best = _house(layout, to, wrong, ends)
        if best is not None and not wrong:
            return best
    for snapshot in _snapshots(layout, only, more_than=best.size if best else 0):
        ends.append(snapshot.manifest.size)
        try:
            found = _unpacked(snapshot, to, place)
        except TildawnError as error:
            wrong.append(f"snapshot {snapshot.name}: {error.message}")
            continue
        if found is not None:
            return found
    if best is not None:
        return best
    raise _refusal(to, wrong, ends)


def _house(layout: Layout, to: Point, wrong: list[str], ends: list[int]) -> Source | None:
    """The house itself; the part of it that is proven where only the end was asked for."""
    try:
        end = proven_to(layout.database, at_least=to.size)
    except TildawnError as error:
        wrong.append(f"the ledger: {error.message}")
        return None
    ends.append(end.head)
    end = _as_signed(layout, end)
    if end.wrong:
        wrong.append(f"the ledger is proven up to fact {end.size} only: {end.wrong}")
    archive = Archive(layout.archive)
    size = _size(layout.database, end, to, archive)
    if not size:
        return None
    return Source(name=LEDGER, database=layout.database, size=size, archive=archive)


def _as_signed(layout: Layout, end: End) -> End:
    try:
        beside = read_note(layout.checkpoint)
    except (OSError, ProofBroken):
        beside = None  # damaged, it contradicts nothing; going back is what mends it
    return as_signed(layout.database, end, beside)


def _unpacked(snapshot: Snapshot, to: Point, place: Path) -> Source | None:
    if to.size is not None and to.size > snapshot.manifest.size:
        return None
    unpack(snapshot, place)
    database, size = place / DATABASE, snapshot.manifest.size
    said = snapshot.manifest
    # A time behind its last fact is no point of it: more may have happened before that time.
    end = End(size=size, head=size, root=said.root, epoch=said.epoch, wrong="it ends there")
    archive = Archive(snapshot.folder / "archive")
    size = _size(database, end, to, archive)
    if not size:
        return None
    return Source(
        name=snapshot.name, database=database, size=size, archive=archive, snapshot=snapshot
    )


def _size(database: Path, end: End, to: Point, archive: Archive) -> int:
    """How many facts of a proven beginning the point asks for; 0 where it does not reach."""
    if to.size is not None:
        return to.size if to.size <= end.size else 0
    if to.at is None:
        return end.size
    size = size_at(database, to.at, proven=end.size, archive=archive)
    return 0 if end.wrong and size == end.size else size


def _snapshots(layout: Layout, only: Path | None, *, more_than: int) -> list[Snapshot]:
    """Those that have more facts than what there is already, the longest first."""
    if only is not None:
        return [read_snapshot(only)]
    longer = [one for one in snapshots(layout) if one.manifest.size > more_than]
    return sorted(longer, key=lambda one: one.manifest.size, reverse=True)


def _refusal(to: Point, wrong: list[str], ends: list[int]) -> TildawnError:
    last = max(ends, default=0)
    if to.size is not None and ends and to.size > last:
        message = f"there is no fact {to.size - 1}: the last one is {last - 1}; nothing was changed"
        return Misused(message, hint="tildawn restore --to latest --plan")
    said = "; ".join(wrong) or "every fact is later, or no source reaches that far"
    message = f"no source is proven up to there: {said}; nothing was changed"
    return LedgerBroken(message, hint="tildawn snapshot --list; tildawn restore --to latest --plan")
