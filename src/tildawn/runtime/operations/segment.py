"""What is asked of the archive: list its segments, let bodies leave the database.

What it is not: the check of the archive; `verify` makes that.
"""

import asyncio
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from tildawn.errors import BadValue
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.sqlite.leaving import give_back_space
from tildawn.projections.segment import SegmentRow
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.operations.house import Nothing
from tildawn.runtime.segment import Leaving, let_leave, plan_leaving
from tildawn.units import Micros


class SegmentLine(msgspec.Struct, frozen=True, kw_only=True):
    """One segment: its facts, when it was sealed, and where its bodies are."""

    number: int
    first: int
    last: int
    #: Microseconds since 1970; 0 where it has not happened.
    sealed_at: int
    moved_at: int
    pruned_at: int
    root: str


class Segments(msgspec.Struct, frozen=True, kw_only=True):
    """The segments of a house, oldest first."""

    segments: tuple[SegmentLine, ...]
    #: How many facts are not in a segment yet.
    unsealed: int


class ArchiveInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Up to where bodies leave: a position, or a time such as 2026-11-01T00:00; empty for nowhere.

    ``compact`` writes the database anew without the space that they leave.
    """

    move_before: str = ""
    compact: bool = False


class PlanInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same, only to see what would be done."""

    move_before: str = ""


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """The segments whose bodies left, or would, and why not more."""

    segments: tuple[int, ...]
    #: Facts before this position have left.
    to: int
    stopped_by: str
    compacted: bool = False


async def _list(desk: Desk, _: Nothing) -> Segments:
    with desk.house.ledger.read() as reader:
        rows = reader.rows(SegmentRow)
        size = reader.head().size
    lines = tuple(
        SegmentLine(
            number=row.number, first=row.first, last=row.first + row.count - 1,
            sealed_at=row.sealed_at, moved_at=row.moved_at, pruned_at=row.pruned_at,
            root=row.root,
        )
        for row in rows
    )  # fmt: skip
    return Segments(segments=lines, unsealed=size - (lines[-1].last + 1 if lines else 0))


async def _plan(desk: Desk, given: PlanInput) -> Moved:
    plan = _planned(desk, given.move_before)
    return Moved(segments=plan.numbers, to=plan.to, stopped_by=plan.stopped_by)


async def _archive(desk: Desk, given: ArchiveInput) -> Moved:
    ledger = desk.house.ledger
    if given.move_before:
        plan = _planned(desk, given.move_before)
    elif given.compact:
        plan = Leaving(numbers=(), to=0, stopped_by="")
    else:
        message = "nothing is to be done: no position, no time, and no --compact"
        raise BadValue(message, hint="tildawn archive --move-before SEQ")
    await asyncio.to_thread(_do, ledger, plan, compact=given.compact)
    return Moved(
        segments=plan.numbers, to=plan.to, stopped_by=plan.stopped_by, compacted=given.compact
    )


def _do(ledger: Ledger, plan: Leaving, *, compact: bool) -> None:
    let_leave(ledger, plan.numbers)
    if compact:
        ledger.do(give_back_space)


def _planned(desk: Desk, text: str) -> Leaving:
    house = desk.house
    before: int | None = None
    older: Micros | None = None
    if text.isdecimal():
        before = int(text)
    else:
        older = _instant(text, house.settings.house.zone)
    with house.ledger.read() as reader:
        return plan_leaving(reader, house.ledger.archive, before=before, older=older)


def _instant(text: str, zone: str) -> Micros:
    try:
        at = datetime.fromisoformat(text)
        local = at if at.tzinfo is not None else at.replace(tzinfo=ZoneInfo(zone))
    except (ValueError, OSError, KeyError) as error:
        message = f"{text!r} is neither a position in the ledger nor a time"
        raise BadValue(message, hint="write it like 65536 or 2026-11-01T00:00") from error
    return Micros(int(local.timestamp() * 1_000_000))


SEGMENTS = Operation(
    name="segments", input=Nothing, output=Segments, effect=Effect.READ,
    permission=Permission.LOOK, run=_list,
    help="List the segments of the archive, and where the bodies of their facts are.",
)  # fmt: skip
ARCHIVE_PLAN = Operation(
    name="archive.plan", input=PlanInput, output=Moved, effect=Effect.READ,
    permission=Permission.LOOK, run=_plan,
    help="Say which segments' bodies would leave the database, and why not more.",
)  # fmt: skip
ARCHIVE = Operation(
    name="archive", input=ArchiveInput, output=Moved, effect=Effect.WRITE,
    permission=Permission.OWN, run=_archive,
    help="Check sealed segments again, and let the bodies of their facts leave the database.",
)  # fmt: skip
