"""How runs spent their hours: names for people, deaths and retries, work against waiting.

What it is not: the state of a run; that is in `tildawn.projections.run` and decides.  This is
only told.
"""

from collections.abc import Iterable
from typing import cast

import msgspec

from tildawn.facts.fact import Fact
from tildawn.facts.house import ClockJumped, MachineSlept, PenLaid, PenTaken
from tildawn.facts.night import NightClosed, NightOpened, PlanAccepted
from tildawn.facts.run import (
    RunAccepted,
    RunAnswered,
    RunCancelAsked,
    RunCancelled,
    RunDone,
    RunFailed,
    RunHeld,
    RunInterrupted,
    RunRepeated,
    RunRetried,
    RunStarted,
    RunWaited,
)
from tildawn.facts.step import ChildEnded, EventReceived, TimerFired
from tildawn.ledger.fold import Change, Get, Projection, Put, Row, Table
from tildawn.ledger.reader import Reader
from tildawn.units import Seq


class StoryRow(Row, frozen=True, kw_only=True):
    """What a report tells of a run beside its state; instants are microseconds since 1970."""

    run: str
    #: What a person types: ``41-15`` is the 15th run of night 41, ``41-15.2`` the second child
    #: or check of that run, ``q-15`` the 15th run without a night.
    name: str
    night: str
    #: Whether the acceptance carries a label for people.
    labelled: int
    #: running, waiting or empty.
    phase: str
    phase_at: int
    #: Position and instant of the first start, -1 and 0 where there is none.
    started: int
    started_at: int
    interruptions: int
    #: Those of them in which the process died.
    deaths: int
    retries: int
    waits: int
    helds: int
    #: Position of the last such fact, -1 where there is none.
    interrupted: int
    retried: int
    cancel_asked: int


class NumberRow(Row, frozen=True, kw_only=True):
    """How many runs have been named within a night, or within a run that has children or checks.

    The empty night stands for runs without one.
    """

    night: str
    number: int
    runs: int


class NightsRow(Row, frozen=True, kw_only=True):
    """How many nights there were; one row, key 0."""

    one: int
    nights: int


class ActivityRow(Row, frozen=True, kw_only=True):
    """What the house did with its time so far; one row, key 0; sums in microseconds.

    ``working``: at least one run was going on.  ``waiting``: none was, and at least one waited.
    ``asleep``: the machine slept.  ``away``: nobody held the pen.
    """

    one: int
    running: int
    waits: int
    away_now: int
    since: int
    working_us: int
    waiting_us: int
    idle_us: int
    asleep_us: int
    away_us: int


class ActivityMarkRow(Row, frozen=True, kw_only=True):
    """The sums of `ActivityRow` when a night first began and when it was last closed."""

    night: str
    edge: str
    at: int
    working_us: int
    waiting_us: int
    idle_us: int
    asleep_us: int
    away_us: int


TABLES = (
    Table(
        name="story",
        row=StoryRow,
        key=("run",),
        sql=(
            # Unique by how names are made; a plain index lets the writer fold a batch in memory.
            "CREATE INDEX {table}_name ON {table}(name) WHERE name <> ''",
            "CREATE INDEX {table}_night ON {table}(night) WHERE night <> ''",
        ),
    ),
    Table(name="story_number", row=NumberRow, key=("night",)),
    Table(name="story_nights", row=NightsRow, key=("one",)),
    Table(name="activity", row=ActivityRow, key=("one",)),
    Table(name="activity_mark", row=ActivityMarkRow, key=("night", "edge")),
)

_NOTHING_YET = ActivityRow(
    one=0, running=0, waits=0, away_now=0, since=0, working_us=0, waiting_us=0, idle_us=0,
    asleep_us=0, away_us=0,
)  # fmt: skip


def moved_on(now: ActivityRow, at: int) -> ActivityRow:
    """The sums as of an instant.

    Args:
        now: as last folded.
        at: an instant; one before the last (the clock was set back) adds nothing.

    Returns:
        The row with the time since then added to what the house was doing.

    Raises:
        Nothing.
    """
    gone = max(at - now.since, 0) if now.since else 0
    bucket = _bucket(now)
    return msgspec.structs.replace(now, since=at, **{bucket: getattr(now, bucket) + gone})


def _bucket(now: ActivityRow) -> str:
    if now.away_now:
        return "away_us"
    if now.running:
        return "working_us"
    return "waiting_us" if now.waits else "idle_us"


def _activity(fact: Fact, get: Get) -> ActivityRow:
    return moved_on(get(ActivityRow, 0) or _NOTHING_YET, fact.at)


# --- folds of runs ----------------------------------------------------------------------


