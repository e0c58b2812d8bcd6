"""Commands for permits: mint, list, show, revoke.

What it is not: the rules; the guard has those.
"""

from collections.abc import Iterator

import click

from tildawn.faces.cli.ask import ask, config_of, house_there
from tildawn.faces.cli.asked import options
from tildawn.faces.cli.words import columns, instant, one_line, tell
from tildawn.runtime.operations import permit as permits
from tildawn.watch.words import Times, dollars


@click.group(help="Make, list, show and revoke permits.")
@options
def permit() -> None:
    pass


@permit.command(name="mint", help=permits.MINT.help)
@click.option("--operations", required=True, metavar="WORDS", help="Such as chat,http:GET or read.")
@click.option("--routes", default="", metavar="GLOBS", help="Such as shop:*; any if left out.")
@click.option("--resources", default="", metavar="GLOBS", help="Of URLs, files, programs.")
@click.option("--run", default="", help="Only for this run.")
@click.option("--expires", default="", metavar="TIME", help="Such as 8h, or never.")
@click.option("--max-calls", type=click.IntRange(min=0), help="So many calls and no more.")
@click.option("--max-cost", default="", metavar="USD", help="So much money and no more.")
@click.option("--parent", default="", metavar="PERMIT", help="It may allow no more than this one.")
@click.option("--purpose", default="", help="What it is for.")
@click.option("--token", is_flag=True, help="Print a token, once, for whoever acts under it.")
@options
def mint(operations: str, routes: str, resources: str, **more: str | int | bool | None) -> None:
    given = permits.MintInput(
        operations=_words(operations), routes=_words(routes), resources=_words(resources),
        **more,  # pyright: ignore[reportArgumentType]  # click has checked them
    )  # fmt: skip
    tell(ask(permits.MINT, given), _minted)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _minted(one: permits.Minted) -> Iterator[str]:
    yield from _shown(one.permit)
    if one.token:
        yield ""
        yield f"Token: {one.token}"
        yield "It is shown this once; the house keeps only its digest."


@permit.command(name="list", help=permits.PERMITS.help)
@click.option("--all", "everything", is_flag=True, help="Those that are over as well.")
@options
def list_permits(everything: bool) -> None:
    tell(ask(permits.PERMITS, permits.PermitsInput(everything=everything)), _listed)


def _listed(found: permits.Permits) -> Iterator[str]:
    if not found.permits:
        yield "No permit."
        return
    times = _times()
    rows = [("permit", "state", "operations", "calls", "money", f"until ({times.zone})", "for")]
    rows += [
        (
            one.permit, one.state, one_line(" ".join(one.operations), 40), _calls(one),
            _money(one), instant(one.expires_at, times), one_line(_whose(one), 40),
        )
        for one in found.permits
    ]  # fmt: skip
    yield from columns(rows)


@permit.command(name="show", help=permits.PERMIT.help)
@click.argument("permit")
@options
def show(permit: str) -> None:
    tell(ask(permits.PERMIT, permits.PermitInput(permit=permit)), _shown)


@permit.command(name="revoke", help=permits.REVOKE.help)
@click.argument("permit")
@click.option("--reason", default="", help="Why; it is kept with the fact.")
@options
def revoke(permit: str, reason: str) -> None:
    given = permits.RevokeInput(permit=permit, reason=reason)
    tell(ask(permits.REVOKE, given), _shown)


def _shown(one: permits.PermitLine) -> Iterator[str]:
    times = _times()
    rows = [
        ("permit", one.permit),
        ("state", one.state),
        ("operations", " ".join(one.operations) or "none"),
        ("routes", " ".join(one.routes) or "any"),
        ("resources", "erased" if one.resources is None else " ".join(one.resources) or "any"),
        ("calls", _calls(one)),
        ("money", _money(one)),
        ("until", instant(one.expires_at, times) if one.expires_at else "for ever"),
        ("refused", str(one.refused)),
        ("tokens", str(one.tokens)),
    ]
    rows += [(name, text) for name, text in (("for", _whose(one)), ("below", one.parent)) if text]
    yield from columns(rows)


def _whose(one: permits.PermitLine) -> str:
    said = [one.purpose] if one.purpose else []
    said += [f"run {one.run}"] if one.run else []
    said += [f"{one.part} of {one.item}"] if one.part else []
    return ", ".join(said)


def _calls(one: permits.PermitLine) -> str:
    return f"{one.calls} of {'any' if one.max_calls is None else one.max_calls}"


def _money(one: permits.PermitLine) -> str:
    used = dollars(one.spent_micro_usd + one.promised_micro_usd)
    limit = one.max_cost_micro_usd
    return f"{used} of {'any' if limit is None else dollars(limit)}"


def _times() -> Times:
    return Times(config_of(house_there()).settings.house.zone)
