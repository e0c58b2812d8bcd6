"""Whether the house is in quarantine, and since when.

What it is not: what keeps work from beginning; `tildawn.runtime.stops` does that.
"""

from collections.abc import Iterable
from typing import cast

import msgspec

from tildawn.facts.fact import Fact
from tildawn.facts.quarantine import HouseQuarantined, QuarantineLifted
from tildawn.ledger.fold import Change, Get, Projection, Put, Row, Table
from tildawn.ledger.reader import Reader
from tildawn.units import Seq


class QuarantineRow(Row, frozen=True, kw_only=True):
    """One quarantine; the text of its fact is payload 0 at ``seq``.

    Instants are microseconds since 1970; ``lifted`` is the position of the lifting, -1 before.
    """

    seq: int
    at: int
    why: str
    #: The table concerned.
    about: str
    times: int
    lifted: int
    lifted_at: int


class QuarantinedRow(Row, frozen=True, kw_only=True):
    """The quarantine that stands now; one row, key 0, ``seq`` -1 for none."""

    one: int
    seq: int


TABLES = (
    Table(name="quarantine", row=QuarantineRow, key=("seq",)),
    Table(
        name="quarantined",
        row=QuarantinedRow,
        key=("one",),
        checks=("one = 0", "seq >= -1"),
    ),
)


def quarantine_of(reader: Reader) -> QuarantineRow | None:
    """The quarantine that stands, or None.

    Raises:
        Nothing.
    """
    now = reader.get(QuarantinedRow, 0)
    return reader.get(QuarantineRow, now.seq) if now is not None and now.seq >= 0 else None


def _quarantine(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("HouseQuarantined", fact.data)
    before = get(QuarantinedRow, 0)
    yield Put(
        QuarantineRow(
            seq=seq, at=fact.at, why=said.why, about=said.table, times=said.times, lifted=-1,
            lifted_at=0,
        )
    )  # fmt: skip
    # A second reason joins the first: lifting ends both.
    if before is None or before.seq < 0:
        yield Put(QuarantinedRow(one=0, seq=seq))


def _lift(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    now = get(QuarantinedRow, 0)
    row = get(QuarantineRow, now.seq) if now is not None and now.seq >= 0 else None
    if row is not None:
        yield Put(msgspec.structs.replace(row, lifted=seq, lifted_at=fact.at))
        yield Put(QuarantinedRow(one=0, seq=-1))


QUARANTINE = Projection(
    name="quarantine",
    version=1,
    tables=TABLES,
    folds={HouseQuarantined: _quarantine, QuarantineLifted: _lift},
)
