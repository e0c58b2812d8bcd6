"""How the second copy of the ledger stands, as far as the record tells, and what befell it.

What it is not: a look at the mirror; `tildawn.ledger.likeness` takes that.
"""

from collections.abc import Iterable
from typing import cast

import msgspec

from tildawn.facts.fact import Fact
from tildawn.facts.mirror import MirrorJoined, MirrorLost, MirrorPrevailed
from tildawn.ledger.fold import Change, Get, Projection, Put, Row, Table
from tildawn.ledger.reader import Reader
from tildawn.units import Seq


class MirrorRow(Row, frozen=True, kw_only=True):
    """The mirror; one row, key 0, once anything was said about it."""

    one: int
    #: Whether facts have had one copy only since ``since``, which is an instant.
    lost: int
    since: int
    seq: int
    why: str
    #: How often it was lost, and how many facts it brought back.
    losses: int
    brought: int


_NEVER = MirrorRow(one=0, lost=0, since=0, seq=-1, why="", losses=0, brought=0)


def lost_mirror(reader: Reader) -> MirrorRow | None:
    """The mirror when it is lost, as the record says; None when it is not, or there is none.

    Raises:
        Nothing.
    """
    row = reader.get(MirrorRow, 0)
    return row if row is not None and row.lost else None


def _lose(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(MirrorRow, 0) or _NEVER
    why = cast("MirrorLost", fact.data).why
    if row.lost:
        # Each holder of the pen says it anew; it has been so since the first one.
        yield Put(msgspec.structs.replace(row, why=why))
    else:
        yield Put(
            msgspec.structs.replace(
                row, lost=1, since=fact.at, seq=seq, why=why, losses=row.losses + 1
            )
        )


def _join(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(MirrorRow, 0) or _NEVER
    yield Put(msgspec.structs.replace(row, lost=0, since=fact.at, seq=seq, why=""))


def _prevail(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(MirrorRow, 0) or _NEVER
    count = cast("MirrorPrevailed", fact.data).count
    yield Put(msgspec.structs.replace(row, brought=row.brought + count))


MIRROR = Projection(
    name="mirror",
    version=1,
    tables=(Table(name="mirror", row=MirrorRow, key=("one",)),),
    folds={MirrorLost: _lose, MirrorJoined: _join, MirrorPrevailed: _prevail},
)
