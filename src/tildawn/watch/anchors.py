"""What is owed to the places that keep checkpoints, in words: since when, and why.

What it is not: a question to a place.  All of it stands in the ledger.
"""

import msgspec

from tildawn.errors import TildawnError
from tildawn.ledger.reader import Reader
from tildawn.projections.anchor import AnchorRow, owed
from tildawn.units import SECOND, Micros, Seq


LATE = Micros(3 * 3_600 * SECOND)
"""A debt that is older is said, unless the settings ask for an anchor that rarely."""


class Debt(msgspec.Struct, frozen=True, kw_only=True):
    """How one anchor stands.

    ``state`` is ``anchored``, ``failed``, ``broken`` or, for a place that was never tried,
    ``new``.  Instants are microseconds since 1970.
    """

    anchor: str
    kind: str
    state: str
    #: How many facts the place has.
    size: int
    #: When it took them, 0 for never.
    at: int
    #: Of the oldest fact that it does not have, 0 when it has them all.
    owed_since: int
    #: Whether that is longer ago than it should be.
    late: bool
    #: Why it failed or what is broken.
    reason: str = ""
    #: What it gave for what it has.
    evidence: str = ""
    warning: str = ""
    #: Position of the fact that says how it stands, -1 for none.
    seq: int = -1


def debts(reader: Reader, now: Micros, *, origin: str) -> tuple[Debt, ...]:
    """How every anchor stands that was ever tried and is not removed.

    Args:
        reader: of the house.
        now: microseconds since 1970.
        origin: of the log now; what a place has of an older one does not count.

    Raises:
        HouseTooNew: a fact is newer than this version of Tildawn.
    """
    return tuple(debt_of(reader, row, now, origin=origin) for row in reader.rows(AnchorRow))


def debt_of(reader: Reader, row: AnchorRow, now: Micros, *, origin: str) -> Debt:
    """How one anchor stands.

    Raises:
        HouseTooNew: a fact is newer than this version of Tildawn.
    """
    size = row.size if row.origin == origin else 0
    found = owed(reader, size)
    since = 0 if found is None else found[1]
    has = size > 0
    return Debt(
        anchor=row.anchor, kind=row.kind, state=row.state, size=size, at=row.at if has else 0,
        owed_since=since,
        late=bool(since) and now - since > max(LATE, 2_000 * row.every_ms),
        reason="" if row.state == "anchored" else _text(reader, row.said, 0),
        evidence=_text(reader, row.seq, 0) if has else "",
        warning=_text(reader, row.seq, 1) if has else "",
        seq=row.said,
    )  # fmt: skip


def owed_for(debt: Debt, now: Micros) -> str:
    """Such as ``unanchored for 3 h``; empty when nothing is owed.

    Raises:
        Nothing.
    """
    if not debt.owed_since:
        return ""
    return f"unanchored for {_span(now - debt.owed_since)}"


def sentence(debt: Debt, now: Micros) -> str:
    """How an anchor stands, in one line.

    Raises:
        Nothing.
    """
    if debt.state == "broken":
        return f"BROKEN: {debt.reason}"
    said = owed_for(debt, now) or f"has all {debt.size} facts"
    if debt.state == "failed":
        return f"{said}: {debt.reason}"
    return f"{said}; {debt.warning}" if debt.warning else said


def _span(micros: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if micros >= 2 * size * SECOND or (unit != "d" and micros >= size * SECOND):
            return f"{micros // (size * SECOND)} {unit}"
    return "less than a minute"


def _text(reader: Reader, seq: int, slot: int) -> str:
    if seq < 0:
        return ""
    try:
        return msgspec.json.decode(reader.payload(Seq(seq), slot), type=str)
    except (TildawnError, msgspec.DecodeError):
        return ""
