"""Processes of an earlier life: are they still there, and how to end them.

What it is not: a way to start any.  A process is known by its id and its start time, since an id
alone is given out again.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from tildawn.clock import Clock
from tildawn.units import MILLISECOND, SECOND, Micros


GRACE = Micros(SECOND)
"""How long `kill_group` asks before it kills; the wrapper itself needs half of it."""


def start_time(pid: int) -> str | None:
    """When a process started, as an opaque text that no other process with that id shares.

    Returns:
        On Linux the boot and the clock tick, elsewhere what ``ps`` says; None if it is gone.

    Raises:
        Nothing.
    """
    if sys.platform != "linux":
        asked = ["/bin/ps", "-o", "lstart=", "-p", str(pid)]
        said = subprocess.run(asked, capture_output=True, check=False)  # noqa: S603 fixed words
        return said.stdout.decode().strip() or None
    seen = _seen(pid)
    return None if seen is None else f"{_boot()}/{seen.ticks}"


def is_alive(pid: int, start: str) -> bool:
    """Whether a wrapper, or anybody of its group, is still there.

    Args:
        pid: of the wrapper, which is its group's too.
        start: its start time.

    Returns:
        False once all of them are gone, also after a reboot or when the id is somebody else's.

    Raises:
        Nothing.
    """
    now = start_time(pid)
    if now is not None:
        return now == start
    if sys.platform != "linux":
        return _group_answers(pid)
    # The id cannot have been given out again while the group has members.
    return start.startswith(f"{_boot()}/") and any(x.group == pid for x in _everybody())


async def kill_group(pid: int, start: str, *, clock: Clock, grace: Micros = GRACE) -> bool:
    """End a wrapper and its group: ask, wait up to ``grace``, kill.

    Args:
        pid: of the wrapper.
        start: its start time; a process with another one is left alone.
        clock: by which to wait.
        grace: in microseconds.

    Returns:
        Whether they are gone.

    Raises:
        Nothing.
    """
    if is_alive(pid, start):
        with suppress(ProcessLookupError, PermissionError):
            # The wrapper ends its program and whoever left the group; without it, all are asked.
            if start_time(pid) is None:
                os.killpg(pid, signal.SIGTERM)
            else:
                os.kill(pid, signal.SIGTERM)
        if not await _gone(pid, start, clock, grace):
            kill_now(pid)
    return await _gone(pid, start, clock, GRACE)


def kill_now(pid: int) -> None:
    """Kill a wrapper, its group and, on Linux, whoever it started, without asking.

    Raises:
        Nothing.
    """
    for child in _descendants(pid):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(child, signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


async def _gone(pid: int, start: str, clock: Clock, patience: Micros) -> bool:
    until = clock.mono() + patience
    while is_alive(pid, start):
        if clock.mono() >= until:
            return False
        await clock.sleep(Micros(10 * MILLISECOND))
    return True


class _Seen(msgspec.Struct, frozen=True):
    pid: int
    parent: int
    group: int
    ticks: str


def _seen(pid: int) -> _Seen | None:
    """A living process; one that has ended and is only waiting to be reaped is none.

    Source: proc(5), /proc/pid/stat; fields are counted after the name, which may hold anything.
    """
    try:
        line = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    fields = line.rpartition(")")[2].split()
    state, parent, group, ticks = fields[0], fields[1], fields[2], fields[19]
    if state in {"Z", "X"}:
        return None
    return _Seen(pid, int(parent), int(group), ticks)


def _descendants(pid: int) -> set[int]:
    if sys.platform != "linux":
        return set()
    parents = {seen.pid: seen.parent for seen in _everybody()}
    found = set[int]()
    while more := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= more
    return found


def _everybody() -> Iterator[_Seen]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (seen := _seen(int(entry.name))) is not None:
            yield seen


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def _group_answers(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
