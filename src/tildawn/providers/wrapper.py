"""The wrapper around a program: it ends when we end, and takes everything it started along.

What it is not: imported.  `shell` runs this file with a bare interpreter (``-I -S``), so it uses
the standard library alone and starts in milliseconds.

Descriptor 0 is a socket to our process.  One byte on it means go; its end means that we are gone
or want no more.  The wrapper leads a process group of its own, which holds the program and what
that starts; on Linux it also adopts whoever leaves the group, so that nobody is left behind.

HOLE: on systems without subreapers a program that calls setsid() and forks escapes.
"""

import ctypes
import os
import select
import signal
import sys
import time
from contextlib import suppress
from types import FrameType


GRACE_SECONDS = 0.4
"""Between asking to end and killing; less than half of the second that a call may take to end."""

_PR_SET_CHILD_SUBREAPER = 36
"""Source: linux/prctl.h."""

_LINE, _GO = 0, b"g"


def main() -> None:
    """Wait for go, run the program, say how it ended, and leave nobody behind.

    Raises:
        Nothing; it ends by killing its own group.
    """
    coerced, *argv = sys.argv[1:]
    environment = dict(os.environ)
    if coerced == "coerced":
        environment.pop("LC_CTYPE", None)  # set by this interpreter, not by the caller
    _adopt_orphans()
    wake, woken = os.pipe()
    for end in (wake, woken):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGTERM, _noted)
    signal.signal(signal.SIGCHLD, _noted)
    if not _go(wake):
        return
    try:
        program = _start(argv, environment)
    except OSError as error:
        _say(f"error {error.errno}")
        return
    _watch(program, wake)
    _end_everybody(wake)


def _go(wake: int) -> bool:
    ready, _, _ = select.select([_LINE, wake], [], [])
    return wake not in ready and _heard() == _GO


def _start(argv: list[str], environment: dict[str, str]) -> int:
    # Python ignores SIGPIPE and our parent may ignore SIGHUP; a program expects the defaults.
    usual = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT]
    return os.posix_spawnp(
        argv[0],
        argv,
        environment,
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)],
        setsigmask=[],
        setsigdef=usual,
    )


def _watch(program: int, wake: int) -> None:
    """Until the program has ended, or we are told to end (a signal, or nobody at the line)."""
    while True:
        ready, _, _ = select.select([_LINE, wake], [], [])
        for pid, status in _reaped():
            if pid == program:
                _say(f"status {os.waitstatus_to_exitcode(status)}")
                return
        if _LINE in ready or signal.SIGTERM in _signals(wake):
            return


def _end_everybody(wake: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(0, signal.SIGTERM)  # reaches us too, where it is only noted
    deadline = time.monotonic() + GRACE_SECONDS  # noqa: TID251 a program of its own
    while _has_children() and (left := deadline - time.monotonic()) > 0:  # noqa: TID251
        select.select([wake], [], [], left)
        _signals(wake)
        _reaped()
    while children := _children():
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(-1, 0)  # their children come to us next
    # Where nobody can be adopted, this is what ends the rest; it ends us, too.
    os.killpg(0, signal.SIGKILL)


def _reaped() -> list[tuple[int, int]]:
    ended = list[tuple[int, int]]()
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended.append((pid, status))
    return ended


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _children() -> list[int]:
    """Our children on Linux, living or not yet reaped; elsewhere the group's end must do."""
    try:
        fd = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY)
        with os.fdopen(fd, encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _signals(wake: int) -> bytes:
    """The numbers of the signals that came since the last look."""
    try:
        return os.read(wake, 512)
    except BlockingIOError:
        return b""


def _heard() -> bytes:
    try:
        return os.read(_LINE, 1)
    except OSError:  # a reset is an end too
        return b""


def _say(text: str) -> None:
    with suppress(OSError):  # nobody may be listening any more
        os.write(_LINE, f"{text}\n".encode())


def _noted(number: int, frame: FrameType | None) -> None:
    """The wake-up descriptor carries the news; the handler is there so that there is one."""


if __name__ == "__main__":
    main()
