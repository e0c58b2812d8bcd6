"""The command that seals an old log of another program.

What it is not: an import of its entries; they stay what they were.
"""

from collections.abc import Iterator
from pathlib import Path

import click

from tildawn.faces.cli.ask import ask
from tildawn.faces.cli.asked import options
from tildawn.faces.cli.words import one_line, tell
from tildawn.runtime.operations import legacy


SHOWN = 12
"""Ranges of lines that are worth reading; the first ones say enough."""

_GROUPS = {
    "unchained": "without the hash of a line before",
    "broken": "with the hash of another line than the one before",
    "altered": "whose hash is not that of their content",
    "unreadable": "that are no text or no JSON object",
    "repeated": "with an id that an earlier line had",
}


@click.command(name="import", help=legacy.IMPORT.help)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--plan", "planning", is_flag=True, help="Only say what would be sealed.")
@options
def import_(file: Path, planning: bool) -> None:
    operation = legacy.IMPORT_PLAN if planning else legacy.IMPORT
    tell(ask(operation, legacy.ImportInput(path=str(file.absolute()))), _imported)


def _imported(found: legacy.Imported) -> Iterator[str]:
    account = found.account
    name = one_line(Path(found.path).name, 60)
    yield f"{name}: {account.lines} lines, {found.size_bytes} bytes, {account.encoding}."
    if not account.fields:
        yield "No line names the one before it: nothing here was ever chained."
    else:
        own, before = account.fields
        rule = account.rule or "in no way that is known here, so only the links were compared"
        yield f"Chained by {own} and {before} from line {account.first_chained} on; hashed: {rule}."
        yield f"{account.chained} lines are inside of that chain."
    for group, words in _GROUPS.items():
        count = account.counts[group]
        if count:
            listed: tuple[str, ...] = getattr(account, group)
            more = f" and {len(listed) - SHOWN} more ranges" if len(listed) > SHOWN else ""
            noun = "line" if count == 1 else "lines"
            yield f"{count} {noun} {words}: {', '.join(listed[:SHOWN])}{more}"
    yield f"SHA-256 {found.digest}"
    if found.seq is None:
        yield "Nothing was sealed."
    elif found.fresh:
        yield f"Sealed as entry {found.seq}; its bytes are kept as they are."
    else:
        yield f"The same bytes are sealed since entry {found.seq}."
