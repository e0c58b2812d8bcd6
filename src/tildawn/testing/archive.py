"""A house of notes with small segments, to try an archive with.

What it is not: the size of the product; its segments have 65,536 facts, these have 16.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tildawn.facts import segment
from tildawn.facts.fact import Registry
from tildawn.facts.segment import SegmentSealed
from tildawn.ledger import tile
from tildawn.ledger.fold import Projection
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.sealing import seal_next
from tildawn.ledger.verdict import Verdict
from tildawn.ledger.verify import verify
from tildawn.projections.segment import SEGMENT, sealed_segments
from tildawn.testing import notebook


WIDTH = 4
"""Hashes of a tile here; a segment has its square of facts."""

FACTS = WIDTH * WIDTH

REGISTRY = Registry([*notebook.REGISTRY.kinds().values(), *segment.KINDS])

PROJECTIONS: tuple[Projection, ...] = (*notebook.PROJECTIONS, SEGMENT)


@contextmanager
def small_segments() -> Generator[None]:
    """Segments of 16 facts for all houses that are opened and verified inside.

    Raises:
        Nothing.
    """
    with patch.object(tile, "WIDTH", WIDTH):
        yield


def open_archiving(folder: Path, **options: Any) -> Ledger:
    """Open a house of notes that knows of segments.

    Raises:
        TildawnError: as `Ledger.open` does.
    """
    arguments: dict[str, Any] = {"registry": REGISTRY, "projections": PROJECTIONS}
    return notebook.open_notebook(folder, **(arguments | options))


def verify_archiving(folder: Path, *, hashes_only: bool = False) -> Verdict:
    """Check such a house.

    Raises:
        Nothing.
    """
    return verify(folder, registry=REGISTRY, projections=PROJECTIONS, hashes_only=hashes_only)


def seal_all(ledger: Ledger) -> list[SegmentSealed]:
    """Seal every segment that is full and settled.

    Raises:
        TildawnError: as `seal_next` does.
    """
    made: list[SegmentSealed] = []
    while True:
        with ledger.read() as reader:
            earlier = sealed_segments(reader)
        fact = seal_next(ledger, earlier)
        if fact is None:
            return made
        made.append(fact)
