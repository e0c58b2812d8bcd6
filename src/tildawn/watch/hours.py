"""Where the hours of a night went: work against waiting, sleep, and time without a process.

What it is not: a measure of runs.  An hour in which three runs worked is one hour of work.
"""

from dataclasses import dataclass

from tildawn.errors import UnknownName
from tildawn.projections.house import EpochRow
from tildawn.projections.story import ActivityMarkRow, ActivityRow, moved_on
from tildawn.units import Seq
from tildawn.watch.collect import Collected
from tildawn.watch.report import Hours


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A process that ended without laying its pen down, and who came after it."""

    #: The last sign of life: the fact before the pen was taken again.
    at: int
    back_at: int
    epoch: EpochRow
    #: What seemed to go on in between: working, waiting or idle.
    seemed: str


def deaths_of(got: Collected) -> tuple[Death, ...]:
    """The processes that died within the night, oldest first.

    Raises:
        Nothing.
    """
    found = [
        _death(got, epoch)
        for epoch in got.epochs
        if epoch.unclean and epoch.taken > 0 and _within(got, epoch)
    ]
    return tuple(death for death in found if death is not None)


def _within(got: Collected, epoch: EpochRow) -> bool:
    begins = got.night.opened if got.night is not None else 0
    last = got.night.closed if got.night is not None else -1
    return 0 <= begins < epoch.taken and (last < 0 or epoch.taken < last)


def _death(got: Collected, epoch: EpochRow) -> Death | None:
    try:
        fact, _ = got.reader.fact(Seq(epoch.taken - 1))
    except UnknownName:
        return None
    return Death(
        at=fact.at, back_at=max(epoch.taken_at, fact.at), epoch=epoch,
        seemed="working" if epoch.interrupted else "waiting",
    )  # fmt: skip


def hours_of(got: Collected, deaths: tuple[Death, ...]) -> Hours:
    """Add up the night from its first opening to its end.

    Args:
        got: the night.
        deaths: as `deaths_of` found them.

    Returns:
        Six parts that sum to the total.

    Raises:
        Nothing.
    """
    begin, end = _edges(got)
    if begin is None or end is None:
        return Hours(
            begins_at=got.begins_at, ends_at=got.begins_at, total=0, working=0, waiting=0, idle=0,
            asleep=0, down=0, away=0, to_spare=0, seqs=(),
        )  # fmt: skip
    parts = {
        part: max(getattr(end, f"{part}_us") - getattr(begin, f"{part}_us"), 0)
        for part in ("working", "waiting", "idle", "asleep", "away")
    }
    parts["down"] = 0
    for death in deaths:
        gone = death.back_at - death.at
        for part in (death.seemed, "working", "waiting", "idle"):
            taken = min(gone, parts[part])
            parts[part] -= taken
            parts["down"] += taken
            gone -= taken
    return Hours(
        begins_at=begin.at,
        ends_at=end.at,
        total=sum(parts.values()),
        to_spare=_to_spare(got),
        seqs=tuple(
            seq
            for seq in ((got.night.opened, got.night.closed) if got.night is not None else ())
            if seq >= 0
        ),
        **parts,
    )


def _edges(got: Collected) -> tuple[ActivityMarkRow | None, ActivityMarkRow | None]:
    if got.activity is None:
        return None, None
    if got.night is None:
        return _mark_of(moved_on(_ZERO, got.begins_at)), _now(got, got.activity)
    begin = got.marks.get("opened")
    if begin is None:
        return None, None
    return begin, got.marks.get("closed") or _now(got, got.activity)


def _now(got: Collected, activity: ActivityRow) -> ActivityMarkRow:
    """The sums of an unfinished night: up to now while it lives, else to its last sign of life."""
    until = got.now if got.alive else got.last_at
    return _mark_of(moved_on(activity, max(until, activity.since)))


def _mark_of(row: ActivityRow) -> ActivityMarkRow:
    return ActivityMarkRow(
        night="", edge="", at=row.since, working_us=row.working_us, waiting_us=row.waiting_us,
        idle_us=row.idle_us, asleep_us=row.asleep_us, away_us=row.away_us,
    )  # fmt: skip


def _to_spare(got: Collected) -> int:
    night = got.night
    if night is None or not night.closes or not night.closed_at:
        return 0
    return max(night.closes - night.closed_at, 0)


_ZERO = ActivityRow(
    one=0, running=0, waits=0, away_now=0, since=0, working_us=0, waiting_us=0, idle_us=0,
    asleep_us=0, away_us=0,
)  # fmt: skip
