"""Commands that work: up, night, demo.

What it is not: the worker.  A command is the small parent that starts it, relays what it says,
and starts it again when it dies.
"""

import asyncio
import sys
from pathlib import Path

import click

from tildawn.apps.night.acceptance import Edited, ended_just_now, just_ended
from tildawn.apps.night.standing import Standing, standing_of
from tildawn.apps.night.supervise import Orders, Supervisor
from tildawn.apps.night.window import hours_of
from tildawn.clock import Clock, SystemClock
from tildawn.errors import BadPlan, Failed, Misused
from tildawn.faces.cli.ask import config_of, house_meant, house_there
from tildawn.faces.cli.asked import asked, options
from tildawn.faces.cli.progress import Progress
from tildawn.runtime.job import BROKE, RESTARTED, Job, NightJob, told
from tildawn.runtime.plan import Compiled, compile_plan, snapshot_of
from tildawn.runtime.setting import SIMULATOR
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
@click.option(
    "--new",
    is_flag=True,
    help="Begin another night: give the unfinished one up, or do a finished plan again.",
)
@options
def night(plan: str, at: str, simulate: bool, go_on: bool, new: bool) -> int:  # fmt: skip
    if go_on and new:
        message = "--continue and --new exclude each other"
        raise Misused(message, hint="choose one of them")
    folder = house_meant(make=True)
    simulated = simulate or config_of(folder).settings.provider.name == SIMULATOR
    clock, edited = SystemClock(), Edited.CONTINUE if go_on else Edited.NEW if new else Edited.ASK
    standing = standing_of(folder, Path(plan), clock, edited=edited)
    if standing.meant is None:
        compiled = _compiled(plan, standing)
        spec, edited = compiled.plan.night, _sure(compiled, standing, clock, edited, simulated)
    else:
        spec = standing.meant.night
        for path in standing.meant.missing:
            click.echo(f"{path} is not there any more; the night rests on its copy.", err=True)
    hours = hours_of(spec, clock.wall(), at_window=at == "window")
    job = NightJob(
        plan=str(Path(plan).absolute()), at_window=at == "window", simulate=simulate,
        edited=edited.value, after=standing.size,
    )  # fmt: skip
    return look_after(
        Job(house=str(folder), flags=asked().flags, night=job), clock, report_at=hours.report_at
    )


def _compiled(plan: str, standing: Standing) -> Compiled:
    """The checked plan; what is wrong with it does not hide that its night can go on."""
    try:
        return compile_plan(plan)
    except BadPlan as error:
        latest = standing.latest
        if latest is not None and latest.state != "closed":
            error.hint = (
                f"mend it; or, to go on with night {latest.number} as it was accepted:"
                f" tildawn night {plan} --continue"
            )
        raise


def _sure(
    compiled: Compiled, standing: Standing, clock: Clock, edited: Edited, simulated: bool
) -> Edited:  # fmt: skip
    """What to do about a night of the plan that has ended: nobody wants all of it done twice."""
    latest = standing.latest
    if latest is None or latest.state != "closed" or edited is Edited.NEW:
        return edited
    content, now = snapshot_of(compiled).accepted.digest, clock.wall()
    if not ended_just_now(latest, now=now, content=content, simulated=simulated):
        click.echo(f"Night {latest.number} of this plan has ended; this is a new one.", err=True)
        return edited
    refused = just_ended(latest, compiled.file, now)
    if asked().json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise refused
    click.echo(refused.message, err=True)
    if not click.confirm("Do all of it again, as a new night?", err=True):
        message = "nothing was begun"
        raise Misused(message, hint=refused.hint)
    return Edited.NEW


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
        broke=(BROKE,),
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
