"""What each anchor has of the ledger, and since when it has not taken more.

What it is not: a question to the place; `tildawn anchor verify` asks.
"""

from collections.abc import Iterable
from typing import cast

import msgspec

from tildawn.facts.anchor import KINDS, Anchored, AnchorFailed, AnchorRemoved
from tildawn.facts.fact import Fact
from tildawn.ledger.checkpoint import origin_of
from tildawn.ledger.fold import Change, Drop, Get, Projection, Put, Row, Table
from tildawn.ledger.reader import Reader
from tildawn.projections.house import HouseRow
from tildawn.units import Seq


class AnchorRow(Row, frozen=True, kw_only=True):
    """One anchor. Instants are microseconds since 1970, 0 where it has not happened.

    ``size`` facts of the log ``origin`` are there, as the fact at ``seq`` says (-1 for never);
    ``state`` is ``anchored``, ``failed`` or ``broken``, since ``since`` as ``said`` says.
    """

    anchor: str
    kind: str
    origin: str
    size: int
    root: str
    seq: int
    at: int
    every_ms: int
    state: str
    since: int
    said: int


OWN = frozenset(kind.__name__ for kind in KINDS)
"""Facts that owe no anchor anything: else a house at rest would anchor its own anchoring."""

_PAGE = 100


def owed(reader: Reader, size: int) -> tuple[int, int] | None:
    """The first fact that an anchor with ``size`` facts does not have.

    Returns:
        Position and instant of the first one that is not about anchors; None without one.

    Raises:
        HouseTooNew: a fact is newer than this version of Tildawn.
    """
    after = Seq(size - 1)
    while True:
        page = list(reader.facts(after, _PAGE))
        for seq, fact in page:
            if fact.kind not in OWN:
                return seq, fact.at
        if len(page) < _PAGE:
            return None
        after = page[-1][0]


def origin_now(reader: Reader) -> str:
    """The origin of a house's log under the name that it has now.

    Raises:
        Nothing.
    """
    row = reader.get(HouseRow, 0)
    return origin_of(row.name if row is not None else "")


_NEW = AnchorRow(
    anchor="", kind="", origin="", size=0, root="", seq=-1, at=0, every_ms=0, state="", since=0,
    said=-1,
)  # fmt: skip


def _anchor(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("Anchored", fact.data)
    before = get(AnchorRow, said.anchor) or _NEW
    since = before.since if before.state == "anchored" else fact.at
    yield Put(
        AnchorRow(
            anchor=said.anchor, kind=said.kind, origin=said.origin, size=said.size,
            root=said.root, seq=seq, at=fact.at, every_ms=said.every_ms, state="anchored",
            since=since, said=seq,
        )
    )  # fmt: skip


def _fail(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("AnchorFailed", fact.data)
    row = get(AnchorRow, said.anchor) or _NEW
    if row.origin != said.origin:
        row = _NEW  # what it has is of a log that ended
    yield Put(
        msgspec.structs.replace(
            row, anchor=said.anchor, kind=said.kind, origin=said.origin, every_ms=said.every_ms,
            state=said.state, since=fact.at, said=seq,
        )
    )  # fmt: skip


def _remove(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("AnchorRemoved", fact.data)
    if get(AnchorRow, said.anchor) is not None:
        yield Drop(AnchorRow, (said.anchor,))


ANCHOR = Projection(
    name="anchor",
    version=1,
    tables=(
        Table(
            name="anchor",
            row=AnchorRow,
            key=("anchor",),
            checks=("state IN ('anchored', 'failed', 'broken')", "size >= 0"),
        ),
    ),
    folds={Anchored: _anchor, AnchorFailed: _fail, AnchorRemoved: _remove},
)
