"""Runs as they are now: one row a run, and the one table of legal transitions.

What it is not: the engine.  Folds only say what a fact means; SQL refuses what may not be.

::

    queued ──> running ──> done
      ^  ^       │ │ └───> failed ──> queued   (owner retries)
      │  │       │ └─────> cancelled
      │  └────── │ <─ waiting <─┐
      │          ├──────────────┘  waits for a timer, an event, a child, a call
      ├─ scheduled <── retry is due later, or a first start is
      └─ held <─── needs its owner; why and what to type are on record
"""

from collections.abc import Iterable
from typing import cast

import msgspec

from tildawn.facts.fact import Fact
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
    RunTrashed,
    RunWaited,
)
from tildawn.facts.step import ChildEnded, EventReceived, TimerFired
from tildawn.ledger.fold import Add, Change, Get, Projection, Put, Row, Table
from tildawn.units import Seq


MOVES: frozenset[tuple[str, str]] = frozenset(
    (was, becomes)
    for was, targets in {
        "queued": ("running", "held", "cancelled"),
        "scheduled": ("running", "queued", "held", "cancelled"),
        "running": ("waiting", "done", "failed", "held", "cancelled", "scheduled", "queued"),
        # Also "done": what ends the wait may be on record before the word that the run waits.
        "waiting": ("running", "queued", "held", "done", "failed", "cancelled", "scheduled"),
        "held": ("queued", "cancelled", "failed"),
        "failed": ("queued",),
    }.items()
    for becomes in targets
)
"""Every legal change of a run's state; the same pairs are rows of ``run_move``."""

ENDED = frozenset({"done", "failed", "cancelled"})


class RunRow(Row, frozen=True, kw_only=True):
    """One run. Instants are microseconds since 1970; ``seq`` fields point into the ledger."""

    run: str
    state: str
    task: str
    queue: str
    priority: int
    #: When it may start (queued, scheduled) or wake by itself (waiting); 0 means now or never.
    due: int
    attempt: int
    failures: int
    deaths: int
    #: Unclean deaths in a row in which this run was the only suspect.
    sole_deaths: int
    parked: int
    cancel_asked: int
    generation: int
    #: The history of the current generation begins after this position.
    since: int
    #: Records from here on may be recorded anew (a retry or a fork), -1 where none may.
    void: int
    #: Keyed digest of what runs with it must run one at a time, or empty.
    exclusive: str
    parent: str
    parent_path: str
    night: str
    item: str
    #: Row of the item's table, -1 where there is none.
    row: int
    evidence_for: str
    #: Budget scopes, narrowest first, joined by a line feed.
    budgets: str
    simulated: int
    lane: str
    #: Under which its calls are made, empty for the authority of the owner.
    permit: str
    #: waiting: for what; held: the error code.
    why: str
    choices: str
    call_path: str
    trashed: int
    accepted: int
    accepted_at: int
    args_at: int
    started_at: int
    ended_at: int
    #: Position of the fact that gave the present state.
    state_at: int


class RunKeyRow(Row, frozen=True, kw_only=True):
    """Which run was accepted under a key; a second one with it is refused with this row."""

    key: str
    run: str


KEYS = Table(name="run_key", row=RunKeyRow, key=("key",))


def _moves_sql() -> str:
    pairs = ",".join(f"('{was}','{becomes}')" for was, becomes in sorted(MOVES))
    return f"INSERT OR IGNORE INTO run_move(was, becomes) VALUES {pairs}"  # noqa: S608  our own words


RUNS = Table(
    name="run",
    row=RunRow,
    key=("run",),
    sql=(
        (
            "CREATE TABLE IF NOT EXISTS run_move"
            "(was TEXT NOT NULL, becomes TEXT NOT NULL, PRIMARY KEY (was, becomes)) WITHOUT ROWID"
        ),
        _moves_sql(),
        (
            "CREATE TRIGGER {table}_move BEFORE UPDATE OF state ON {table}"
            " WHEN OLD.state <> NEW.state AND NOT EXISTS"
            " (SELECT 1 FROM run_move WHERE was = OLD.state AND becomes = NEW.state)"
            " BEGIN SELECT RAISE(ABORT, 'a run may not move that way'); END"
        ),
        # What may start, in the order in which it starts.
        (
            "CREATE INDEX {table}_queued ON {table}(queue, priority DESC, accepted)"
            " WHERE state = 'queued'"
        ),
        (
            "CREATE INDEX {table}_due ON {table}(due)"
            " WHERE due > 0 AND state IN ('scheduled', 'waiting')"
        ),
        "CREATE INDEX {table}_running ON {table}(state) WHERE state IN ('running', 'held')",
        # Waiting in memory; with a million parked beside them they must be found at once.
        "CREATE INDEX {table}_awake ON {table}(run) WHERE state = 'waiting' AND parked = 0",
        "CREATE INDEX {table}_night ON {table}(night, item) WHERE night <> ''",
        "CREATE INDEX {table}_parent ON {table}(parent) WHERE parent <> ''",
        "CREATE INDEX {table}_evidence ON {table}(evidence_for) WHERE evidence_for <> ''",
    ),
)


