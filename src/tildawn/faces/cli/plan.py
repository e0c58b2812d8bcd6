"""Commands about plans: check, show, schema.

What it is not: the acceptance of a plan; `tildawn night` does that.
"""

from collections.abc import Iterator

import click

from tildawn.faces.cli.ask import ask
from tildawn.faces.cli.asked import options
from tildawn.faces.cli.words import tell
from tildawn.runtime.operations import plan as plans
from tildawn.runtime.plan import Shown, show_text


@click.group(help="Check a plan, show what it would do, or print the schema of plans.")
@options
def plan() -> None:
    pass


@plan.command(help=plans.CHECK.help)
@click.argument("file")
@options
def check(file: str) -> None:
    def lines(found: plans.PlanChecked) -> Iterator[str]:
        items = "1 item" if found.items == 1 else f"{found.items} items"
        runs = "1 run" if found.runs == 1 else f"{found.runs} runs"
        yield f"{found.file} can be accepted: {items}, {runs}."

    tell(ask(plans.CHECK, plans.PlanInput(file=file)), lines)


@plan.command(help=plans.SHOW_PLAN.help)
@click.argument("file")
@options
def show(file: str) -> None:
    def lines(found: Shown) -> Iterator[str]:
        yield show_text(found)

    tell(ask(plans.SHOW_PLAN, plans.PlanInput(file=file)), lines)


@plan.command(help=plans.SCHEMA.help)
@options
def schema() -> None:
    click.echo(bytes(ask(plans.SCHEMA, plans.Nothing()).json_schema).decode())
