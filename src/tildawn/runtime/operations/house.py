"""What is asked of a house itself: status, doctor, settings, logs, and to leave.

What it is not: repair.  Nothing here changes what a ledger says.
"""

import os

import msgspec

from tildawn.errors import Misused
from tildawn.ledger.layout import Layout
from tildawn.ledger.pen import holder_of
from tildawn.ledger.reader import Reader
from tildawn.projections.house import EpochRow, HouseRow
from tildawn.projections.mirror import lost_mirror
from tildawn.projections.night import night_called
from tildawn.runtime.config import Explained
from tildawn.runtime.debts import AnchorLine, anchor_lines
from tildawn.runtime.doctor import Check, examine
from tildawn.runtime.logbook import lines
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.operations.naming import run_meant
from tildawn.runtime.operations.showing import fact_line
from tildawn.runtime.stops import Stop, stops_of
from tildawn.runtime.version import BUILD
from tildawn.units import Micros, Seq
from tildawn.watch.waits import Waiting, waiting
from tildawn.watch.words import Times


LOG_MOST = 1_000


class Nothing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No input."""


class NightNow(msgspec.Struct, frozen=True, kw_only=True):
    """The latest night in one line."""

    number: int
    state: str
    planned: int
    simulated: bool


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How a house stands now."""

    house: str
    folder: str
    build: str
    epoch: int
    #: Process that holds the pen, 0 when nobody does.
    holder: int
    #: Since when it is held, or when it was laid down.
    since: int
    facts: int
    root: str
    #: Runs by state, as `runs` lists them: without children, checks and what was put away,
    #: except those that are held; a state without runs is not listed.
    runs: dict[str, int]
    #: Waiting runs by queue.
    queues: dict[str, int]
    #: When the next scheduled or sleeping run is due, 0 for never.
    next_due: int
    #: For which routes runs wait, until when and why.
    waits: tuple[Waiting, ...]
    night: NightNow | None
    #: Why no new work begins; empty when it may.
    stops: tuple[Stop, ...] = ()
    #: Whether facts have one copy only although a mirror is wished for, as the record says.
    mirror_lost: bool = False
    #: What other places have of the ledger; empty when the settings name none.
    anchors: tuple[AnchorLine, ...] = ()


_RUNS = (
    "SELECT state, count(*) FROM run"
    " WHERE trashed = 0 AND (state = 'held' OR (parent = '' AND evidence_for = '')) GROUP BY 1"
)
_QUEUES = (
    "SELECT queue, count(*) FROM run"
    " WHERE trashed = 0 AND state = 'queued' AND parent = '' AND evidence_for = '' GROUP BY 1"
)
"""What somebody asked for, and whatever needs its owner; the other runs that runs make for
themselves are not counted."""


async def _status(desk: Desk, _: Nothing) -> Status:
    house = desk.house
    with house.ledger.read() as reader:
        head = reader.head()
        epoch = reader.get(EpochRow, head.epoch)
        night = night_called(reader)
        laid = epoch is None or epoch.laid >= 0
        return Status(
            house=_name(reader), folder=str(house.folder), build=BUILD, epoch=head.epoch,
            holder=0 if laid else holding(Layout(house.folder)),
            since=0 if epoch is None else epoch.laid_at if laid else epoch.taken_at,
            facts=head.size, root=head.root,
            runs=_counted(reader, _RUNS),
            queues=_counted(reader, _QUEUES),
            next_due=_next_due(reader),
            waits=waiting(
                reader, Times(house.settings.house.zone, begins_at=desk.clock.wall())
            ),
            mirror_lost=lost_mirror(reader) is not None,
            night=None if night is None else NightNow(
                number=night.number, state=night.state, planned=night.planned,
                simulated=bool(night.simulated),
            ),
            stops=stops_of(reader, house.folder),
            anchors=anchor_lines(reader, house.settings.anchor, desk.clock.wall()),
        )  # fmt: skip


def holding(layout: Layout) -> int:
    """The process that holds the pen, as far as its note tells; 0 when it is gone.

    The lock itself is not tried: that could get in the way of somebody who takes it.

    Raises:
        Nothing.
    """
    holder = holder_of(layout.pen)
    if holder is None:
        return 0
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return 0
    except PermissionError:
        pass  # it is there, and somebody else's
    return holder.pid


def _name(reader: Reader) -> str:
    row = reader.get(HouseRow, 0)
    return row.name if row is not None else ""


def _counted(reader: Reader, sql: str) -> dict[str, int]:
    return {str(name): int(number) for name, number in reader.query(sql)}