def _accept(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RunAccepted", fact.data)
    if said.key:
        yield Add(RunKeyRow(key=said.key, run=fact.run))
    yield Add(
        RunRow(
            run=fact.run,
            state="scheduled" if said.due > fact.at else "queued",
            task=said.task,
            queue=said.queue,
            priority=said.priority,
            due=said.due if said.due > fact.at else 0,
            attempt=0,
            failures=0,
            deaths=0,
            sole_deaths=0,
            parked=0,
            cancel_asked=0,
            generation=0,
            since=seq,
            void=-1,
            exclusive=said.group,
            parent=said.parent,
            parent_path=said.parent_path,
            night=said.night,
            item=said.item,
            row=said.row,
            evidence_for=said.evidence_for,
            budgets="\n".join(said.budgets),
            simulated=int(said.simulated),
            lane=said.lane,
            permit=said.permit,
            why="",
            choices="",
            call_path="",
            trashed=0,
            accepted=seq,
            accepted_at=fact.at,
            args_at=seq,
            started_at=0,
            ended_at=0,
            state_at=seq,
        )
    )


def _change(seq: Seq, fact: Fact, get: Get, **fields: int | str | None) -> Iterable[Change]:
    row = get(RunRow, fact.run)
    if row is not None:
        yield Put(msgspec.structs.replace(row, state_at=seq, **fields))


def _start(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(RunRow, fact.run)
    if row is None:
        return
    said = cast("RunStarted", fact.data)
    yield Put(
        msgspec.structs.replace(
            row,
            state="running",
            attempt=said.attempt,
            due=0,
            parked=0,
            why="",
            choices="",
            call_path="",
            started_at=row.started_at or fact.at,
            state_at=seq,
        )
    )


def _wait(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RunWaited", fact.data)
    return _change(
        seq, fact, get, state="waiting", why=said.on, due=said.until, parked=int(said.parked)
    )


def _interrupt(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(RunRow, fact.run)
    if row is None:
        return
    said = cast("RunInterrupted", fact.data)
    yield Put(
        msgspec.structs.replace(
            row,
            state="queued",
            due=0,
            parked=0,
            state_at=seq,
            deaths=row.deaths + 1 if said.unclean else 0,
            sole_deaths=row.sole_deaths + int(said.sole) if said.unclean else 0,
        )
    )


def _retry(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(RunRow, fact.run)
    if row is None:
        return
    said = cast("RunRetried", fact.data)
    yield Put(
        msgspec.structs.replace(
            row,
            state="scheduled",
            due=said.due,
            failures=said.failures,
            parked=0,
            why="retry",
            void=_lowest(row.void, said.void),
            state_at=seq,
        )
    )


def _hold(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RunHeld", fact.data)
    return _change(
        seq,
        fact,
        get,
        state="held",
        why=said.why,
        choices="\n".join(said.choices),
        due=0,
        parked=0,
        call_path=said.call_path,
    )


def _answer(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(RunRow, fact.run)
    if row is None:
        return
    said = cast("RunAnswered", fact.data)
    ended = said.then in ENDED
    yield Put(
        msgspec.structs.replace(
            row,
            state=said.then,
            why=said.choice if ended else "",
            choices="",
            call_path="",
            due=0,
            failures=0,
            deaths=0,
            sole_deaths=0,
            ended_at=fact.at if ended else 0,
            generation=row.generation + int(said.anew),
            since=seq if said.anew else row.since,
            void=-1 if said.anew else _lowest(row.void, said.void),
            state_at=seq,
        )
    )


def _lowest(one: int, other: int) -> int:
    """The earlier of two places to go back to, where -1 is none."""
    return min(one, other) if one >= 0 and other >= 0 else max(one, other)


def _end(state: str, seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    return _change(
        seq,
        fact,
        get,
        state=state,
        due=0,
        parked=0,
        ended_at=fact.at,
        choices="",
        call_path="",
        why=fact.data.kind if isinstance(fact.data, RunFailed) else "",
    )


def _done(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    return _end("done", seq, fact, get)


def _fail(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    return _end("failed", seq, fact, get)


def _cancel(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    return _end("cancelled", seq, fact, get)


def _ask_cancel(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(RunRow, fact.run)
    if row is None or row.state in ENDED:
        return
    row = msgspec.structs.replace(_woken(row), cancel_asked=1)
    if cast("RunCancelAsked", fact.data).detached:
        row = msgspec.structs.replace(row, parent="", parent_path="")
    yield Put(row)


def _repeat(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RunRepeated", fact.data)
    return _change(
        seq,
        fact,
        get,
        state="queued",
        generation=said.generation,
        since=seq,
        args_at=seq,
        failures=0,
        void=-1,
    )


def _trash(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(RunRow, fact.run)
    if row is not None:
        yield Put(msgspec.structs.replace(row, trashed=1))


def _woken(row: RunRow) -> RunRow:
    """A waiting run goes on: a parked one through the queue, a resident one at once."""
    if row.state != "waiting":
        return row
    state = "queued" if row.parked else "running"
    return msgspec.structs.replace(row, state=state, due=0, parked=0, why="")


def _wake(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(RunRow, fact.run)
    if row is not None and row.state == "waiting":
        yield Put(msgspec.structs.replace(_woken(row), state_at=seq))


RUN = Projection(
    name="run",
    version=3,  # 2: progress clears a run of the deaths before it
    tables=(RUNS, KEYS),
    folds={
        RunAccepted: _accept,
        RunStarted: _start,
        RunWaited: _wait,
        RunInterrupted: _interrupt,
        RunRetried: _retry,
        RunHeld: _hold,
        RunAnswered: _answer,
        RunDone: _done,
        RunFailed: _fail,
        RunCancelAsked: _ask_cancel,
        RunCancelled: _cancel,
        RunRepeated: _repeat,
        RunTrashed: _trash,
        TimerFired: _wake,
        EventReceived: _wake,
        ChildEnded: _wake,
    },
)
