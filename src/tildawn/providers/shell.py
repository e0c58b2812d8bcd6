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
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import IO

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

    Cancelling asks the program and all it started to end, kills them a moment later, and
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
        process = _spawn(request, theirs)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    running = await _Running.of(process, ours, request.tail_bytes)
    try:
        if on_start is not None:
            await on_start(process.pid, start_time(process.pid) or "")
        if wire is not None:
            wire.sent = True
        running.go()
        return await running.ended()
    finally:
        await running.gone()


def _spawn(request: ShellRequest, line: socket.socket) -> subprocess.Popen[bytes]:
    env = dict(request.env)
    env["PATH"] = f"{Path(sys.executable).parent}:{env.get('PATH', '/usr/local/bin:/usr/bin:/bin')}"
    coerced = "as-is" if "LC_CTYPE" in env else "coerced"
    command = (sys.executable, "-I", "-S", wrapper.__file__, coerced, *request.argv)
    try:
        return subprocess.Popen(  # noqa: S603  running programs is what this is for
            command,
            cwd=request.cwd,
            env=env,
            stdin=line.fileno(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise Fault(FaultKind.BAD_REQUEST, f"{error}", sent=False) from error


class _Tail:
    """The last bytes of an output."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()
        self.total = 0

    async def follow(self, pipe: IO[bytes]) -> None:
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            while piece := await reader.read(64 * 1024):
                self.total += len(piece)
                self._kept += piece
                del self._kept[: -self._limit or None]
        finally:
            transport.close()

    def last(self) -> bytes:
        return bytes(self._kept)


class _Running:
    """A wrapper at work.  Its end of the line is nobody else's, so the line ends when it does."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limit: int,
    ) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._writer = writer
        self._out, self._err = _Tail(limit), _Tail(limit)
        self._line = asyncio.ensure_future(_all(reader))
        self._readers = (
            asyncio.ensure_future(self._out.follow(process.stdout)),
            asyncio.ensure_future(self._err.follow(process.stderr)),
        )

    @classmethod
    async def of(
        cls, process: subprocess.Popen[bytes], line: socket.socket, limit: int
    ) -> "_Running":
        reader, writer = await asyncio.open_connection(sock=line)
        return cls(process, reader, writer, limit)

    def go(self) -> None:
        self._writer.write(b"g")

    async def ended(self) -> ShellAnswer:
        word, _, number = (await asyncio.shield(self._line)).partition(" ")
        if word not in {"status", "error"}:
            kill_now(self._process.pid)  # nobody else is left to end the program
            detail = "the wrapper was killed by somebody else, and the program with it"
            raise Fault(FaultKind.UNKNOWN, detail, sent=True)
        # Nobody of the group is left to hold the pipes.
        await asyncio.wait(self._readers, timeout=_DRAIN_SECONDS)
        if word == "error":
            raise _not_started(int(number))
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
        """Say that we want no more, and see that everybody has ended."""
        if not self._line.done() and self._writer.can_write_eof():
            self._writer.write_eof()
        try:
            await asyncio.wait({self._line}, timeout=_GONE_SECONDS)
        finally:  # also if cancelled again: no more patience then
            if not self._line.done():
                kill_now(self._process.pid)
            self._process.wait()  # a moment: it has closed its files, or has been killed
            for reader in (*self._readers, self._line):
                reader.cancel()
            self._writer.close()
            await asyncio.gather(*self._readers, self._line, return_exceptions=True)


async def _all(reader: asyncio.StreamReader) -> str:
    try:
        return (await reader.read()).decode().strip()
    except ConnectionError:
        return ""


def _not_started(number: int) -> Fault:
    kind = FaultKind.NOT_FOUND if number == errno.ENOENT else FaultKind.BAD_REQUEST
    return Fault(kind, f"the program cannot be started: {os.strerror(number)}", sent=False)


_HARMLESS = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV"}
)

_DRAIN_SECONDS = 0.2
"""For bytes already in the pipes; somebody who escaped with a pipe does not hold us up."""

_GONE_SECONDS = wrapper.GRACE_SECONDS + 0.5
"""After that the wrapper is stuck itself; with the kill still within one second of the deadline."""