def _next_due(reader: Reader) -> int:
    sql = "SELECT min(due) FROM run WHERE due > 0 AND state IN ('scheduled', 'waiting')"
    [(due,)] = reader.query(sql)
    return int(due or 0)


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """What the doctor found."""

    checks: tuple[Check, ...]


async def _doctor(desk: Desk, _: Nothing) -> Examined:
    if desk.folder is None:
        message = "no house was named"
        raise Misused(message)
    return Examined(checks=await examine(desk.folder, desk.config.settings, desk.clock))


class Configured(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting with its value and where it comes from."""

    settings: tuple[Explained, ...]


async def _config(desk: Desk, _: Nothing) -> Configured:
    return Configured(settings=desk.config.explained)


class LogsInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which part of the ledger, and the log lines of the same time.

    ``after`` is a position, None for the last ``limit`` facts; ``after_at`` an instant.
    """

    run: str = ""
    after: int | None = None
    after_at: int | None = None
    limit: int = 100


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A fact with its position, or a log line without one."""

    at: int
    seq: int | None
    kind: str
    run: str
    path: str
    text: str


class Logs(msgspec.Struct, frozen=True, kw_only=True):
    """Entries in order of time; ``next`` and ``next_at`` go on where they end."""

    entries: tuple[LogEntry, ...]
    next: int
    next_at: int


async def _logs(desk: Desk, given: LogsInput) -> Logs:
    if not 1 <= given.limit <= LOG_MOST:
        message = f"a page has 1 to {LOG_MOST} facts, not {given.limit}"
        raise Misused(message)
    house = desk.house
    with house.ledger.read() as reader:
        run = run_meant(reader, given.run).run if given.run else None
        size = reader.head().size
        after = given.after if given.after is not None else _last(reader, run, given.limit)
        entries: list[LogEntry] = []
        last = after
        for seq, fact in reader.facts(Seq(after), given.limit, run=run):
            said = fact_line(reader, seq, fact)
            entries.append(
                LogEntry(at=said.at, seq=seq, kind=said.kind, run=fact.run, path=said.path,
                         text=said.text)
            )  # fmt: skip
            last = seq
    full = len(entries) == given.limit
    since = given.after_at
    if since is None:
        since = entries[0].at - 1 if entries else desk.clock.wall()
    upto = entries[-1].at if full else desk.clock.wall()
    beside = [
        LogEntry(at=line.at, seq=None, kind=line.level, run=line.run, path=line.logger,
                 text=line.event)
        for line in lines(house.folder, after=Micros(since))
        if line.at <= upto and (run is None or line.run == run)
    ]  # fmt: skip
    merged = sorted([*entries, *beside], key=lambda entry: entry.at)
    return Logs(entries=tuple(merged), next=last if full else max(last, size - 1), next_at=upto)


def _last(reader: Reader, run: str | None, limit: int) -> int:
    """The position behind which the last ``limit`` facts stand."""
    if run is None:
        return max(reader.head().size - limit, 0) - 1
    seqs = [seq for seq, _ in reader.facts(run=run, limit=-1)]
    return seqs[-limit] - 1 if len(seqs) > limit else -1


class Leaving(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a holder is on its way out."""

    leaving: bool


async def _leave(desk: Desk, _: Nothing) -> Leaving:
    if desk.leave is None:
        return Leaving(leaving=False)  # nobody but this command holds the pen
    desk.leave()
    return Leaving(leaving=True)


STATUS = Operation(
    name="status", input=Nothing, output=Status, effect=Effect.READ, permission=Permission.LOOK,
    run=_status,
    help="Say how the house stands: who holds the pen, runs by state, what is due.",
)  # fmt: skip
DOCTOR = Operation(
    name="doctor", input=Nothing, output=Examined, effect=Effect.NONE,
    permission=Permission.LOOK, run=_doctor,
    help="Examine disk, database, clock, keys and provider, and say what to do.",
)  # fmt: skip
CONFIG = Operation(
    name="config", input=Nothing, output=Configured, effect=Effect.NONE,
    permission=Permission.LOOK, run=_config,
    help="Show every setting, its value, and where the value comes from.",
)  # fmt: skip
LOGS = Operation(
    name="logs", input=LogsInput, output=Logs, effect=Effect.READ, permission=Permission.LOOK,
    run=_logs,
    help="Show the newest facts of the ledger, or of one run, and the log lines between them.",
)  # fmt: skip
LEAVE = Operation(
    name="leave", input=Nothing, output=Leaving, effect=Effect.WRITE, permission=Permission.OWN,
    run=_leave,
    help="Ask the holder of the pen to park its work and go.",
)  # fmt: skip
