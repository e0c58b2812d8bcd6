"""Segments of the archive as they are now: sealed, their bodies gone, pruned.

What it is not: proof that their files are there; `tildawn verify` looks.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import msgspec

from tildawn.facts.fact import Fact
from tildawn.facts.segment import BodiesArchived, SegmentPruned, SegmentSealed
from tildawn.ledger.fold import Add, Change, Get, Projection, Put, Row, Table
from tildawn.units import Seq


if TYPE_CHECKING:
    from tildawn.ledger.reader import Reader


class SegmentRow(Row, frozen=True, kw_only=True):
    """One segment. ``moved`` and ``pruned`` are the facts that say so, -1 where it has not been."""

    number: int
    first: int
    count: int
    root: str
    manifest: str
    sealed: int
    sealed_at: int
    moved: int
    moved_at: int
    pruned: int
    pruned_at: int


def _seal(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("SegmentSealed", fact.data)
    # A second one of the same number is refused: two who sealed at once wrote the same files.
    yield Add(
        SegmentRow(
            number=said.number, first=said.first, count=said.count, root=said.root,
            manifest=said.manifest, sealed=seq, sealed_at=fact.at, moved=-1, moved_at=0,
            pruned=-1, pruned_at=0,
        )
    )  # fmt: skip


def _move(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(SegmentRow, cast("BodiesArchived", fact.data).number)
    if row is not None:
        yield Put(msgspec.structs.replace(row, moved=seq, moved_at=fact.at))


def _prune(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(SegmentRow, cast("SegmentPruned", fact.data).number)
    if row is not None:
        yield Put(msgspec.structs.replace(row, pruned=seq, pruned_at=fact.at))


SEGMENT = Projection(
    name="segment",
    version=1,
    tables=(Table(name="segment", row=SegmentRow, key=("number",)),),
    folds={SegmentSealed: _seal, BodiesArchived: _move, SegmentPruned: _prune},
)


def sealed_segments(reader: "Reader") -> tuple[SegmentSealed, ...]:
    """What was said when each segment was sealed, in order.

    Raises:
        Nothing.
    """
    return tuple(
        SegmentSealed(
            number=row.number, first=row.first, count=row.count, root=row.root,
            manifest=row.manifest,
        )
        for row in reader.rows(SegmentRow)
    )  # fmt: skip
