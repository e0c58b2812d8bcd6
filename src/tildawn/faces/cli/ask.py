"""Asks an operation: in this process, or of the process that holds the pen.

What it is not: a decision about the work.  A read never needs the holder; a write goes to the
holder where there is one, and takes the pen for a moment where there is none.
"""

import asyncio
import os
import threading
from pathlib import Path
from typing import TypeVar

import msgspec

from tildawn.clock import SystemClock
from tildawn.errors import Busy, HouseLocked, HouseUnusable
from tildawn.faces.cli.asked import asked
from tildawn.ledger.layout import Layout
from tildawn.runtime.config import Config, load
from tildawn.runtime.holder import SILENCE, Absent
from tildawn.runtime.house import NAME, House, find_house
from tildawn.runtime.operation import Desk, Effect, Operation
from tildawn.units import SECOND


I = TypeVar("I", bound=msgspec.Struct)  # noqa: E741 - input
O = TypeVar("O", bound=msgspec.Struct)  # noqa: E741 - output

_AGAIN = 0.05
"""Seconds between two looks at a holder that is coming or going."""


def house_meant(*, make: bool = False) -> Path:
    """The folder of the house that the command line means.

    Args:
        make: it may be missing; then it is the one of this folder.

    Raises:
        HouseUnusable: there is no house.
    """
    chosen = asked().house
    try:
        return find_house(Path.cwd(), chosen=Path(chosen) if chosen else None)
    except HouseUnusable:
        if make:
            return Path.cwd() / NAME
        raise


def house_there() -> Path:
    """The same; it must exist.

    Raises:
        HouseUnusable: there is no house.
    """
    folder = house_meant()
    layout = Layout(folder)
    if not layout.database.exists() and not layout.founded.exists():
        message = f"there is no house in {folder.parent}"
        raise HouseUnusable(message, hint="tildawn init")
    return folder


def config_of(folder: Path) -> Config:
    """The settings of a house, with the flags of the command line.

    Raises:
        BadSetting: a name is unknown, or a value is not what its setting takes.
    """
    return load(folder.parent, environ=os.environ, flags=asked().flags)


def ask(operation: Operation[I, O], given: I, *, silence: float = SILENCE) -> O:
    """Run an operation where it belongs.

    Args:
        operation: which one.
        given: its input.
        silence: seconds that a holder of the pen may take to answer.

    Returns:
        Its output.

    Raises:
        Busy: a process holds the pen and is silent.
        TildawnError: as the operation does.
    """
    clock = SystemClock()
    if operation.effect is Effect.NONE:
        folder = house_meant(make=True)
        desk = Desk(config_of(folder), clock, folder=folder)
        return asyncio.run(_run(operation, desk, given))
    folder = house_there()
    config = config_of(folder)
    if operation.effect is Effect.READ:
        with House.open(folder, config.settings, mode="read", clock=clock) as house:
            desk = Desk(config, clock, folder=folder, house=house)
            return asyncio.run(_run(operation, desk, given))
    desk = Desk(config, clock, folder=folder)
    return _write(operation, given, desk, silence)


def _write(operation: Operation[I, O], given: I, asked_at: Desk, silence: float) -> O:
    folder, config, clock = asked_at.folder, asked_at.config, asked_at.clock
    assert folder is not None, "a house that is there has a folder"
    patience = clock.mono() + int(SILENCE * SECOND)
    body = msgspec.json.encode(given)
    while True:
        try:
            house = House.open(folder, config.settings, mode="write", clock=clock)
        except HouseLocked as locked:
            from tildawn.runtime.line import ask_holder  # noqa: PLC0415 - loads an HTTP client

            try:
                answer = ask_holder(folder, operation.name, body, silence=silence)
            except Absent:
                # It is on its way in or out, or somebody else took the pen for a moment.
                if clock.mono() > patience:
                    message = f"{locked.message}, which does not answer"
                    hint = "try again; tildawn doctor shows who holds it"
                    raise Busy(message, hint=hint) from locked
                threading.Event().wait(_AGAIN)
                continue
            return msgspec.json.decode(answer, type=operation.output)
        with house:
            desk = Desk(config, clock, folder=folder, house=house)
            return asyncio.run(_run(operation, desk, given))


async def _run(operation: Operation[I, O], desk: Desk, given: I) -> O:
    return await operation.run(desk, given)