def _plan(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("PlanAccepted", fact.data)
    nights = get(NightsRow, 0)
    number = (nights.nights if nights else 0) + 1
    yield Put(NightsRow(one=0, nights=number))
    yield Put(NumberRow(night=said.night, number=number, runs=0))


def _accept(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RunAccepted", fact.data)
    # A child or a check is named after the run that it belongs to: ``41-15.2``.
    of = said.parent or said.evidence_for
    within = of or said.night
    counted = get(NumberRow, within) or NumberRow(night=within, number=0, runs=0)
    counted = msgspec.structs.replace(counted, runs=counted.runs + 1)
    yield Put(counted)
    if of:
        above = get(StoryRow, of)
        name = f"{above.name}.{counted.runs}" if above is not None else ""
    else:
        name = f"{counted.number or 'q'}-{counted.runs}"
    yield Put(
        StoryRow(
            run=fact.run, name=name, night=said.night, labelled=int(said.label != ""), phase="",
            phase_at=fact.at, started=-1, started_at=0, interruptions=0, deaths=0, retries=0,
            waits=0, helds=0, interrupted=-1, retried=-1, cancel_asked=-1,
        )
    )  # fmt: skip


def _phase(fact: Fact, get: Get, phase: str, **fields: int) -> Iterable[Change]:
    row = get(StoryRow, fact.run)
    if row is None:
        return
    yield Put(msgspec.structs.replace(row, phase=phase, phase_at=fact.at, **fields))
    if phase != row.phase:
        now = _activity(fact, get)
        yield Put(
            msgspec.structs.replace(
                now,
                running=now.running + (phase == "running") - (row.phase == "running"),
                waits=now.waits + (phase == "waiting") - (row.phase == "waiting"),
            )
        )


def _start(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(StoryRow, fact.run)
    if row is None or row.started >= 0:
        return _phase(fact, get, "running")
    return _phase(fact, get, "running", started=seq, started_at=fact.at)


def _wait(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(StoryRow, fact.run)
    return _phase(fact, get, "waiting", waits=row.waits + 1 if row else 0)


def _wake(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(StoryRow, fact.run)
    return _phase(fact, get, "running") if row and row.phase == "waiting" else ()


def _interrupt(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RunInterrupted", fact.data)
    row = get(StoryRow, fact.run)
    if row is None:
        return ()
    return _phase(
        fact, get, "", interruptions=row.interruptions + 1, deaths=row.deaths + int(said.unclean),
        interrupted=seq,
    )  # fmt: skip


def _retry(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(StoryRow, fact.run)
    return _phase(fact, get, "waiting", retries=row.retries + 1 if row else 0, retried=seq)


def _hold(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(StoryRow, fact.run)
    return _phase(fact, get, "", helds=row.helds + 1 if row else 0)


def _rest(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    return _phase(fact, get, "")


def _ask_cancel(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(StoryRow, fact.run)
    if row is not None:
        yield Put(msgspec.structs.replace(row, cancel_asked=seq))


# --- folds of the house and of nights -----------------------------------------------------


def _take_pen(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    # After an unclean end the gap counts as what was going on: how long the process was
    # really gone is known only as "since its last fact", which a report looks up.
    yield Put(msgspec.structs.replace(_activity(fact, get), away_now=0))


def _lay_pen(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    yield Put(msgspec.structs.replace(_activity(fact, get), away_now=1))


def _not_work(fact: Fact, get: Get, by_us: int) -> ActivityRow:
    """Takes time that only the wall clock saw out of what seemed to be going on."""
    now = _activity(fact, get)
    bucket = _bucket(now)
    taken = min(by_us, getattr(now, bucket))
    return msgspec.structs.replace(now, **{bucket: getattr(now, bucket) - taken})


def _sleep(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    slept = cast("MachineSlept", fact.data).slept_ms * 1_000
    now = _not_work(fact, get, slept)
    yield Put(msgspec.structs.replace(now, asleep_us=now.asleep_us + slept))


def _jump(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    by = cast("ClockJumped", fact.data).by_ms * 1_000
    yield Put(_not_work(fact, get, max(by, 0)))


def _mark(fact: Fact, get: Get, night: str, edge: str) -> Iterable[Change]:
    now = _activity(fact, get)
    yield Put(now)
    yield Put(
        ActivityMarkRow(
            night=night, edge=edge, at=fact.at, working_us=now.working_us,
            waiting_us=now.waiting_us, idle_us=now.idle_us, asleep_us=now.asleep_us,
            away_us=now.away_us,
        )
    )  # fmt: skip


def _open_night(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    night = cast("NightOpened", fact.data).night
    return () if get(ActivityMarkRow, night, "opened") else _mark(fact, get, night, "opened")


def _close_night(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    return _mark(fact, get, cast("NightClosed", fact.data).night, "closed")


STORY = Projection(
    name="story",
    version=1,
    tables=TABLES,
    folds={
        PlanAccepted: _plan,
        RunAccepted: _accept,
        RunStarted: _start,
        RunWaited: _wait,
        TimerFired: _wake,
        EventReceived: _wake,
        ChildEnded: _wake,
        RunInterrupted: _interrupt,
        RunRetried: _retry,
        RunHeld: _hold,
        RunAnswered: _rest,
        RunDone: _rest,
        RunFailed: _rest,
        RunCancelled: _rest,
        RunRepeated: _rest,
        RunCancelAsked: _ask_cancel,
        PenTaken: _take_pen,
        PenLaid: _lay_pen,
        MachineSlept: _sleep,
        ClockJumped: _jump,
        NightOpened: _open_night,
        NightClosed: _close_night,
    },
)


# --- queries ------------------------------------------------------------------------------


def run_called(reader: Reader, name: str) -> str | None:
    """The run that a person means.

    Args:
        reader: one read transaction.
        name: a name such as ``41-15`` or ``q-15``, or a run's whole name.

    Returns:
        The run, or None when there is none.

    Raises:
        Nothing.
    """
    if reader.get(StoryRow, name) is not None:
        return name
    named = reader.rows(StoryRow, "name = ? AND name <> ''", (name,))
    return named[0].run if named else None


def name_of(reader: Reader, run: str) -> str:
    """What a person types for a run.

    Raises:
        Nothing.
    """
    row = reader.get(StoryRow, run)
    return row.name if row is not None and row.name else run
