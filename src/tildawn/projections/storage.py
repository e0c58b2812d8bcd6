"""The space that the house has set aside, and when its disk was full.

What it is not: how much is free now; the disk says that.
"""

from collections.abc import Iterable
from typing import cast

from tildawn.facts.fact import Fact
from tildawn.facts.storage import BallastLaid, StorageExhausted
from tildawn.ledger.fold import Change, Get, Projection, Put, Row, Table
from tildawn.ledger.reader import Reader
from tildawn.units import Micros, Seq


class BallastRow(Row, frozen=True, kw_only=True):
    """What is set aside, as far as the facts say; one row, key 0; ``laid_bytes`` 0 for none."""

    one: int
    laid_bytes: int
    seq: int


class FullRow(Row, frozen=True, kw_only=True):
    """A time in which the disk was full; ``ended_at`` is 0 until space was set aside again."""

    seq: int
    at: int
    ended_at: int
    released_bytes: int


def ballast_of(reader: Reader) -> int:
    """How many bytes the facts say are set aside.

    Raises:
        Nothing.
    """
    row = reader.get(BallastRow, 0)
    return row.laid_bytes if row is not None else 0


def full_between(reader: Reader, begin: Micros, end: Micros) -> list[FullRow]:
    """When the disk was full in a span of time, oldest first.

    Raises:
        Nothing.
    """
    return reader.rows(
        FullRow, "at <= ? AND (ended_at = 0 OR ended_at >= ?)", (end, begin), order="seq"
    )


def _lay(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("BallastLaid", fact.data)
    before = get(BallastRow, 0)
    yield Put(BallastRow(one=0, laid_bytes=said.size_bytes, seq=seq))
    full = get(FullRow, before.seq) if before is not None and not before.laid_bytes else None
    if full is not None:
        yield Put(
            FullRow(seq=full.seq, at=full.at, ended_at=fact.at, released_bytes=full.released_bytes)
        )


def _exhaust(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("StorageExhausted", fact.data)
    yield Put(BallastRow(one=0, laid_bytes=0, seq=seq))
    yield Put(FullRow(seq=seq, at=fact.at, ended_at=0, released_bytes=said.released_bytes))


STORAGE = Projection(
    name="storage",
    version=1,
    tables=(
        Table(name="ballast", row=BallastRow, key=("one",), checks=("one = 0",)),
        Table(name="storage_full", row=FullRow, key=("seq",)),
    ),
    folds={BallastLaid: _lay, StorageExhausted: _exhaust},
)
