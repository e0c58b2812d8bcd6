"""Refuses connections and new processes from task code: the door is the way out.

What it is not: a sandbox.  It stops mistakes, not malice; code that means to get out, will.

The interpreter tells an audit hook of every socket and process it is about to make.  A hook
cannot be taken away again, so it is added once for the process, and it does nothing on a thread
that is not inside `task_code`.
"""

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from tildawn.errors import Bypassed


CONNECT: Final = "use ctx.call with an http step, or a @call function, so that the door sees it"
PROCESS: Final = "use ctx.call with a shell step, so that the process is found after a crash"
THREAD: Final = "use ctx.step for work in threads, so that its result is on record"

REFUSED: Final = {
    "socket.connect": CONNECT,
    "socket.sendto": CONNECT,
    "socket.sendmsg": CONNECT,
    "socket.getaddrinfo": CONNECT,
    "socket.gethostbyname": CONNECT,
    "socket.gethostbyaddr": CONNECT,
    "urllib.Request": CONNECT,
    "webbrowser.open": CONNECT,
    "subprocess.Popen": PROCESS,
    "os.system": PROCESS,
    "os.exec": PROCESS,
    "os.fork": PROCESS,
    "os.forkpty": PROCESS,
    "os.posix_spawn": PROCESS,
    "os.spawn": PROCESS,
    "pty.spawn": PROCESS,
    # A thread would leave the thread that is watched. From Python 3.12 on.
    "_thread.start_new_thread": THREAD,
    "_thread.start_joinable_thread": THREAD,
}
"""Audit events that leave the house, and what to use instead.
Source: https://docs.python.org/3/library/audit_events.html

# HOLE: Python 3.11 has no event for a new thread; there, only the lint sees one.
"""


class _Inside(threading.local):
    """How deep this thread is in task code; each thread has its own."""

    depth = 0


# State of the module on purpose: the hook belongs to the interpreter and cannot be handed in.
_inside = _Inside()
_hooked = threading.Event()


class TaskCode:
    """A stretch of task code on this thread; entering costs a fraction of a microsecond.

    One object may be entered again and again, also while it is entered.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        """From here on, this thread may not reach outside."""
        _inside.depth += 1

    def __exit__(self, *_: object) -> None:
        """Back to what was allowed before."""
        _inside.depth -= 1


_TASK_CODE = TaskCode()


def task_code() -> TaskCode:
    """A context in which this thread may not connect anywhere nor start a process.

    Raises:
        Nothing.
    """
    return _TASK_CODE


@contextmanager
def outside() -> Generator[None]:
    """A context in which this thread may reach outside although task code is below it.

    For the door's own work, such as a lazy import that looks up this machine's name.

    Raises:
        Nothing.
    """
    depth, _inside.depth = _inside.depth, 0
    try:
        yield
    finally:
        _inside.depth = depth


def install() -> None:
    """Add the hook to this interpreter; a second time does nothing.

    Raises:
        Nothing.
    """
    if not _hooked.is_set():
        _hooked.set()
        sys.addaudithook(_hook)


def _hook(event: str, args: tuple[object, ...]) -> None:
    # Called for every import, open and attribute that is audited: the first look must be cheap.
    if event in REFUSED and _inside.depth:
        _refuse(event, args)


def _refuse(event: str, args: tuple[object, ...]) -> None:
    message = f"task code reached outside by itself: {event}{_target(event, args)}"
    raise Bypassed(message, hint=REFUSED[event], event=event)


def _target(event: str, args: tuple[object, ...]) -> str:
    if event in {"socket.connect", "socket.sendto"}:
        return f" to {args[1]!r}" if len(args) > 1 else ""
    if event in {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"}:
        return f" of {args[0]!r}" if args else ""
    return ""
