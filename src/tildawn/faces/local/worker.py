"""The worker: the process that holds the pen, works, and answers on its socket.

What it is not: the parent that starts it again; that one holds nothing.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import msgspec

from tildawn.apps.night.desk import prepare
from tildawn.clock import Clock, SystemClock
from tildawn.errors import HouseLocked, StoreFull, TildawnError
from tildawn.faces.hush import hush_tracebacks, hushed
from tildawn.faces.local.application import application
from tildawn.faces.local.disk import watching
from tildawn.faces.local.nightly import as_accepted, look_ahead, settled, spend_night
from tildawn.faces.local.server import listening
from tildawn.ledger.layout import Layout
from tildawn.ledger.sqlite.damage import refuse_damaged
from tildawn.runtime.config import Config, load
from tildawn.runtime.holder import Absent, socket_path
from tildawn.runtime.house import House
from tildawn.runtime.job import Job, house_of
from tildawn.runtime.line import ask_holder, greeting_of
from tildawn.runtime.logbook import end_log, keep_log
from tildawn.runtime.operation import Desk, refusal_of
from tildawn.runtime.operations.house import LEAVE
from tildawn.runtime.plan import Compiled
from tildawn.runtime.stops import told
from tildawn.runtime.working import working
from tildawn.units import SECOND, Micros


_log = logging.getLogger(__name__)

PARKED = 75
"""Exit code of a worker that was asked to go. Source: EX_TEMPFAIL of sysexits."""

BROKE = 70
"""Exit code of a worker with a fault of its own. Source: EX_SOFTWARE of sysexits."""

FULL = 74
"""Exit code of a worker that found the disk full: the parent starts another one until there is
room. Source: EX_IOERR of sysexits."""

HAND_OVER = Micros(10 * SECOND)
"""How long a worker without a parent may take to give the pen up."""

LOOK_EVERY = 0.05
"""Seconds between two tries to take the pen."""

PATIENCE = 8.0
"""Seconds after which a worker that was asked to go goes without order; the promise is 10."""


def work(job: Job, *, restarted: bool, broke: bool = False) -> int:
    """Open a house and work until the night ends, or until a signal or an operation says leave.

    Args:
        job: what to do.
        restarted: the worker before this one died.
        broke: it died of a fault of its own, which may be a damaged file.

    Returns:
        The exit code.

    Raises:
        Nothing.
    """
    hush_tracebacks()
    try:
        if broke:
            refuse_damaged(Layout(house_of(job)).database)
        return _work(job, restarted=restarted)
    except TildawnError as error:
        said = refusal_of(error)
        say(f"tildawn: {said.message} [{said.code}]")
        if said.hint:
            say(f"Next: {said.hint}")
        return FULL if isinstance(error, StoreFull) else said.exit_code
    # The outermost frame of a worker.  It counts as a death: the parent starts another one.
    except Exception:  # noqa: BLE001 - told with its trace
        _log.critical("the worker broke", exc_info=True)
        say(traceback.format_exc())
        return BROKE


def _work(job: Job, *, restarted: bool) -> int:
    clock, folder = SystemClock(), house_of(job)
    config = load(folder.parent, environ=os.environ, flags=job.flags)
    compiled = None
    if job.night is not None:
        night = as_accepted(job.night, folder, clock, restarted=restarted)
        job = msgspec.structs.replace(job, night=night)
        settings = settled(config.settings, night)
        config = msgspec.structs.replace(config, settings=settings)
        ahead = look_ahead(night, folder, settings, clock, restarted=restarted)
        compiled = asyncio.run(ahead)
    house = _open(folder, config, clock)
    if compiled is not None:
        house.ledger.secrets.name(compiled.plan.required_env)
    handler = keep_log(folder, config.settings.log, house.ledger.secrets)
    try:
        return asyncio.run(_Worker(house, config, job).serve(compiled, restarted=restarted))
    finally:
        house.close()
        end_log(handler)


def _open(folder: Path, config: Config, clock: Clock) -> House:
    """Take the pen; a worker whose parent was killed gives it up for one that has a parent."""
    until = clock.mono() + HAND_OVER
    asked = False
    while True:
        try:
            return House.open(folder, config.settings, mode="write", clock=clock)
        except HouseLocked:
            if clock.mono() > until or not (asked or _is_orphan(folder)):
                raise
        if not asked:
            asked = True
            with suppress(Absent):
                ask_holder(folder, LEAVE.name, b"{}")
        threading.Event().wait(LOOK_EVERY)


def _is_orphan(folder: Path) -> bool:
    try:
        return greeting_of(folder).orphan
    except (Absent, TildawnError):
        return False  # it says nothing, so it stays in its right


class _Worker:
    """One open house, at work."""

    def __init__(self, house: House, config: Config, job: Job) -> None:
        self._house = house
        self._job = job
        self._desk = Desk(config, house.clock, folder=house.folder, house=house, leave=self._leave)
        self._leaving = asyncio.Event()

    async def serve(self, compiled: Compiled | None, *, restarted: bool) -> int:
        """Work until the night ends or we are asked to leave."""
        house, loop = self._house, asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, self._leave)
        house.stops.on_change.append(lambda stops: say(told(stops)))
        async with (
            listening(socket_path(house.folder), application(self._desk)),
            working(house, env=os.environ, prepare=[prepare]),
            watching(house.folder, clock=house.clock, tell=say),
        ):
            say(f"working in {house.folder}")
            if self._job.night is None:
                await self._leaving.wait()
                say("leaving: what is going on returns to the queue")
                return PARKED
            return await spend_night(
                house, self._job.night, compiled=compiled, restarted=restarted,
                leave=self._leaving, print_line=print_line,
            )  # fmt: skip

    def _leave(self) -> None:
        if not self._leaving.is_set():
            _leave_anyway(PATIENCE)
            self._leaving.set()


def _leave_anyway(wait: float) -> None:
    """End the process even if a thread of a step will not: what it did is not on record."""
    timer = threading.Timer(wait, os._exit, (PARKED,))
    timer.daemon = True
    timer.start()


def say(line: str) -> None:
    """Write a line for a person.

    Raises:
        Nothing.
    """
    _write(sys.stderr, hushed(line))


def print_line(line: str) -> None:
    """Write a JSON object for the parent.

    Raises:
        Nothing.
    """
    _write(sys.stdout, line)


def _write(stream: TextIO, line: str) -> None:
    """A night does not end because nobody listens any more; the ledger has it all."""
    with suppress(OSError, ValueError):
        stream.write(f"{line}\n")
        stream.flush()
