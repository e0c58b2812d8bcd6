"""Commands that work: up, night, demo.

What it is not: the worker.  A command is the small parent that starts it, relays what it says,
and starts it again when it dies.
"""

import asyncio
import sys
from pathlib import Path

import click

from tildawn.apps.night.supervise import Orders, Supervisor
from tildawn.apps.night.window import hours_of
from tildawn.clock import Clock, SystemClock
from tildawn.errors import Failed, Misused
from tildawn.faces.cli.ask import config_of, house_meant, house_there
from tildawn.faces.cli.asked import asked, options
from tildawn.faces.cli.progress import Progress
from tildawn.runtime.job import RESTARTED, Job, NightJob, told
from tildawn.runtime.plan import read_plan
from tildawn.units import Micros


AT_THE_END = Micros(0)
"""The report has no hour of its own."""


@click.command(help="Work on what is enqueued until you stop it.")
@options
def up() -> int:
    folder = house_there()
    config_of(folder)  # what is wrong with the settings is said before anything starts
    return look_after(Job(house=str(folder), flags=asked().flags), SystemClock())


@click.command(help="Run a plan through its night, or go on with its unfinished one.")
@click.argument("plan", metavar="PLAN")
@click.option(
    "--at",
    "at",
    type=click.Choice(["now", "window"]),
    default="now",
    help="Begin now, or when the plan's window opens.",
)
@click.option("--simulate", is_flag=True, help="Ask the simulator; nothing leaves this machine.")
@click.option(
    "--continue", "go_on", is_flag=True, help="Go on with the accepted plan, edited or not."
)
@click.option("--new", is_flag=True, help="Give the unfinished night up and begin another.")
@options
def night(plan: str, at: str, simulate: bool, go_on: bool, new: bool) -> int:  # fmt: skip
    if go_on and new:
        message = "--continue and --new exclude each other"
        raise Misused(message, hint="choose one of them")
    folder = house_meant(make=True)
    config_of(folder)
    clock = SystemClock()
    hours = hours_of(read_plan(plan).night, clock.wall(), at_window=at == "window")
    job = NightJob(
        plan=str(Path(plan).absolute()), at_window=at == "window", simulate=simulate,
        edited="continue" if go_on else "new" if new else "ask",
    )  # fmt: skip
    return look_after(
        Job(house=str(folder), flags=asked().flags, night=job), clock, report_at=hours.report_at
    )


def go_on_with(night: str) -> int:
    """Go on with an accepted night, as ``tildawn resume NUMBER`` does.

    Args:
        night: its number or name.

    Returns:
        The exit code.

    Raises:
        TildawnError: the house or its settings will not do.
    """
    folder = house_there()
    job = Job(house=str(folder), flags=asked().flags, night=NightJob(night=night))
    return look_after(job, SystemClock())


@click.command(help="Run a whole night in about a minute: no key, no network, a real kill -9.")
@click.option("--folder", metavar="FOLDER", help="Where; a new folder below this one if absent.")
@options
def demo(folder: str | None) -> int:
    from tildawn.apps.night.demo import play  # noqa: PLC0415 - no other command needs it

    place = Path(folder) if folder else _new_folder(Path("tildawn-demo"))
    try:
        played = play.play(place.absolute(), click.echo)
    except FileExistsError:
        message = f"{place} is there already"
        raise Misused(message, hint="name another folder, or remove that one") from None
    click.echo("")
    for line in play.told(played):
        click.echo(line)
    if not played.good:
        message = f"the demonstration did not end as it should; look into {played.folder}"
        raise Failed(message)
    return 0


def _new_folder(base: Path) -> Path:
    found, number = base, 1
    while found.exists():
        number += 1
        found = base.with_name(f"{base.name}-{number}")
    return found


def look_after(job: Job, clock: Clock, *, report_at: Micros = AT_THE_END) -> int:
    """Be the parent of a worker until it ends.

    Args:
        job: what it is to do.
        clock: the machine's.
        report_at: the instant by which a report has to be there, 0 for the end of the work.

    Returns:
        The exit code.

    Raises:
        OSError: the worker cannot be started.
    """
    folder = Path(job.house)
    report = [sys.executable, "-m", "tildawn", "--house", str(folder), "report", "--write"]
    orders = Orders(
        worker=(sys.executable, "-m", "tildawn.faces.local", told(job)),
        again=(RESTARTED,),
        report=tuple(report) if job.night is not None else (),
        report_at=report_at,
        log=folder / "logs" / "supervisor.log",
    )
    progress = Progress(as_json=asked().json)
    return asyncio.run(_supervise(orders, clock, progress))


async def _supervise(orders: Orders, clock: Clock, progress: Progress) -> int:
    supervisor = Supervisor(orders, clock, relay=progress.line, tell=progress.event)
    supervisor.listen()
    with progress:
        return await supervisor.run()
