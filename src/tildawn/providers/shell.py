"""Programs: a list of arguments, no shell, nobody left behind.

What it is not: a terminal.  The program reads nothing, its output is kept as tails, and its time
is bounded by cancelling the call.

The program runs under `wrapper`, which holds a socket to us.  Whatever ends this process, SIGKILL
included, closes the socket, and the wrapper then kills the program and all it started.
"""

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from tildawn.providers import wrapper
from tildawn.providers.fault import Fault, FaultKind
from tildawn.providers.port import Wire
from tildawn.providers.process import kill_now, start_time


TAIL_BYTES = 64 * 1024
"""How much of each output is kept unless the caller says otherwise."""

OnStart = Callable[[int, str], Awaitable[None]]
"""Told process id and start time of the wrapper before the program itself starts."""


class ShellRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A program to run.

    ``env`` is the whole environment: nothing is inherited, but the folder of the running
    interpreter comes first on ``PATH``.  ``base_environment`` gives the harmless part of ours.
    """

    argv: tuple[str, ...]
    cwd: str
    env: tuple[tuple[str, str], ...] = ()
    tail_bytes: int = TAIL_BYTES


class ShellAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How the program ended: by itself with ``exit_code``, or by ``signal``.

    ``stdout`` and ``stderr`` are the last bytes, the counts are of all bytes.
    """

    exit_code: int | None
    signal: int | None
    stdout: bytes
    stderr: bytes
    stdout_bytes: int
    stderr_bytes: int

    def require_success(self) -> "ShellAnswer":
        """This answer if the exit code is 0.

        Raises:
            Fault: bad request (the same again would end the same), with the end of the output.
        """
        if self.exit_code == 0:
            return self
        how = f"exit code {self.exit_code}" if self.signal is None else f"signal {self.signal}"
        said = (self.stderr or self.stdout)[-300:].decode("utf-8", "replace").strip()
        detail = f"the program ended with {how}: {said}"
        raise Fault(FaultKind.BAD_REQUEST, detail, sent=True, status=self.exit_code)


def base_environment(environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The variables of ours that a program may see: places and language, never keys.

    Raises:
        Nothing.
    """
    return tuple(
        (name, value)
        for name, value in sorted(environ.items())
        if name in _HARMLESS or name.startswith("LC_")
    )


async def run(
    request: ShellRequest, *, on_start: OnStart | None = None, wire: Wire | None = None
) -> ShellAnswer:
    """Run a program to its end.

    Cancelling asks the program and all it started to end, kills them half a second later, and
    goes on when they are gone.

    Args:
        request: the program.
        on_start: awaited before the program starts; what it raises stops the start.
        wire: told when the program is started.

    Returns:
        How it ended, whatever the exit code.

    Raises:
        Fault: not found, not executable, no such folder; or the wrapper itself was killed.
    """
    if not request.argv or any("\0" in text for text in request.argv):
        detail = "a program needs a name, and arguments hold no zero bytes"
        raise Fault(FaultKind.BAD_REQUEST, detail, sent=False)
    ours, theirs = socket.socketpair()
    try:
        process = await _spawn(request, theirs)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    line = _Line(*await asyncio.open_connection(sock=ours))
    running = _Running(process, line, request.tail_bytes)
    try:
        if on_start is not None:
            await on_start(process.pid, start_time(process.pid) or "")
        if wire is not None:
            wire.sent = True
        line.writer.write(b"g")
        return await running.ended()
    finally:
        await running.gone()


async def _spawn(request: ShellRequest, line: socket.socket) -> asyncio.subprocess.Process:
    env = dict(request.env)
    env["PATH"] = f"{Path(sys.executable).parent}:{env.get('PATH', '/usr/local/bin:/usr/bin:/bin')}"
    coerced = "as-is" if "LC_CTYPE" in env else "coerced"
    command = (sys.executable, "-I", "-S", wrapper.__file__, coerced, *request.argv)
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=request.cwd,
            env=env,
            stdin=line.fileno(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise Fault(FaultKind.BAD_REQUEST, f"{error}", sent=False) from error


class _Line:
    """Our end of the socket to the wrapper."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def heard(self) -> str:
        try:
            return (await self.reader.readline()).decode().strip()
        except ConnectionError:
            return ""


class _Tail:
    """The last bytes of an output."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()
        self.total = 0

    async def follow(self, reader: asyncio.StreamReader) -> None:
        while piece := await reader.read(64 * 1024):
            self.total += len(piece)
            self._kept += piece
            del self._kept[: -self._limit or None]

    def last(self) -> bytes:
        return bytes(self._kept)


class _Running:
    def __init__(self, process: asyncio.subprocess.Process, line: _Line, limit: int) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._line = line
        self._out, self._err = _Tail(limit), _Tail(limit)
        self._readers = (
            asyncio.ensure_future(self._out.follow(process.stdout)),
            asyncio.ensure_future(self._err.follow(process.stderr)),
        )

    async def ended(self) -> ShellAnswer:
        said = await self._line.heard()
        # The wrapper now ends what is left of the group; then nobody holds the pipes.
        await self._process.wait()
        await asyncio.wait(self._readers, timeout=_DRAIN_SECONDS)
        word, _, number = said.partition(" ")
        if word == "error":
            raise _not_started(int(number))
        if word != "status":
            detail = "the program was killed together with its wrapper, by somebody else"
            raise Fault(FaultKind.UNKNOWN, detail, sent=True)
        code = int(number)
        return ShellAnswer(
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            stdout=self._out.last(),
            stderr=self._err.last(),
            stdout_bytes=self._out.total,
            stderr_bytes=self._err.total,
        )

    async def gone(self) -> None:
        """Close the line, which tells the wrapper to end everybody, and see it done."""
        self._line.writer.close()
        try:
            async with asyncio.timeout(_GONE_SECONDS):
                await self._process.wait()
        except TimeoutError:
            kill_now(self._process.pid)
            await self._process.wait()
        except asyncio.CancelledError:  # cancelled again: no more patience
            kill_now(self._process.pid)
            raise
        finally:
            for reader in self._readers:
                reader.cancel()
            await asyncio.gather(*self._readers, return_exceptions=True)
            with suppress(ConnectionError):
                await self._line.writer.wait_closed()


def _not_started(number: int) -> Fault:
    kind = FaultKind.NOT_FOUND if number == errno.ENOENT else FaultKind.BAD_REQUEST
    return Fault(kind, f"the program cannot be started: {os.strerror(number)}", sent=False)


_HARMLESS = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV"}
)

_DRAIN_SECONDS = 0.2
"""For bytes already in the pipes; somebody who escaped with a pipe does not hold us up."""

_GONE_SECONDS = wrapper.GRACE_SECONDS + 0.3
"""After that the wrapper is stuck itself; with the kill still within one second of the deadline."""
