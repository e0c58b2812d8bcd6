"""The small parent of a worker: starts it again when it dies, and has the report written.

What it is not: a worker.  It never takes the pen and opens no house, so nothing that goes wrong
with a house goes wrong here.  What it does is start programs and wait.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, Self

import msgspec

from tildawn.clock import Clock
from tildawn.units import SECOND, Micros


TRY_AGAIN = 75
"""Exit code of whoever was told to leave: the work goes on when it is started again."""

BROKE = 70
"""Exit code of a worker with a fault of its own, see `tildawn.faces.local.worker`."""

FULL = 74
"""Exit code of a worker that found the disk full: it is started again until there is room, as
often as that takes. Source: EX_IOERR of sysexits."""

DAMAGED = 4
"""Exit code of a worker whose ledger is damaged: it could not write a report."""

GIVEN_UP = 1
"""Exit code of the whole when the worker is not started any more."""

DELIBERATE = frozenset({0, 1, 2, 3, DAMAGED, TRY_AGAIN})
"""Exit codes that a worker chooses; any other one, and every signal, is a death."""

LEAVING = Micros(9 * SECOND)
"""How long a worker that was told to leave may take: within ten seconds all are gone."""

REPORTING = Micros(90 * SECOND)
"""How long a report may take; one of a large house takes a few seconds."""

LAST_WORDS = 300
"""Characters of the last line of a worker that is given up; enough for an error's message."""

