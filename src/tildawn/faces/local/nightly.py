"""A worker's night: preflight, the night itself, and its report.

What it is not: the night's decisions; `tildawn.apps.night` makes them.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from tildawn.apps.night.acceptance import Chosen, Edited
from tildawn.apps.night.news import News
from tildawn.apps.night.night import NightEnd, NightOptions, choose_night, conduct_night
from tildawn.apps.night.preflight import Surroundings as Around
from tildawn.apps.night.preflight import preflight, refuse
from tildawn.apps.night.pricing import pricing
from tildawn.apps.night.reporting import record_report, write_report
from tildawn.apps.night.standing import night_meant, standing_of
from tildawn.clock import Clock
from tildawn.errors import UnknownName
from tildawn.projections.night import NightRow, night_called
from tildawn.providers.prices import Prices
from tildawn.runtime.house import House
from tildawn.runtime.job import Finished, NightJob
from tildawn.runtime.plan import Compiled, compile_plan
from tildawn.runtime.policies import Policies
from tildawn.runtime.secret import key_variable
from tildawn.runtime.setting import SIMULATOR, Settings
from tildawn.runtime.surroundings import models_of, provider_of
from tildawn.runtime.version import BUILD


Print = Callable[[str], None]


def settled(settings: Settings, job: NightJob) -> Settings:
    """The settings of a night: ``--simulate`` asks the simulator inside of the worker.

    Raises:
        Nothing.
    """
    if not job.simulate:
        return settings
    provider = msgspec.structs.replace(
        settings.provider, name=SIMULATOR, base_url="", chat_model="", image_model=""
    )
    return msgspec.structs.replace(settings, provider=provider)


def as_accepted(job: NightJob, folder: Path, clock: Clock, *, restarted: bool) -> NightJob:
    """The job, naming the night that it goes on with where that is certain.

    Such a night rests on its copies, so neither its plan nor its rows are looked at again; and
    one that began with ``--simulate`` never goes on with a provider that costs money.

    Raises:
        TildawnError: the house cannot be read.
    """
    if job.night:
        row = night_meant(folder, job.night, clock)
        return msgspec.structs.replace(job, simulate=row is not None and bool(row.simulated))
    edited = Edited(job.edited)
    if restarted and edited is Edited.ASK:
        edited = Edited.CONTINUE  # the worker before has asked already
    after = job.after if job.after >= 0 else None
    standing = standing_of(folder, Path(job.plan), clock, edited=edited, after=after)
    if standing.meant is not None:
        row = standing.meant.row
        return msgspec.structs.replace(job, plan="", night=row.night, simulate=bool(row.simulated))
    latest = standing.latest
    if latest is not None and latest.state != "closed" and edited is not Edited.NEW:
        return msgspec.structs.replace(job, simulate=job.simulate or bool(latest.simulated))
    return job


PASSING = frozenset({"unreachable-provider"})
"""What is missing for a while must not keep an accepted night from going on; its guard waits."""


def _unfinished(job: NightJob, folder: Path, clock: Clock) -> bool:
    edited = Edited(job.edited)
    latest = standing_of(folder, Path(job.plan), clock, edited=edited).latest
    return edited is not Edited.NEW and latest is not None and latest.state != "closed"


async def look_ahead(
    job: NightJob, folder: Path, settings: Settings, clock: Clock, *, restarted: bool
) -> Compiled | None:
    """Check the plan and what it needs, before anything is accepted.

    A worker that takes the place of a dead one checks the plan alone: what is missing for a
    while, such as a provider, must not end a night that was accepted.

    Returns:
        The checked plan; None when an accepted night goes on, whose copy needs no check.

    Raises:
        BadPlan: with every problem.
        Misused: something would keep the night from working; with the fixes.
    """
    if not job.plan:
        return None
    compiled = await asyncio.to_thread(compile_plan, Path(job.plan))
    if restarted:
        return compiled
    provider = provider_of(settings.provider, clock=clock, env=os.environ)
    around = Around(
        house=folder.parent, env=os.environ, clock=clock, provider=provider,
        models=models_of(settings.provider), key_variable=key_variable(settings.provider),
        at_window=job.at_window,
        priced=pricing(
            Prices.of(folder.parent), settings.provider.name, Policies(settings.route)
        ),
    )  # fmt: skip
    try:
        found = await preflight(compiled, around)
        if _unfinished(job, folder, clock):
            found = tuple(one for one in found if one.code not in PASSING)
        refuse(found)
    finally:
        if provider is not None:
            await provider.aclose()
    return compiled


async def spend_night(
    house: House,
    job: NightJob,
    *,
    compiled: Compiled | None,
    restarted: bool,
    leave: asyncio.Event,
    print_line: Print,
) -> int:
    """Work on the night until it ends; then write its report.

    Args:
        house: at work.
        job: which night and how.
        compiled: the checked plan, None to go on with an accepted night.
        restarted: the worker before this one died.
        leave: set when this process is asked to go.
        print_line: takes a JSON object for each thing that happens.

    Returns:
        The exit code.

    Raises:
        Misused: the plan was edited, and nobody said what to do.
        UnknownName: there is no such night.
        TildawnError: the ledger takes nothing.
    """
    engine, ids = house.engine, house.ids
    options = NightOptions(
        at_window=job.at_window, simulated=house.settings.provider.name == SIMULATOR,
        edited=Edited(job.edited), restarted=restarted,
    )  # fmt: skip
    if compiled is None:
        row = _called(house, job.night)
        if row.state == "closed" and restarted:
            # The worker before died between the end of the night and its report.
            end = NightEnd.of(row)
            await _report(house, end, print_line)
            return end.exit_code
        chosen = Chosen(_unended(row).night, fresh=_begins(row, job))
    else:
        chosen = await choose_night(engine, ids, compiled=compiled, options=options)

    def announce(news: News) -> None:
        print_line(msgspec.json.encode(news).decode())

    end = await conduct_night(
        engine, ids, chosen=chosen, options=options, leave=leave, announce=announce
    )
    await _report(house, end, print_line)
    return end.exit_code


def _begins(row: NightRow, job: NightJob) -> bool:
    """Whether the night was accepted by this command and no work on it has begun."""
    return 0 <= job.after <= row.accepted and not row.openings


def _called(house: House, name: str) -> NightRow:
    with house.ledger.read() as reader:
        row = night_called(reader, name)
    if row is None:
        message = f"there is no night {name}"
        raise UnknownName(message, hint="tildawn report")
    return row


def _unended(row: NightRow) -> NightRow:
    if row.state == "closed":
        message = f"night {row.number} has ended; nothing of it is left to do"
        raise UnknownName(message, hint=f"tildawn report {row.number}")
    return row


async def _report(house: House, end: NightEnd, print_line: Print) -> None:
    written = write_report(
        house.ledger, house.folder, night=end.night, clock=house.clock, alive=True, build=BUILD
    )
    await record_report(house.ledger, written)
    said = Finished(night=end.night, head=written.head, html=str(written.html))
    print_line(msgspec.json.encode(said).decode())
