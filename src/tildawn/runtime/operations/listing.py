"""Runs as a list: filters, pages, and one line for each.

What it is not: one run in full; that is `tildawn.runtime.operations.showing`.
"""

import msgspec

from tildawn.errors import Misused
from tildawn.ledger.reader import Reader
from tildawn.projections.night import night_called
from tildawn.projections.run import MOVES, RunRow
from tildawn.projections.story import name_of
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.operations.naming import label_of


PAGE_MOST = 10_000

STATES = tuple(sorted({state for move in MOVES for state in move}))


class RunsInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which runs: every filter that is given must hold."""

    states: tuple[str, ...] = ()
    task: str = ""
    queue: str = ""
    #: A night's number or name; ``-`` for runs without one.
    night: str = ""
    item: str = ""
    #: Also children, checks, and what was put away.
    everything: bool = False
    #: At most so many, newest first; ``before`` goes on where a page ended.
    limit: int = 50
    before: int | None = None


class RunLine(msgspec.Struct, frozen=True, kw_only=True):
    """One run in a list; instants are microseconds since 1970, 0 where it has not happened."""

    run: str
    name: str
    label: str
    task: str
    state: str
    #: For what it waits, or the code it is held with.
    why: str
    queue: str
    attempt: int
    night: str
    item: str
    accepted_at: int
    started_at: int
    ended_at: int
    due: int
    simulated: bool
    #: Position of the fact that gave the present state.
    seq: int


class Runs(msgspec.Struct, frozen=True, kw_only=True):
    """A page of runs, newest first; ``next`` is ``before`` of the next page, or None."""

    runs: tuple[RunLine, ...]
    next: int | None
    total: int


async def _runs(desk: Desk, given: RunsInput) -> Runs:
    if not 1 <= given.limit <= PAGE_MOST:
        message = f"a page has 1 to {PAGE_MOST} runs, not {given.limit}"
        raise Misused(message)
    for state in given.states:
        if state not in STATES:
            message = f"{state!r} is no state of a run"
            raise Misused(message, hint="one of " + ", ".join(STATES))
    with desk.house.ledger.read() as reader:
        where, params = _condition(reader, given)
        total = reader.count(RunRow, where, params)
        if given.before is not None:
            where, params = f"({where}) AND accepted < ?", [*params, given.before]
        rows = reader.rows(RunRow, where, params, order="accepted DESC", limit=given.limit + 1)
        page = rows[: given.limit]
        lines = tuple(line_of(reader, row) for row in page)
    return Runs(runs=lines, next=page[-1].accepted if len(rows) > len(page) else None, total=total)


def line_of(reader: Reader, row: RunRow) -> RunLine:
    """One run for a list.

    Raises:
        LedgerBroken: its label cannot be read.
    """
    return RunLine(
        run=row.run, name=name_of(reader, row.run), label=label_of(reader, row), task=row.task,
        state=row.state, why=row.why, queue=row.queue, attempt=row.attempt, night=row.night,
        item=row.item, accepted_at=row.accepted_at, started_at=row.started_at,
        ended_at=row.ended_at, due=row.due, simulated=bool(row.simulated), seq=row.state_at,
    )  # fmt: skip


def _condition(reader: Reader, given: RunsInput) -> "tuple[str, list[str | int]]":
    parts: list[str] = []
    params: list[str | int] = []
    if not given.everything:
        parts.append("parent = '' AND evidence_for = '' AND trashed = 0")
    if given.states:
        parts.append(f"state IN ({', '.join('?' * len(given.states))})")
        params += given.states
    for column, value in (("task", given.task), ("queue", given.queue), ("item", given.item)):
        if value:
            parts.append(f"{column} = ?")
            params.append(value)
    if given.night:
        parts.append("night = ?")
        night = night_called(reader, given.night) if given.night != "-" else None
        params.append(night.night if night is not None else "" if given.night == "-" else "?")
    return " AND ".join(parts) or "1", params


RUNS = Operation(
    name="runs", input=RunsInput, output=Runs, effect=Effect.READ, permission=Permission.LOOK,
    run=_runs,
    help="List runs, newest first.",
)  # fmt: skip
