"""How the anchors of the settings stand, those that were never tried included.

What it is not: a question to a place; `tildawn.runtime.anchors` asks.
"""

from collections.abc import Mapping

import msgspec

from tildawn.ledger.reader import Reader
from tildawn.projections.anchor import AnchorRow, origin_now
from tildawn.runtime.setting import AnchorSettings
from tildawn.units import MILLISECOND, Micros
from tildawn.watch.anchors import Debt, debt_of, sentence


class AnchorLine(msgspec.Struct, frozen=True, kw_only=True):
    """One anchor: how it stands, and the same in a sentence."""

    debt: Debt
    says: str


def anchor_lines(
    reader: Reader, settings: Mapping[str, AnchorSettings], now: Micros
) -> tuple[AnchorLine, ...]:
    """How the anchors of the settings stand, those that were never tried included.

    Raises:
        HouseTooNew: a fact is newer than this version of Tildawn.
    """
    origin = origin_now(reader)
    found: list[AnchorLine] = []
    for name, said in settings.items():
        row = reader.get(AnchorRow, name) or AnchorRow(
            anchor=name, kind=said.kind, origin="", size=0, root="", seq=-1, at=0,
            every_ms=said.every // MILLISECOND, state="new", since=0, said=-1,
        )  # fmt: skip
        debt = debt_of(reader, row, now, origin=origin)
        found.append(AnchorLine(debt=debt, says=sentence(debt, now)))
    return tuple(found)
