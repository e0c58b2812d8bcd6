"""What nights keep of runs beside the runs themselves: looks, copies of rows, plans.

What it is not: the erasing; `tildawn.runtime.erasure` does it.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from tildawn.errors import PayloadErased
from tildawn.facts.fact import Fact
from tildawn.facts.night import PlanAccepted
from tildawn.facts.plan import Item, Plan, plan_from
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.reader import Reader
from tildawn.ledger.sqlite.store import SLOTS
from tildawn.projections.night import NightRow
from tildawn.projections.run import RunRow
from tildawn.runtime.plan import compile_rows
from tildawn.units import Seq


class _Asked(msgspec.Struct, frozen=True):
    """What a look before the work was asked to look at."""

    rows: list[dict[str, str]] = []


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """Nights that no run stays of, and those whose plan stays as runs of them do."""

    over: tuple[NightRow, ...]
    staying: tuple[NightRow, ...]

    @property
    def positions(self) -> list[int]:
        """Where the facts stand that hold a plan, its copies, and why it stopped."""
        return [seq for row in self.over for seq in (row.accepted, row.stopped) if seq >= 0]


class Spot(NamedTuple):
    """One row of an item of a night, from 0; an item without rows has one."""

    night: str
    item: str
    row: int


def spots_of(runs: Iterable[RunRow]) -> list[Spot]:
    """Whose rows some runs are; those of children and checks are those of their runs.

    Raises:
        Nothing.
    """
    return [
        Spot(run.night, run.item, max(run.row, 0))
        for run in runs
        if run.night and not run.parent and not run.evidence_for
    ]


def looks_at(reader: Reader, spots: Iterable[Spot]) -> list[str]:
    """The looks before the work that had one of these rows among theirs.

    Raises:
        Nothing.
    """
    wanted: dict[tuple[str, str], set[int]] = {}
    for spot in spots:
        wanted.setdefault((spot.night, spot.item), set()).add(spot.row)
    found: list[str] = []
    for (night, item), rows in wanted.items():
        about = f"{night}/{item}/"
        where = "night = ? AND item = ? AND substr(evidence_for, 1, ?) = ?"
        for look in reader.rows(RunRow, where, (night, item, len(about), about)):
            start = int(look.evidence_for[len(about) :])
            if rows & set(range(start, start + _count(reader, look))):
                found.append(look.run)
    return found


def _count(reader: Reader, look: RunRow) -> int:
    try:
        text = reader.payload(Seq(look.args_at), 0)
    except PayloadErased:
        return 0
    return len(msgspec.json.decode(text, type=_Asked).rows)


def kept_rows(reader: Reader, night: str, item: str) -> list[tuple[str, int]]:
    """The copy of an item's rows: its blob, and the position of the fact that keeps it.

    Raises:
        Nothing.
    """
    row = reader.get(NightRow, night)
    blob = _inputs(reader, row).get(f"rows/{item}") if row is not None else None
    return [(blob, row.accepted)] if row is not None and blob is not None else []


def rows_about(ledger: Ledger, reader: Reader, subject: str) -> list[Spot]:
    """The kept rows that name a subject, also where no run was made of them.

    Reads every copy of rows whose plan names subjects: as long as that takes.

    Raises:
        LedgerBroken: a copy is missing or damaged.
    """
    return [
        Spot(night.night, item.id, row.index)
        for night, item, blob in _named(reader)
        for chunk in compile_rows(_plan(reader, night), ledger.blobs.get(blob), item.id)
        for row in chunk
        if row.subject == subject
    ]


def _named(reader: Reader) -> Iterator[tuple[NightRow, Item, str]]:
    for night in reader.rows(NightRow):
        sql = "SELECT blob FROM blob_use WHERE seq = ?"
        there = {str(blob) for (blob,) in reader.query(sql, (night.accepted,))}
        if not there or not _holds(reader, night.accepted):
            continue
        inputs = _inputs(reader, night)
        for item in _plan(reader, night).items:
            blob = inputs.get(f"rows/{item.id}", "")
            if isinstance(item.subject, msgspec.UnsetType) or blob not in there:
                continue
            yield night, item, blob


def ending_of(reader: Reader, nights: Iterable[str], going: set[str]) -> Ending:
    """Which nights nothing stays of, once some runs go.

    Args:
        reader: of the moment.
        nights: their names.
        going: runs that go; what runs a night has beside them keep its plan.

    Raises:
        Nothing.
    """
    over: list[NightRow] = []
    staying: list[NightRow] = []
    for name in sorted(nights):
        row = reader.get(NightRow, name)
        if row is None or not _holds(reader, row.accepted):
            continue
        sql = (
            "SELECT run FROM run JOIN payload ON payload.id = run.accepted * ?"
            " WHERE night = ? AND erased IS NULL LIMIT ?"
        )
        live = {str(run) for (run,) in reader.query(sql, (SLOTS, name, len(going) + 1))}
        (over if row.state == "closed" and live <= going else staying).append(row)
    return Ending(over=tuple(over), staying=tuple(staying))


def _holds(reader: Reader, seq: int) -> bool:
    sql = "SELECT 1 FROM payload WHERE id = ? AND erased IS NULL"
    return bool(list(reader.query(sql, (seq * SLOTS,))))


def _plan(reader: Reader, night: NightRow) -> Plan:
    return plan_from(reader.payload(Seq(night.accepted), 0))


def _inputs(reader: Reader, night: NightRow) -> dict[str, str]:
    fact, _ = reader.fact(Seq(night.accepted))
    said = fact.data if isinstance(fact, Fact) else None
    return said.inputs if isinstance(said, PlanAccepted) else {}
