"""A thread outside the event loop that notices when nothing else can run.

What it is not: a scheduler or a limit on work; steps may take as long as they like in their
threads.  It judges only how long one stretch of code keeps the event loop.

It warns after a moment, stops task code that computes on and on, and ends the process when the
loop has not answered for so long that only a fresh start can help; the next start finds every
run on record.

# HOLE: code in C that never gives up the interpreter's lock stops this thread, too.
# HOLE: macOS does not tell the CPU time of another thread; there, task code is never stopped,
# only warned of, and the process is ended.
"""

import ctypes
import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import msgspec

from tildawn.clock import Clock
from tildawn.engine import activity
from tildawn.engine.activity import Activity
from tildawn.units import MILLISECOND, SECOND, Micros


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long which kind of blocking is borne (µs)."""

    #: Wall time of one activation that is worth a line in the log: what a person feels.
    warn: Micros = Micros(100 * MILLISECOND)
    #: CPU time of one activation after which its run ends: no decision of a task takes that long.
    stop: Micros = Micros(SECOND)
    #: Wall time without an answer of the loop after which the process ends.
    fatal: Micros = Micros(30 * SECOND)
    #: Time between two looks.
    look: Micros = Micros(50 * MILLISECOND)


class Kept(msgspec.Struct, frozen=True):
    """A run that kept the event loop: for how long at least (ms), and where it was."""

    run: str
    blocked_ms: int
    stack: str


Warn = Callable[[Kept], None]
Fatal = Callable[[str], None]
"""Ends the process; gets the reason. Tests pass something that returns."""

MISSED_LOOKS = 4
"""After so many looks that did not happen it was this thread that could not run, such as in a
stopped process, and the time between does not count."""

FATAL_EXIT = 70
"""Exit code of a process that ended itself, which whoever looks after it takes for a death.
Source: sysexits.h, EX_SOFTWARE."""


def ends_process(dump: Path) -> Fatal:
    """What to do when only a fresh start can help: keep every stack, end at once.

    Args:
        dump: file for the stacks of all threads; it is appended to.

    Returns:
        A function that does not return.

    Raises:
        Nothing.
    """

    def fatal(reason: str) -> NoReturn:
        with dump.open("a", encoding="utf-8") as out:
            out.write(f"{reason}\n")
            out.flush()
            faulthandler.dump_traceback(out, all_threads=True)
        # Not sys.exit: the loop would have to run for that.  The ledger is as after any crash.
        os._exit(FATAL_EXIT)

    return fatal


class Host(msgspec.Struct, frozen=True):
    """What is looked at: how to reach the loop, and where to say what was seen."""

    #: Calls a function on the loop, from any thread.
    post: Callable[[Callable[[], None]], object]
    #: Called on the loop after an activation that was warned of.
    over: Warn


class Watchdog:
    """Looks at one event loop."""

    def __init__(
        self, clock: Clock, *, warn: Warn, fatal: Fatal, patience: Patience | None = None
    ) -> None:
        """Make a watchdog that does nothing before `start`.

        Args:
            clock: steady time.
            warn: called on the watchdog's thread while an activation goes on for too long.
            fatal: called there when the loop has not answered for too long.
            patience: how long is too long.
        """
        self.activity = Activity()
        self._clock = clock
        self._warn = warn
        self._fatal = fatal
        self._patience = patience or Patience()
        self._host: Host | None = None
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._last = Micros(-1)
        self._serial = 0
        self._kept = 0
        self._cpu = 0
        self._warned: Kept | None = None
        # Questions to the loop and its answers by number; each has one thread that writes it.
        self._asked = 0
        self._heard = 0
        self._silent = 0

    # -- looking -------------------------------------------------------------------------

    def watch(self, host: Host, ident: int) -> None:
        """Take the loop of a thread to look at; `look` may be called from now on."""
        self._host = host
        self._heard, self._silent, self._last = self._asked, 0, Micros(-1)
        self.activity.watched(ident, raise_in_thread)

    def look(self, now: Micros, cpu: Micros) -> None:
        """Look once.

        Args:
            now: steady time.
            cpu: CPU time of the loop's thread; any origin.
        """
        passed = self._passed(now)
        self._look_for_answer(passed)
        serial = self.activity.serial
        if serial == 0 or serial != self._serial:
            self._was_over()
            self._serial, self._kept, self._cpu = serial, 0, cpu
            return
        self._kept += passed
        if self._warned is not None:
            self._warned = msgspec.structs.replace(self._warned, blocked_ms=self._kept // 1_000)
        elif self._kept > self._patience.warn:
            self._warned = Kept(self.activity.run, self._kept // 1_000, self._stack())
            self._warn(self._warned)
        if cpu - self._cpu >= self._patience.stop:
            self.activity.stop(serial)

    def _passed(self, now: Micros) -> int:
        passed = now - self._last if self._last >= 0 else 0
        self._last = now
        return passed if passed < MISSED_LOOKS * self._patience.look else self._patience.look

    def _look_for_answer(self, passed: int) -> None:
        if self._heard == self._asked:
            self._asked += 1
            self._silent = 0
            if self._host is not None:
                self._host.post(self._answer)
            return
        self._silent += passed
        if self._silent >= self._patience.fatal:
            seconds = self._silent // SECOND
            active = f"run {self.activity.run}" if self.activity.serial else "no task code"
            self._fatal(f"the event loop has not answered for {seconds} s; active: {active}")

    def _answer(self) -> None:
        self._heard = self._asked

    def _was_over(self) -> None:
        warned, self._warned = self._warned, None
        host = self._host
        if warned is not None and host is not None:
            host.post(lambda: host.over(warned))

    def _stack(self) -> str:
        # Documented for this use, underscore or not.
        frames = sys._current_frames()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  see above
        frame = frames.get(self.activity.ident)
        if frame is None:
            return ""
        stack = traceback.extract_stack(frame)
        # What the loop and the engine did to get there is the same every time.
        ours = [place for place, one in enumerate(stack) if one.filename == activity.__file__]
        return "".join(traceback.format_list(stack[ours[-1] + 1 :] if ours else stack))

    # -- the thread ----------------------------------------------------------------------

    def start(self, host: Host) -> None:
        """Begin to look at the loop of the calling thread."""
        ident = threading.get_ident()
        self.watch(host, ident)
        self._stopped.clear()
        self._thread = threading.Thread(
            target=self._look_for_ever, args=(cpu_of(ident),), name="tildawn-watchdog", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop looking; returns when the thread is gone."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _look_for_ever(self, cpu: Callable[[], Micros]) -> None:
        while not self._stopped.wait(self._patience.look / SECOND):
            try:
                self.look(self._clock.mono(), cpu())
            except RuntimeError:
                return  # The loop was closed without `stop`; there is nothing to look at.


def cpu_of(ident: int) -> Callable[[], Micros]:
    """Reads the CPU time of a thread of this process (µs); stands still where nobody tells it.

    Raises:
        Nothing.
    """
    clock_of = getattr(time, "pthread_getcpuclockid", None)
    if clock_of is None:
        return lambda: Micros(0)
    clock: int = clock_of(ident)
    return lambda: Micros(time.clock_gettime_ns(clock) // 1_000)


def raise_in_thread(ident: int, error: type[BaseException] | None) -> None:
    """Make an exception come up in a thread at its next chance; None takes one back.

    Raises:
        Nothing.
    """
    said = ctypes.py_object(error) if error is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), said)
