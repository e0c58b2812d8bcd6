"""The old logs that the house has sealed, each once.

What it is not: their content, which is a blob.
"""

from collections.abc import Iterable
from typing import cast

from tildawn.facts.fact import Fact
from tildawn.facts.legacy import LegacySealed
from tildawn.ledger.fold import Add, Change, Get, Projection, Row, Table
from tildawn.ledger.reader import Reader
from tildawn.units import Seq


class LegacyRow(Row, frozen=True, kw_only=True):
    """One sealed log; its name and its account are the payloads 0 and 1 of the fact at ``seq``."""

    digest: str
    seq: int
    at: int
    size_bytes: int
    lines: int
    chained: int
    #: Lines that are outside of its chain, for whatever reason.
    outside: int


def sealed(reader: Reader) -> list[LegacyRow]:
    """All of them, newest first.

    Raises:
        Nothing.
    """
    return reader.rows(LegacyRow, order="seq DESC")


def _seal(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("LegacySealed", fact.data)
    yield Add(
        LegacyRow(
            digest=said.digest, seq=seq, at=fact.at, size_bytes=said.size_bytes, lines=said.lines,
            chained=said.chained,
            outside=said.unchained + said.broken + said.altered + said.unreadable,
        )
    )  # fmt: skip


LEGACY = Projection(
    name="legacy",
    version=1,
    tables=(
        Table(
            name="legacy",
            row=LegacyRow,
            key=("digest",),
            checks=("outside >= 0", "outside + chained <= lines"),
        ),
    ),
    folds={LegacySealed: _seal},
)
