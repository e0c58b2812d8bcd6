"""The worker: the process that holds the pen, works, and answers on its socket.

What it is not: the parent that starts it again; that one holds nothing.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from tildawn.clock import SystemClock
from tildawn.errors import TildawnError
from tildawn.faces.local.application import application
from tildawn.faces.local.server import listening
from tildawn.runtime.config import load
from tildawn.runtime.holder import socket_path
from tildawn.runtime.house import House
from tildawn.runtime.logbook import end_log, keep_log
from tildawn.runtime.operation import Desk, refusal_of
from tildawn.runtime.working import working


PARKED = 75
"""Exit code of a worker that was asked to go. Source: EX_TEMPFAIL of sysexits."""

PATIENCE = 8.0
"""Seconds after which a worker that was asked to go goes without order; the promise is 10."""


def work(folder: Path, *, flags: "dict[str, str]", announce: Callable[[str], None]) -> int:
    """Open a house and work until a signal or an operation says to leave.

    Args:
        folder: the house.
        flags: settings from the command line.
        announce: told what is worth a line.

    Returns:
        The exit code.

    Raises:
        Nothing.
    """
    try:
        clock = SystemClock()
        config = load(folder.parent, environ=os.environ, flags=flags)
        house = House.open(folder, config.settings, mode="write", clock=clock)
        handler = keep_log(folder, config.settings.log)
        try:
            with asyncio.Runner() as runner:
                runner.run(_serve(house, Desk(config, clock, folder=folder, house=house), announce))
        finally:
            house.close()
            end_log(handler)
    except TildawnError as error:
        said = refusal_of(error)
        announce(f"tildawn: {said.message} [{said.code}]")
        if said.hint:
            announce(f"Next: {said.hint}")
        return said.exit_code
    return PARKED


async def _serve(house: House, desk: Desk, announce: Callable[[str], None]) -> None:
    leaving = asyncio.Event()

    def leave() -> None:
        if not leaving.is_set():
            _leave_anyway(PATIENCE)
            leaving.set()

    desk.leave = leave
    loop = asyncio.get_running_loop()
    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, leave)
    async with (
        listening(socket_path(house.folder), application(desk)),
        working(house, env=os.environ),
    ):
        announce(f"working in {house.folder}")
        await leaving.wait()
        announce("leaving: what is going on returns to the queue")


def _leave_anyway(wait: float) -> None:
    """End the process even if a thread of a step will not: what it did is not on record."""
    timer = threading.Timer(wait, os._exit, (PARKED,))
    timer.daemon = True
    timer.start()


def say(line: str) -> None:
    """Write a line where a person or the parent reads it.

    Raises:
        Nothing.
    """
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - the voice of the worker
