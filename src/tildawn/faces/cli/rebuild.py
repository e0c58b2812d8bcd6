"""The command for tables that are not what the facts make of them.

What it is not: `tildawn repair`, which is about pictures.
"""

from collections.abc import Iterator

import click

from tildawn.faces.cli.ask import ask
from tildawn.faces.cli.asked import options
from tildawn.faces.cli.words import columns, one_line, tell
from tildawn.runtime.operations import house
from tildawn.runtime.operations import rebuild as rebuilds


ROWS_MOST = 20
"""Differences of a table that are shown; `--json` has more."""


@click.command(help="Say which tables differ from the facts, or make them anew.")
@click.option("--plan", "planning", is_flag=True, help="Only say what differs; the default.")
@click.option("--apply", "plan", metavar="HASH", help="Make anew exactly what that plan names.")
@options
def rebuild(planning: bool, plan: str | None) -> None:
    if planning and plan:
        message = "--plan only looks and --apply does; give one of them"
        raise click.UsageError(message)
    if plan:
        tell(ask(rebuilds.REBUILD_APPLY, rebuilds.ApplyInput(plan=plan)), _rebuilt)
    else:
        tell(ask(rebuilds.REBUILD_PLAN, house.Nothing()), _planned)


def _planned(found: rebuilds.Planned) -> Iterator[str]:
    if not found.tables:
        yield f"Every table is what the {found.facts} facts make of it."
        return
    for table in found.tables:
        rows = "1 row" if table.rows == 1 else f"{table.rows} rows"
        yield f"{table.table}: {rows} differ from what {found.facts} facts make of them."
        lines = [("  key", "column", "is", "should be")]
        lines += [_line(one) for one in table.differences[:ROWS_MOST]]
        yield from columns(lines)
        yield ""
    yield f"Next: tildawn rebuild --apply {found.plan}"


def _line(one: rebuilds.Differs) -> tuple[str, ...]:
    key = f"  {one_line(' '.join(one.key), 60)}"
    return key, one.column, one_line(one.is_ or one.text, 60), one_line(one.should, 60)


def _rebuilt(done: rebuilds.Rebuilt) -> Iterator[str]:
    if not done.tables:
        yield "Nothing to make anew."
        return
    yield f"Made anew from {done.facts} facts: {', '.join(done.tables)}."
    yield "Next: tildawn verify; a worker that runs remembers rows until it is started again"
