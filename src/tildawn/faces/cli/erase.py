"""The command that erases a person.

What it is not: the erasing; the operation has that.
"""

from collections.abc import Iterator

import click

from tildawn.faces.cli.ask import ask
from tildawn.faces.cli.asked import options
from tildawn.faces.cli.words import tell
from tildawn.runtime.operations import erasure


@click.command(help=erasure.ERASE.help)
@click.argument("subject", required=False, default="")
@click.option("--run", default="", help="A single run, with its children and checks.")
@click.option("--reason", default="asked", help="A word for the record, such as leaked.")
@click.option("--plan", is_flag=True, help="Say what would go, and erase nothing.")
@click.option("--cancel", is_flag=True, help="Cancel what has not ended first.")
@options
def erase(subject: str, run: str, reason: str, plan: bool, cancel: bool) -> None:
    given = erasure.EraseInput(subject=subject, run=run, reason=reason, plan=plan, cancel=cancel)
    tell(ask(erasure.ERASE, given), _erased)


def _erased(one: erasure.Erased) -> Iterator[str]:
    what = f"{one.payloads} payloads and {one.blobs} blobs of {one.runs} runs"
    yield f"Erased {what}." if one.done else f"Would erase {what}; nothing was changed."
    if one.nights:
        yield f"Rows that {one.nights} nights were accepted with go too."
    yield from (f"  removed {name}" for name in one.beside)
    for number in one.plans:
        yield f"The plan of night {number} stays as it was written, as other runs of it do."
    yield "Not in our reach:"
    yield from (f"  {name}" for name in one.beyond)
    if one.done:
        yield "Next: tildawn verify"
