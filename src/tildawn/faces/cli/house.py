"""Commands about the house: init, takeover, doctor, config.

What it is not: repair.
"""

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click
import msgspec

from tildawn.clock import SystemClock
from tildawn.errors import Busy, HouseLocked, Misused
from tildawn.faces.cli.ask import ask, config_of, house_meant, house_there
from tildawn.faces.cli.asked import asked, options
from tildawn.faces.cli.words import columns, tell
from tildawn.runtime.doctor import State
from tildawn.runtime.founding import Founded, found_house
from tildawn.runtime.holder import Absent
from tildawn.runtime.house import NAME, House
from tildawn.runtime.operations import house
from tildawn.units import SECOND


LEAVE_WAIT = 10 * SECOND
"""How long a holder may take to park. Source: the promise of SIGTERM."""

LOOK_EVERY = 0.05
"""Seconds between two tries to take the pen."""


@click.command(help="Make a house in this folder, with settings and an example plan.")
@click.option("--bare", is_flag=True, help="The house alone, without settings and example.")
@options
def init(bare: bool) -> None:
    chosen = asked().house
    # Without a choice the house is made here, even if there is one above.
    folder = house_meant() if chosen else Path.cwd() / NAME
    made = found_house(folder, config_of(folder).settings, clock=SystemClock(), example=not bare)
    tell(made, _made)


def _made(made: Founded) -> Iterator[str]:
    yield f"{'Made' if made.fresh else 'There was already'} a house: {made.folder}"
    for path in made.written:
        yield f"Wrote {path}"
    for path in made.kept:
        yield f"Left {path} as it is"
    if made.written:
        yield "Next: tildawn plan check plan.yaml, then tildawn night plan.yaml"


@click.command(help="Take the pen from the process that holds it; that process parks its work.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options
def takeover(yes: bool) -> None:
    folder = house_there()
    status = ask(house.STATUS, house.Nothing())
    if not yes:
        holder = f"process {status.holder}" if status.holder else "nobody, as it seems"
        question = f"The pen of {folder} is held by {holder}. Take it over?"
        click.confirm(question, abort=True, err=True)
    from tildawn.runtime.line import ask_holder  # noqa: PLC0415 - only this one needs it

    # Without an answer it is gone, or holds the pen without a socket; the pen itself decides.
    with suppress(Absent):
        ask_holder(folder, house.LEAVE.name, b"{}")
    taken = Taken(epoch=_take(folder))
    tell(taken, lambda one: [f"Taken over: epoch {one.epoch}. Next: tildawn up"])


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """The epoch that the takeover began."""

    epoch: int


def _take(folder: Path) -> int:
    """Take the pen as soon as it is free, and lay it down again."""
    clock, config = SystemClock(), config_of(folder)
    until = clock.mono() + LEAVE_WAIT
    while True:
        try:
            with House.open(
                folder, config.settings, mode="write", clock=clock, takeover=True
            ) as opened:
                return opened.ledger.epoch
        except HouseLocked as locked:
            if clock.mono() > until:
                message = f"{locked.message}, which does not go"
                raise Busy(message, hint="end that process, then try again") from locked
            threading.Event().wait(LOOK_EVERY)


@click.command(help=house.DOCTOR.help)
@options
def doctor() -> int:
    found = ask(house.DOCTOR, house.Nothing())
    tell(found, _examined)
    return int(any(check.verdict is State.FAIL for check in found.checks))


def _examined(found: house.Examined) -> Iterator[str]:
    rows = [(one.verdict.value, one.name, one.saw) for one in found.checks]
    for line, one in zip(columns(rows), found.checks, strict=True):
        yield line
        if one.advice:
            yield f"         Next: {one.advice}"


@click.command(help=house.CONFIG.help)
@click.option(
    "--explain", is_flag=True, help="Also say where each value comes from, and its range."
)
@click.argument("name", required=False, default="")
@options
def config(name: str, explain: bool) -> None:
    found = ask(house.CONFIG, house.Nothing())
    chosen = tuple(one for one in found.settings if one.name.startswith(name))
    if not chosen:
        message = f"{name} is no setting"
        raise Misused(message, hint="tildawn config")

    def lines(_: house.Configured) -> Iterator[str]:
        for one in chosen:
            yield f"{one.name} = {one.value}"
            if explain:
                where = f" {one.where}" if one.where else ""
                yield f"    from {one.origin.value}{where}; {one.range}"
                yield f"    {one.help}"

    tell(house.Configured(settings=chosen), lines)
