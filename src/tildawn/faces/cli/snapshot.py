"""Commands for going back: snapshots.

What it is not: a backup of the keys.
"""

from collections.abc import Iterator

import click

from tildawn.faces.cli.ask import ask, config_of, house_there
from tildawn.faces.cli.asked import options
from tildawn.faces.cli.words import columns, instant, tell
from tildawn.runtime.operations import snapshot as snapshots
from tildawn.runtime.operations.house import Nothing
from tildawn.watch.words import Times


PATIENCE = 600.0
"""Seconds that a holder may take for a snapshot: a million facts take it some ten."""


@click.command(help=snapshots.SNAPSHOT.help)
@click.option("--reason", default="", help="Why; it is kept with the fact.")
@click.option("--list", "listing", is_flag=True, help="Only list those that are there.")
@options
def snapshot(reason: str, listing: bool) -> None:
    if listing:
        house_there()
        tell(ask(snapshots.SNAPSHOTS, Nothing()), _listed)
        return
    given = snapshots.SnapshotInput(reason=reason)
    tell(ask(snapshots.SNAPSHOT, given, silence=PATIENCE), _taken)


def _taken(one: snapshots.SnapshotLine) -> Iterator[str]:
    yield f"Snapshot {one.name}: {one.facts} facts, {one.size_bytes / 1e6:.1f} MB, verified."
    yield one.folder
    if one.damaged:
        yield f"{one.damaged} blobs are missing or damaged in the house, and so are in it."
        yield "Next: tildawn verify, then tildawn repair --plan"


def _listed(found: snapshots.Snapshots) -> Iterator[str]:
    if not found.snapshots:
        yield "No snapshot yet. Next: tildawn snapshot"
        return
    times = Times(config_of(house_there()).settings.house.zone)
    rows = [("snapshot", f"taken ({times.zone})", "why", "facts", "MB")]
    rows += [
        (one.name, instant(one.taken_at, times), one.why, str(one.facts),
         f"{one.size_bytes / 1e6:.1f}")
        for one in found.snapshots
    ]  # fmt: skip
    yield from columns(rows)
