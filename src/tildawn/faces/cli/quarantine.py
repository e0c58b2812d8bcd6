"""Commands about a quarantine of the house: how it stands, and to lift it.

What it is not: repair; `tildawn verify` look into what was found.
"""

from collections.abc import Iterator

import click

from tildawn.faces.cli.ask import ask, config_of, house_there
from tildawn.faces.cli.asked import options
from tildawn.faces.cli.words import instant, one_line, tell
from tildawn.runtime.operations import house
from tildawn.runtime.operations import quarantine as quarantines
from tildawn.watch.words import Times


@click.group(
    help="Say whether the house may work, or let it work again.", invoke_without_command=True
)
@options
@click.pass_context
def quarantine(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        tell(ask(quarantines.QUARANTINE, house.Nothing()), _standing)


@quarantine.command(help=quarantines.LIFT.help)
@click.option("--reason", required=True, help="Why; it is kept with the fact.")
@options
def lift(reason: str) -> None:
    tell(ask(quarantines.LIFT, quarantines.LiftInput(reason=reason)), _standing)


def _standing(found: quarantines.Standing) -> Iterator[str]:
    if found.quarantined:
        times = Times(config_of(house_there()).settings.house.zone)
        yield f"In quarantine since {instant(found.since, times)} {times.zone}."
    for stop in found.stops:
        yield f"No new work begins: {one_line(stop.says, 500)} [{stop.name}]"
        yield f"Next: {stop.next}"
    if not found.stops:
        yield "New work may begin."
