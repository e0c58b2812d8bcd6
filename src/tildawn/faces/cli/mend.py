"""Commands for what went wrong: dead letters, and repair.

What it is not: the way back for a run; `tildawn retry` is in `tildawn.faces.cli.work`.
"""

from collections.abc import Iterator
from pathlib import Path

import click

from tildawn.faces.cli.ask import ask, config_of, house_there
from tildawn.faces.cli.asked import options
from tildawn.faces.cli.words import columns, instant, one_line, tell
from tildawn.runtime.operations import letter
from tildawn.runtime.operations import repair as repairs
from tildawn.runtime.repair.doing import Repaired
from tildawn.runtime.repair.plan import Step
from tildawn.watch.words import Times


@click.command(help=letter.DEAD.help)
@click.option("--night", default="", help="Only of this night; - for runs without one.")
@click.option("--limit", default=100, help="At most so many, newest first.")
@click.option("--seen", metavar="RUN", help="Take this one off the list; its run stays as it is.")
@click.option("--reason", default="", help="With --seen: why; it is kept with the fact.")
@options
def dead(night: str, limit: int, seen: str | None, reason: str) -> None:
    if seen is not None:
        tell(ask(letter.ACKNOWLEDGE, letter.SeenInput(run=seen, reason=reason)), _acknowledged)
    else:
        tell(ask(letter.DEAD, letter.DeadInput(night=night, limit=limit)), _dead)


def _acknowledged(one: letter.Acknowledged) -> Iterator[str]:
    yield f"{'Off the list' if one.changed else 'It was not on the list'}: {one.name}, {one.state}."


def _dead(found: letter.Dead) -> Iterator[str]:
    if not found.letters:
        yield "No dead letter."
        return
    times = Times(config_of(house_there()).settings.house.zone)
    rows = [("run", "state", "task", "label", f"since ({times.zone})", "why")]
    rows += [
        (one.name, one.state, one.task, one_line(one.label, 40), instant(one.at, times), _why(one))
        for one in found.letters
    ]
    yield from columns(rows)
    if found.total > len(found.letters):
        yield f"{len(found.letters)} of {found.total}; more: tildawn dead --limit {found.total}"
    yield ""
    yield f"Next: tildawn show RUN, then {found.letters[0].next} or tildawn dead --seen RUN"


def _why(one: letter.Letter) -> str:
    text = f"{one.why}: {one.said}" if one.said != one.why else one.why
    return one_line(f"{text} (death {one.deaths})" if one.deaths > 1 else text, 80)


@click.command(help="Say what is wrong with the pictures that the house keeps, or mend it.")
@click.option("--plan", "planning", is_flag=True, help="Only say what would be done; the default.")
@click.option("--apply", "plan", metavar="HASH", help="Do exactly what that plan says.")
@click.option(
    "--from",
    "source",
    metavar="FOLDER",
    default="",
    help="A copy of the house, to take files from.",
)
@options
def repair(planning: bool, plan: str | None, source: str) -> None:
    if planning and plan:
        message = "--plan only looks and --apply does; give one of them"
        raise click.UsageError(message)
    folder = str(Path(source).absolute()) if source else ""
    if plan:
        tell(ask(repairs.REPAIR_APPLY, repairs.ApplyInput(plan=plan, source=folder)), _repaired)
    else:
        planned = ask(repairs.REPAIR_PLAN, repairs.PlanInput(source=folder))
        tell(planned, lambda found: _planned(found, source))


def _planned(found: repairs.Planned, source: str) -> Iterator[str]:
    yield (
        f"{found.pictures} pictures: {found.damaged} known to be damaged,"
        f" {found.unmeasured} not measured; {found.lost} lost before."
    )
    for plan in found.unfinished:
        yield f"A repair was begun and not ended: tildawn repair --apply {plan}"
    if not found.steps:
        yield "Nothing to repair."
        return
    yield ""
    yield from columns([_step(line.step, line.name) for line in found.steps])
    yield ""
    more = f" --from {source}" if source else ""
    yield f"Next: tildawn repair --apply {found.plan}{more}"


_SIGNS = {
    "open": "~",
    "note": "+",
    "restore": "+",
    "measure": "~",
    "condemn": "-",
    "constrain": "~",
}


def _step(step: Step, name: str) -> tuple[str, ...]:
    size = f"{step.media} {step.width}x{step.height}" if step.width else step.media
    place = f"{name} {step.path}" if name else step.blob[:12]
    was = f"was {step.was}" if step.was else _RULES.get(step.do, "")
    return f"{_SIGNS[step.do]} {step.do}", place, size, was, one_line(step.detail, 80)


_RULES = {
    "open": "rows may lack their measures",
    "constrain": "no row may lack its measures",
}


def _repaired(done: Repaired) -> Iterator[str]:
    yield (
        f"{'Repaired' if done.fresh else 'This had been done before'}: {done.restored} files put"
        f" back, {done.measured} pictures measured, {done.condemned} condemned."
    )
    if done.condemned:
        yield "What is lost stays on record with its reason; tildawn verify goes on naming it."
