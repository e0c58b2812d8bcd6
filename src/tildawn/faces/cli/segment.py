"""The command about the archive.

What it is not: its check; `tildawn verify` reads every segment again.
"""

from collections.abc import Iterator

import click

from tildawn.faces.cli.ask import ask, config_of, house_there
from tildawn.faces.cli.asked import options
from tildawn.faces.cli.words import columns, instant, tell
from tildawn.runtime.operations import segment
from tildawn.runtime.operations.house import Nothing
from tildawn.watch.words import Times


PATIENCE = 600.0
"""Seconds that a holder may take: a segment takes it about one, the space of a large house more."""


@click.command(help="List the segments of the archive, or let old facts leave the database.")
@click.option(
    "--move-before",
    metavar="SEQ|TIME",
    default="",
    help="Let the bodies of segments leave that end before.",
)
@click.option("--plan", "planning", is_flag=True, help="Only say what would be done.")
@click.option("--compact", is_flag=True, help="Give the space that they leave back to the disk.")
@options
def archive(move_before: str, planning: bool, compact: bool) -> None:
    if planning and not move_before:
        message = "--plan needs --move-before"
        raise click.UsageError(message)
    if planning:
        given = segment.PlanInput(move_before=move_before)
        tell(ask(segment.ARCHIVE_PLAN, given), lambda one: _moved(one, "would leave"))
    elif move_before or compact:
        asked = segment.ArchiveInput(move_before=move_before, compact=compact)
        tell(ask(segment.ARCHIVE, asked, silence=PATIENCE), lambda one: _moved(one, "have left"))
    else:
        tell(ask(segment.SEGMENTS, Nothing()), _listed)


def _moved(one: segment.Moved, word: str) -> Iterator[str]:
    if one.segments:
        yield f"The bodies of segments {one.segments[0]} to {one.segments[-1]} {word}."
    elif one.stopped_by:
        yield "No bodies are to leave."
    if one.stopped_by:
        yield f"Not more, because {one.stopped_by}."
    if one.compacted:
        yield "The database was written anew, without empty space."
    elif one.segments and word == "have left":
        yield "Next: tildawn archive --compact, to give the space back to the disk"


def _listed(found: segment.Segments) -> Iterator[str]:
    if not found.segments:
        yield f"No segment yet: {found.unsealed} facts, and a segment has 65,536."
        return
    times = Times(config_of(house_there()).settings.house.zone)
    rows = [("segment", "facts", f"sealed ({times.zone})", "bodies")]
    rows += [
        (str(one.number), f"{one.first}–{one.last}", instant(one.sealed_at, times), _where(one))
        for one in found.segments
    ]
    yield from columns(rows)
    yield f"{found.unsealed} facts are not in a segment yet."


def _where(one: segment.SegmentLine) -> str:
    if one.pruned_at:
        return "dropped"
    return "archive" if one.moved_at else "database and archive"
