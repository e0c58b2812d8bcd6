"""Commands about the second copy of the ledger: how it stands, verify, recover.

What it is not: needed for the copy to be kept; the settings say that.
"""

from collections.abc import Iterator

import click

from tildawn.faces.cli.ask import ask, config_of, house_meant
from tildawn.faces.cli.asked import options
from tildawn.faces.cli.words import instant, tell
from tildawn.ledger.recovery import Recovered
from tildawn.runtime.operations import house
from tildawn.runtime.operations import mirror as mirrors
from tildawn.watch.words import Times


@click.group(help="Say how the second copy of the ledger stands.", invoke_without_command=True)
@options
@click.pass_context
def mirror(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        tell(ask(mirrors.MIRROR, house.Nothing()), _standing)


@mirror.command(help=mirrors.MIRROR.help)
@options
def status() -> None:
    tell(ask(mirrors.MIRROR, house.Nothing()), _standing)


@mirror.command(help=mirrors.MIRROR_VERIFY.help)
@options
def verify() -> int:
    found = ask(mirrors.MIRROR_VERIFY, house.Nothing())
    tell(found, _verified)
    return found.exit_code


@mirror.command(help=mirrors.MIRROR_RECOVER.help)
@click.option("--yes", is_flag=True, help="Do not ask.")
@options
def recover(yes: bool) -> None:
    if not yes:
        question = f"Make the ledger of {house_meant(make=True)} anew from its mirror?"
        click.confirm(question, abort=True, err=True)
    tell(ask(mirrors.MIRROR_RECOVER, house.Nothing()), _recovered)


def _standing(found: mirrors.MirrorNow) -> Iterator[str]:
    if found.mode == "off":
        yield "No mirror: the record has one copy."
        yield 'Next: set ledger.mirror = "sync-degrade" and ledger.mirror_folder in tildawn.toml'
        return
    yield f"Mirror in {found.folder}, {found.mode}."
    if not found.reached:
        yield f"It cannot be reached: {found.trouble}. New facts have one copy."
    elif found.behind > 0:
        yield f"It has {found.facts} facts and is {found.behind} behind."
    elif found.behind < 0:
        yield f"It has {-found.behind} facts more than the ledger; the next opening takes them."
    else:
        yield f"It has all {found.facts} facts."
    if found.lost:
        times = Times(config_of(house_meant()).settings.house.zone)
        yield f"Lost since {instant(found.since, times)} {times.zone}: {found.why}."
    if found.brought:
        yield f"{found.brought} facts came back from it that the database had lost."


def _verified(found: mirrors.MirrorVerified) -> Iterator[str]:
    if found.exit_code == 0:
        yield f"The same: {found.facts} facts."
        yield f"Root {found.root}"
        return
    where = "" if found.seq is None else f" at fact {found.seq}"
    yield f"{'Another' if found.state == 'broken' else 'Not provable'}{where}: {found.what}"
    yield f"{found.facts} facts are the same. Nothing was changed."


def _recovered(made: Recovered) -> Iterator[str]:
    yield f"Made the ledger anew: {made.facts} facts, checked from the first one."
    yield f"Root {made.root}"
    if made.missing:
        yield f"It lacks something else: {made.missing}"
    yield "Next: tildawn status"
