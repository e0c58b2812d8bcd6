"""Drift and broken invariants of the house: what, how often, and whether it was mended.

What it is not: the comparison; `tildawn.ledger.reconcile` makes it.
"""

from collections.abc import Iterable
from typing import cast

import msgspec

from tildawn.facts.fact import Fact
from tildawn.facts.reconcile import DriftFound, DriftMended, InvariantBroken
from tildawn.ledger.fold import Change, Get, Projection, Put, Row, Table
from tildawn.ledger.reader import Reader
from tildawn.units import Seq


class DriftRow(Row, frozen=True, kw_only=True):
    """One drift, however often it was found; what differed is payload 0 of the fact at ``found``.

    ``mended`` is the position of the last mending, -1 while the last finding is not mended.
    """

    #: The table concerned.
    about: str
    digest: str
    rows: int
    times: int
    found: int
    found_at: int
    mended: int


class InvariantRow(Row, frozen=True, kw_only=True):
    """One rule of a table that was about to be broken, how often and when last."""

    about: str
    rule: str
    times: int
    seq: int
    at: int


TABLES = (
    Table(
        name="drift",
        row=DriftRow,
        key=("about", "digest"),
        checks=("times >= 1", "rows >= 1"),
    ),
    Table(name="invariant", row=InvariantRow, key=("about", "rule"), checks=("times >= 1",)),
)


def drifts(reader: Reader) -> list[DriftRow]:
    """Every drift there was, the latest first.

    Raises:
        Nothing.
    """
    return reader.rows(DriftRow, order="found DESC")


def _found(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("DriftFound", fact.data)
    before = get(DriftRow, said.table, said.digest)
    yield Put(
        DriftRow(
            about=said.table, digest=said.digest, rows=said.rows,
            times=1 if before is None else before.times + 1, found=seq, found_at=fact.at,
            mended=-1,
        )
    )  # fmt: skip


def _mended(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("DriftMended", fact.data)
    row = get(DriftRow, said.table, said.digest)
    if row is not None:
        yield Put(msgspec.structs.replace(row, mended=seq))


def _broken(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("InvariantBroken", fact.data)
    before = get(InvariantRow, said.table, said.rule)
    times = 1 if before is None else before.times + 1
    yield Put(InvariantRow(about=said.table, rule=said.rule, times=times, seq=seq, at=fact.at))


RECONCILE = Projection(
    name="reconcile",
    version=1,
    tables=TABLES,
    folds={DriftFound: _found, DriftMended: _mended, InvariantBroken: _broken},
)