_EOF = Micros(1 * SECOND)
"""How long the output of a dead worker is waited for; a stray child of it may hold the pipe."""


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What to start; each is a list of arguments.

    ``again`` is added to ``worker`` on every start but the first, ``broke`` as well where the
    worker before broke with a fault of its own; ``report`` writes the report without the pen, and
    is empty where there is none to write.
    """

    worker: tuple[str, ...]
    again: tuple[str, ...] = ()
    broke: tuple[str, ...] = ()
    report: tuple[str, ...] = ()
    #: The instant by which a report has to be there, 0 for the end of the work.
    report_at: Micros = Micros(0)
    #: Takes what everybody says.
    log: Path


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait before a dead worker is started again, and when that has no sense any more.

    The waits double from ``first`` to ``longest``; a worker that lived for ``calm`` begins anew.
    Within ``within`` it is given up after so many ``deaths``, or after having broken so often
    (``broke``) in less than ``quick`` without a word of news.  A run that kills its process is
    found and held after five deaths, so the first number is above that.
    """

    first: Micros = Micros(1 * SECOND)
    longest: Micros = Micros(60 * SECOND)
    calm: Micros = Micros(300 * SECOND)
    within: Micros = Micros(600 * SECOND)
    deaths: int = 10
    quick: Micros = Micros(20 * SECOND)
    broke: int = 5


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What the parent saw or did; ``code`` is an exit code, negative for a signal."""

    kind: Literal[
        "started", "died", "ended", "leaving", "killed", "reported", "unreported", "given-up",
        "unlogged",
    ]  # fmt: skip
    code: int = 0
    #: How often the worker died before it was given up, and what it said last.
    times: int = 0
    said: str = ""
    pid: int = 0
    wait: Micros = Micros(0)


Relay = Callable[[Literal["out", "error"], bytes], None]
"""Takes each line that a worker writes, with its line feed."""


class Supervisor:
    """Looks after one worker until it ends on purpose, or until it is told to leave."""

    def __init__(
        self,
        orders: Orders,
        clock: Clock,
        *,
        pace: Pace | None = None,
        relay: Relay | None = None,
        tell: Callable[[Event], None] | None = None,
    ) -> None:
        """Take the orders.

        Args:
            orders: what to start.
            clock: for back-off and deadlines.
            pace: of starting again.
            relay: takes the lines of the worker; not called any more once the terminal is gone.
            tell: told what happens.
        """
        self._orders = orders
        self._clock = clock
        self._pace = pace or Pace()
        self._relay = relay
        self._tell_whom = tell
        self._leaving = asyncio.Event()
        self._log = orders.log
        self._news = False
        self._unlogged = False
        self._last_words = ""
        self.deaths = 0

    async def run(self) -> int:
        """Keep the worker going until it ends.

        Returns:
            The exit code of the whole: the worker's own, 75 when we were told to leave, or 1
            when the worker was given up.

        Raises:
            OSError: the worker cannot be started at all.
        """
        timely = asyncio.ensure_future(self._report_on_time())
        try:
            code = await self._keep_going()
        finally:
            timely.cancel()
            await asyncio.gather(timely, return_exceptions=True)
        if code not in DELIBERATE:
            # The worker could not say good-bye, so it has not written a report either.
            await self._report()
            return TRY_AGAIN if self._leaving.is_set() else GIVEN_UP
        if code == DAMAGED:
            await self._report()
        return code

    def leave(self) -> None:
        """Tell the worker to leave; `run` ends within ten seconds."""
        self._leaving.set()

    def hang_up(self) -> None:
        """The terminal is gone: go on, and write to the log only."""
        self._relay = None

    def listen(self) -> None:
        """Take the signals of this process: SIGINT and SIGTERM leave, SIGHUP is survived.

        Raises:
            RuntimeError: this is not the main thread.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.leave)
        loop.add_signal_handler(signal.SIGHUP, self.hang_up)

    # -- the worker --------------------------------------------------------------------------

    async def _keep_going(self) -> int:
        wait, argv = self._pace.first, self._orders.worker
        recent = _Recent(self._pace)
        while True:
            began = self._clock.mono()
            code = await self._work(argv)
            if code in DELIBERATE or self._leaving.is_set():
                self._tell(Event(kind="ended", code=code))
                return code
            now = self._clock.mono()
            if now - began >= self._pace.calm:
                wait = self._pace.first
            self.deaths += 1
            idle = code == BROKE and not self._news and now - began < self._pace.quick
            if code != FULL and (times := recent.too_many(now, idle=idle)):
                said = self._last_words
                self._tell(Event(kind="given-up", code=code, times=times, said=said))
                return code
            self._tell(Event(kind="died", code=code, wait=wait))
            if not await self._pause(wait):
                return code
            wait = Micros(min(wait * 2, self._pace.longest))
            broke = self._orders.broke if code == BROKE else ()
            argv = (*self._orders.worker, *self._orders.again, *broke)

    async def _pause(self, wait: Micros) -> bool:
        """Wait; False when we were told to leave meanwhile."""
        await _first(self._clock.sleep(wait), self._leaving.wait())
        return not self._leaving.is_set()

    async def _work(self, argv: Sequence[str]) -> int:
        self._news, self._last_words = False, ""
        child = await _Child.start(argv, self._line)
        self._tell(Event(kind="started", pid=child.pid))
        ended = asyncio.ensure_future(child.ended())
        await _first(asyncio.shield(ended), self._leaving.wait())
        if not ended.done():
            await self._part(child, ended)
        return await ended

    async def _part(self, child: "_Child", ended: "asyncio.Future[int]") -> None:
        """Ask the worker to leave, and make it when it does not."""
        self._tell(Event(kind="leaving", pid=child.pid))
        child.send(signal.SIGTERM)
        await _first(asyncio.shield(ended), self._clock.sleep(LEAVING))
        if not ended.done():
            self._tell(Event(kind="killed", pid=child.pid))
            child.kill_all()

    # -- the report --------------------------------------------------------------------------

    async def _report_on_time(self) -> None:
        """Have the report written at its hour, whatever became of the worker by then."""
        if not self._orders.report_at:
            return
        while (left := self._orders.report_at - self._clock.wall()) > 0:
            # The wall clock may be set, and a laptop may sleep: look at it now and then.
            await self._clock.sleep(Micros(min(left, 60 * SECOND)))
        await self._report()

    async def _report(self) -> None:
        if not self._orders.report:
            return
        child = await _Child.start(self._orders.report, self._line)
        ended = asyncio.ensure_future(child.ended())
        try:
            await _first(asyncio.shield(ended), self._clock.sleep(REPORTING))
        finally:
            if not ended.done():
                child.kill_all()
        code = await ended
        self._tell(Event(kind="unreported" if code else "reported", code=code))

    # -- saying ------------------------------------------------------------------------------

    def _line(self, where: Literal["out", "error"], line: bytes) -> None:
        self._write(line)
        if where == "out":
            self._news = True
        elif line.strip():
            self._last_words = line.decode("utf-8", "replace").strip()[:LAST_WORDS]
        if self._relay is None:
            return
        try:
            self._relay(where, line)
        except OSError:
            self.hang_up()  # The terminal went away without telling us.

    def _tell(self, event: Event) -> None:
        line = msgspec.json.encode({"at": self._clock.wall(), "supervisor": event})
        self._write(line + b"\n")
        if self._tell_whom is not None:
            self._tell_whom(event)

    def _write(self, line: bytes) -> None:
        """Keep a line.  A full disk takes the log, and must not take the night with it."""
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("ab") as log:
                log.write(line)
        except OSError as error:
            if not self._unlogged and self._tell_whom is not None:
                self._tell_whom(Event(kind="unlogged", said=error.strerror or str(error)))
            self._unlogged = True
        else:
            self._unlogged = False


