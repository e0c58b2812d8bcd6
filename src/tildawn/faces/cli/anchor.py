"""Commands about anchors: how they stand, anchor now, verify the ledger against them.

What it is not: a witness for others; that is ``tildawn witness``.
"""

from collections.abc import Iterator

import click

from tildawn.faces.cli.ask import ask, config_of, house_there
from tildawn.faces.cli.asked import options
from tildawn.faces.cli.words import columns, instant, one_line, tell
from tildawn.runtime.operations import anchor as anchors
from tildawn.runtime.operations.house import Nothing
from tildawn.watch.words import Times


PATIENCE = 90.0
"""Seconds that a holder may take: a try of a place takes a minute at most."""


@click.group(help="Keep checkpoints of the ledger in other places, and verify it against them.")
@options
def anchor() -> None:
    pass


@anchor.command("list", help=anchors.LIST.help)
@options
def list_() -> None:
    tell(ask(anchors.LIST, Nothing()), _listed)


def _listed(found: anchors.AnchorList) -> Iterator[str]:
    times = Times(config_of(house_there()).settings.house.zone)
    if found.anchors:
        rows = [("anchor", "kind", "facts", f"taken ({times.zone})", "")]
        rows += [
            (
                one.debt.anchor, one.debt.kind, str(one.debt.size), instant(one.debt.at, times),
                one_line(one.says, 300),
            )
            for one in found.anchors
        ]  # fmt: skip
        yield from columns(rows)
    else:
        yield "No anchor is set: nobody else knows how long this ledger was."
        yield 'Next: [anchor."disk"] kind = "file", path = "…" in tildawn.toml'
    if found.key:
        yield f"Key for a witness: {found.key}"


@anchor.command(help=anchors.NOW.help)
@click.argument("names", nargs=-1)
@options
def now(names: tuple[str, ...]) -> int:
    asked = ask(anchors.NOW, anchors.AnchorInput(names=names), silence=PATIENCE)
    tell(asked, _now)
    return asked.exit_code


def _now(asked: anchors.Asked) -> Iterator[str]:
    for one in asked.standings:
        yield f"{one.anchor}: {_words(one)}"
    if not asked.standings:
        yield f"{asked.what}."
    elif asked.exit_code:
        yield f"Not everywhere: {asked.what}."


@anchor.command(help=anchors.VERIFY.help)
@click.argument("names", nargs=-1)
@options
def verify(names: tuple[str, ...]) -> int:
    asked = ask(anchors.VERIFY, anchors.AnchorInput(names=names))
    tell(asked, _verified)
    return asked.exit_code


def _verified(asked: anchors.Asked) -> Iterator[str]:
    for one in asked.standings:
        yield f"{one.anchor}: {_words(one)}"
    head = {0: "Proven", 4: "Broken"}.get(asked.exit_code, "Not provable")
    yield f"{head}: {one_line(asked.what, 500)}."
    if asked.standings:
        yield f"Keep in mind: {asked.note}."
    if asked.exit_code == 4:  # noqa: PLR2004 - broken
        yield "Nothing was changed. Next: copy the house away and keep it"


def _words(one: anchors.Standing) -> str:
    if one.state != "anchored":
        return f"{one.state}: {one_line(one.text, 500)}"
    text = f"has {one.size} facts of this ledger"
    text += f" ({one_line(one.text, 200)})" if one.text else ""
    return f"{text}; {one_line(one.warning)}" if one.warning else text
