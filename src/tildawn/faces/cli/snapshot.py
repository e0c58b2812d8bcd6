"""Commands for going back: snapshots, restores, and the drill.

What it is not: a backup of the keys.
"""

from collections.abc import Iterator
from typing import Any

import click
import msgspec

from tildawn.faces.cli.ask import ask, config_of, house_there
from tildawn.faces.cli.asked import options
from tildawn.faces.cli.words import columns, instant, tell
from tildawn.runtime.drill import Drilled
from tildawn.runtime.operations import restore as restores
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


@click.command(help="Go back to an earlier state of the house; what is left is put aside.")
@click.argument("drill", type=click.Choice(["drill"]), required=False)
@click.option("--to", "to", metavar="SEQ|TIME|latest", help="How many facts stay, or until when.")
@click.option("--from", "source", metavar="FOLDER", default="", help="This snapshot, no other.")
@click.option("--plan", is_flag=True, help="Only say what would be done, and what would be left.")
@click.option("--reason", default="", help="Why; it is kept with the fact.")
@click.option("--seed", type=int, help="With drill: the point that was tried then.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options
def restore(**given: Any) -> int:
    if given["drill"]:
        house_there()
        found = ask(restores.DRILL, restores.DrillInput(seed=given["seed"]))
        tell(found, _drilled)
        return found.exit_code
    if not given["to"]:
        message = "say where to: --to latest, --to SEQ or --to TIME"
        raise click.UsageError(message)
    wanted = restores.RestoreInput(
        to=given["to"], source=given["source"], plan=True, reason=given["reason"]
    )
    house_there()
    if given["plan"] or not given["yes"]:
        planned = ask(restores.RESTORE, wanted)
        if given["plan"]:
            tell(planned, _gone_back)
            return 0
        for line in _gone_back(planned):
            click.echo(line, err=True)
        click.confirm("Go back?", abort=True, err=True)
    tell(ask(restores.RESTORE, msgspec.structs.replace(wanted, plan=False)), _gone_back)
    return 0


_MOST = 20
"""Calls worth listing one by one; --json has all of them."""


def _gone_back(one: restores.Restore) -> Iterator[str]:
    verb = "Would go back" if one.planned else "Went back"
    before = f" of {one.before}" if one.before else ""
    source = "the ledger itself" if one.source == "ledger" else f"snapshot {one.source}"
    yield f"{verb} to {one.facts} facts{before}, from {source}, proven."
    yield from _left(one)
    for path in one.keys:
        yield f"{path} is not there; snapshots hold no keys, so take it from your own copy."
    if one.missing:
        yield f"{len(one.missing)} blobs are nowhere any more, such as {one.missing[0]}"
    if one.erased:
        yield "What was erased since stays erased."
    if not one.planned:
        yield f"The log is called {one.house} from now on; its pen goes on from epoch {one.epoch}."
        yield f"The old house is whole in {one.aside}"
        yield "Next: tildawn verify, then tildawn up"


def _left(one: restores.Restore) -> Iterator[str]:
    if not one.readable:
        yield "What is left cannot be read: nobody knows what was sent since. Every unfinished run"
        yield "is held; tildawn runs --state held lists them."
        return
    if one.runs:
        yield f"{len(one.runs)} runs were accepted since then, and are gone from the house."
    sent = [call for call in one.calls if call.effect != "none"]
    spend = sum(call.spend_micro_usd for call in one.calls)
    if sent:
        yield f"{len(sent)} calls since then may have happened ({spend / 1e6:.6f} USD):"
        rows = [(f"  {c.name}", c.route, c.repeat, c.effect, f"fact {c.seq}") for c in sent[:_MOST]]
        yield from columns(rows)
    if len(sent) > _MOST:
        yield f"  and {len(sent) - _MOST} more; --json has all of them"
    if any(call.repeat == "never" for call in sent):
        yield "Those that must never be repeated are not sent again: their runs look them up or are"
        yield "held for you. The others are sent again, keyed ones under the same key."


def _drilled(found: Drilled) -> Iterator[str]:
    if found.exit_code == 3:  # noqa: PLR2004 - not provable
        yield f"Not provable: {found.what}. Next: tildawn snapshot"
        return
    for one in found.tried:
        yield (
            f"Snapshot {found.snapshot} to {one.facts} of {found.facts} facts:"
            f" restored in {one.restore_s:.1f} s, every hash and table proven in {one.verify_s:.1f} s."
        )
    if found.exit_code:
        yield f"Broken: {found.what}"
    else:
        yield f"Proven in {found.seconds:.1f} s, on a copy that is gone again; seed {found.seed}."