class _Recent:
    """The deaths of the last minutes."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._deaths: list[tuple[Micros, bool]] = []

    def too_many(self, now: Micros, *, idle: bool) -> int:
        """Take in a death; how many there were when they are too many, else 0."""
        self._deaths.append((now, idle))
        self._deaths = [one for one in self._deaths if now - one[0] < self._pace.within]
        broke = sum(idle for _, idle in self._deaths)
        if broke >= self._pace.broke:
            return broke
        return len(self._deaths) if len(self._deaths) >= self._pace.deaths else 0


class _Child:
    """A program in a session of its own: no terminal of ours reaches it but through us."""

    def __init__(
        self, process: asyncio.subprocess.Process, readers: "list[asyncio.Task[None]]"
    ) -> None:
        self._process = process
        self._readers = readers
        self.pid = process.pid

    @classmethod
    async def start(
        cls, argv: Sequence[str], line: Callable[[Literal["out", "error"], bytes], None]
    ) -> Self:
        """Start it; its lines are handed on as they come."""
        out, theirs_out = os.pipe()
        error, theirs_error = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *argv, stdin=asyncio.subprocess.DEVNULL, stdout=theirs_out, stderr=theirs_error,
                start_new_session=True,
            )  # fmt: skip
        except BaseException:
            os.close(out)
            os.close(error)
            raise
        finally:
            os.close(theirs_out)
            os.close(theirs_error)
        readers = [
            asyncio.ensure_future(_lines(out, lambda text: line("out", text))),
            asyncio.ensure_future(_lines(error, lambda text: line("error", text))),
        ]
        return cls(process, readers)

    async def ended(self) -> int:
        """Its exit code, negative for a signal; what it wrote has been handed on."""
        code = await self._process.wait()
        # The process is gone; what is in the pipes is read, but a stray child is not waited for.
        await asyncio.wait(self._readers, timeout=_EOF / SECOND)
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        return code

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; nothing when it is gone already."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def kill_all(self) -> None:
        """Kill it and everything it started; nothing when they are gone already."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


async def _lines(descriptor: int, take: Callable[[bytes], None]) -> None:
    """Hand on what is written into a pipe, a line at a time, until nobody can write any more."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 20)
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        while True:
            try:
                line = await reader.readline()
            except ValueError:
                continue  # A line of more than a megabyte; its rest is read as others.
            if not line:
                return
            take(line if line.endswith(b"\n") else line + b"\n")
    finally:
        transport.close()


async def _first(*waits: Awaitable[object]) -> None:
    """Wait until the first of several things has happened, and forget the others."""
    tasks = [asyncio.ensure_future(one) for one in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
