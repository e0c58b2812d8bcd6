"""One night from a plan file to its end, in the process that holds the pen.

What it is not: the process.  Whoever calls this has opened the house and started the engine, and
leaves in order afterwards; ``supervise`` keeps such a process going.
"""

import asyncio
from pathlib import Path

import msgspec

from tildawn.apps.night.acceptance import Chosen, Edited, Terms, accept_night
from tildawn.apps.night.conductor import NEVER, Conduct, Conductor, End, Outcome
from tildawn.apps.night.desk import Desk
from tildawn.apps.night.news import Announce, News, silence
from tildawn.apps.night.window import Hours, hours_of
from tildawn.engine.engine import Engine
from tildawn.facts.plan import Plan
from tildawn.ids import Ids
from tildawn.projections.night import NightRow
from tildawn.projections.run import RunRow
from tildawn.runtime.plan import Compiled, compile_plan
from tildawn.units import Micros


GIVEN_UP_AT_ONCE = 16
"""Runs of a replaced night that are brought to their end together; they do nothing more."""


class NightOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a night is run; see `Terms` and `Conduct`."""

    at_window: bool = False
    simulated: bool = False
    edited: Edited = Edited.ASK
    restarted: bool = False
    admitted: int = Conduct().admitted
    concurrency: int = Conduct().concurrency


class NightEnd(msgspec.Struct, frozen=True):
    """A night and how the work on it ended this time."""

    night: str
    end: End

    @classmethod
    def of(cls, row: NightRow) -> "NightEnd":
        """The end of a night that is closed.

        Raises:
            Nothing.
        """
        done = row.outcome == Outcome.DONE.value
        return cls(row.night, End(Outcome.DONE if done else Outcome.FAILED))

    @property
    def exit_code(self) -> int:
        """The exit code of the process: see the page on exit codes.

        0 done; 1 something did not end well, or waits for its owner; 3 a budget is spent; 75 it
        was told to leave or its window closed, and goes on when it is run again.
        """
        match self.end.outcome:
            case Outcome.DONE:
                return 0
            case Outcome.LEFT | Outcome.WINDOW:
                return 75
            case Outcome.STOPPED if self.end.why == "budget":
                return 3
            case _:
                return 1


async def run_night(
    engine: Engine,
    ids: Ids,
    *,
    plan: Path,
    options: NightOptions,
    leave: asyncio.Event,
    announce: Announce = silence,
) -> NightEnd:
    """Accept a plan, or go on with its unfinished night, and work until the night ends.

    Args:
        engine: started, after `prepare` has seen it.
        ids: names nights and runs.
        plan: the plan file; while its unfinished night goes on, only looked at for edits.
        options: how.
        leave: set when this process is asked to go; the night is then parked within seconds.
        announce: told what happens.

    Returns:
        The night and how it ended.

    Raises:
        BadPlan: with every problem of the plan.
        Misused: it was edited, and nobody said what to do.
        TildawnError: the ledger takes nothing.
    """
    compiled = await asyncio.to_thread(compile_plan, plan)
    chosen = await choose_night(engine, ids, compiled=compiled, options=options)
    return await conduct_night(
        engine, ids, chosen=chosen, options=options, leave=leave, announce=announce
    )


async def choose_night(
    engine: Engine, ids: Ids, *, compiled: Compiled, options: NightOptions
) -> Chosen:
    """Accept a checked plan, or find the unfinished night that it continues.

    Raises:
        Misused: it was edited, and nobody said what to do; or it names no window.
        BadTask: a task that it names cannot be imported.
        TildawnError: the ledger takes nothing.
    """
    terms = Terms(at_window=options.at_window, simulated=options.simulated, edited=options.edited)
    return await accept_night(
        engine.ledger, ids, compiled=compiled, terms=terms, now=engine.clock.wall()
    )


async def conduct_night(
    engine: Engine,
    ids: Ids,
    *,
    chosen: Chosen,
    options: NightOptions,
    leave: asyncio.Event,
    announce: Announce = silence,
) -> NightEnd:
    """Work on an accepted night until it ends; see `run_night`.

    Raises:
        Misused: the plan names no window, and the night is to keep to one.
        TildawnError: the ledger takes nothing.
    """
    desk = Desk(engine, ids)
    with engine.ledger.read() as reader:
        row = reader.get(NightRow, chosen.night)
    assert row is not None
    await _give_up(desk, row.continues)
    kept = desk.copies.of(chosen.night)
    kind = "accepted" if chosen.fresh else "continued"
    announce(News(kind=kind, night=row.night, number=row.number, planned=row.planned))
    hours = _hours(kept.plan, row, options, chosen, engine.clock.wall())
    conductor = Conductor(
        desk, chosen.night, leave=leave, announce=announce,
        conduct=Conduct(
            admitted=options.admitted, concurrency=options.concurrency,
            restarted=options.restarted,
        ),
    )  # fmt: skip
    end = await conductor.run(opens=hours.opens, closes=hours.closes, report_at=hours.report_at)
    return NightEnd(chosen.night, end)


def _hours(plan: Plan, row: NightRow, options: NightOptions, chosen: Chosen, now: Micros) -> Hours:
    """When the work may begin and when it has to end."""
    if chosen.fresh:
        return Hours(
            opens=Micros(row.opens), closes=Micros(row.closes), report_at=Micros(row.report_at)
        )
    if not options.at_window:
        return Hours(opens=now)
    if options.restarted and row.openings and row.state != "parked":
        # The same night goes on after a crash, even when its window has closed meanwhile.
        return Hours(opens=now, closes=Micros(row.closes) or NEVER, report_at=Micros(row.report_at))
    return hours_of(plan.night, now, at_window=True)


async def _give_up(desk: Desk, replaced: str) -> None:
    """What a replaced night has left ends; a crash leaves the rest of it for the next start.

    A run that had begun has to be driven to its end, so the queues of that night are opened once
    all that is in them is asked to stop.  Questions about the work are asked no more; whether a
    call has had its effect still is, since that outlives the night.
    """
    with desk.ledger.read() as reader:
        left = reader.rows(
            RunRow,
            "night = ? AND night <> '' AND parent = ''"
            " AND (state IN ('queued', 'scheduled', 'waiting', 'running')"
            " OR (state = 'held' AND call_path = ''))",
            (replaced,),
        )
    for run in left:
        await desk.owner.cancel(run.run, "its night was given up for an edited plan")
    for queue in sorted({run.queue for run in left}):
        desk.gate(queue, GIVEN_UP_AT_ONCE)
