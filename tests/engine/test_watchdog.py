"""What keeps the event loop is seen from outside, stopped, and named.

What it is not: a measurement.  Time and CPU time are numbers handed in; in the two tests with a
real thread the task runs until it is stopped, and whoever never stops it fails by timeout.
"""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tildawn.clock import SystemClock
from tildawn.engine.activity import Activity, Overran
from tildawn.engine.engine import Threads
from tildawn.engine.task import task
from tildawn.engine.watchdog import (
    FATAL_EXIT,
    MISSED_LOOKS,
    Host,
    Kept,
    Patience,
    Watchdog,
    cpu_of,
    ends_process,
    raise_in_thread,
)
from tildawn.runtime.context import Context
from tildawn.testing.clock import ManualClock
from tildawn.units import MILLISECOND, SECOND, Micros


LOOK = 50 * MILLISECOND


class Watched:
    """A watchdog and the loop it looks at, both in the hands of a test."""

    def __init__(self) -> None:
        self.warned: list[Kept] = []
        self.over: list[Kept] = []
        self.fatal: list[str] = []
        self.shots: list[type[BaseException] | None] = []
        self.posted: list[Callable[[], None]] = []
        self.answers = True
        self.now = 0
        self.dog = Watchdog(ManualClock(), warn=self.warned.append, fatal=self.fatal.append)
        self.dog.watch(Host(self.post, self.over.append), threading.get_ident())
        self.dog.activity.watched(
            threading.get_ident(), lambda _ident, error: self.shots.append(error)
        )

    def post(self, callback: Callable[[], None]) -> None:
        """The loop does what it is asked at once, or never."""
        if self.answers:
            callback()

    def look(self, times: int = 1, *, cpu: int = 0, step: int = LOOK) -> None:
        """Look some times, a step apart."""
        for _ in range(times):
            self.now += step
            self.dog.look(Micros(self.now), Micros(cpu))


def test_an_activation_of_more_than_a_tenth_of_a_second_is_warned_of_once() -> None:
    """A person feels a tenth of a second; a line for each look would bury the log."""
    watched = Watched()
    watched.dog.activity.run = "slow"
    watched.dog.activity.serial = 7
    watched.look(3)
    assert [] == watched.warned
    watched.look(3)
    assert ["slow"] == [kept.run for kept in watched.warned]
    assert "test_watchdog" in watched.warned[0].stack

    watched.dog.activity.serial = 0
    watched.look()
    assert [("slow", 250)] == [(kept.run, kept.blocked_ms) for kept in watched.over]
    assert [] == watched.shots


def test_many_short_activations_are_nobody_s_fault() -> None:
    """A loop that is busy is not blocked."""
    watched = Watched()
    for serial in range(1, 100):
        watched.dog.activity.serial = serial
        watched.look(cpu=serial * SECOND)

    assert ([], [], []) == (watched.warned, watched.shots, watched.fatal)


def test_only_cpu_time_of_one_activation_stops_a_run() -> None:
    """A machine that is slow tonight is not the task's fault; computing for a second is."""
    watched = Watched()
    watched.dog.activity.serial = 1
    watched.look(100, cpu=5_000)
    assert [] == watched.shots
    watched.look(cpu=5_000 + SECOND - 1)
    assert [] == watched.shots
    watched.look(cpu=5_000 + SECOND)
    assert [Overran] == watched.shots


def test_a_loop_that_does_not_answer_for_thirty_seconds_ends_the_process() -> None:
    """Only a fresh start can help then, whoever it is that blocks."""
    watched = Watched()
    watched.answers = False
    watched.look(600)
    assert [] == watched.fatal
    watched.look(2)
    assert "30 s" in watched.fatal[0]


def test_a_process_that_was_stopped_itself_blames_nobody() -> None:
    """After SIGCONT, or a night with the lid closed, the clock is far on and nothing was blocked."""
    watched = Watched()
    watched.answers = False
    watched.dog.activity.serial = 1
    watched.look()
    watched.look(step=3_600 * SECOND)
    watched.look(step=MISSED_LOOKS * LOOK)

    assert [] == watched.fatal
    assert [] == watched.warned


def test_a_shot_that_comes_too_late_hits_nothing() -> None:
    """What runs next is the engine or another run, and neither has done anything."""
    shots: list[type[BaseException] | None] = []
    activity = Activity()
    activity.watched(1, lambda _ident, error: shots.append(error))
    assert not activity.during("a", lambda _limit: None, 1)
    assert not activity.stop(1)
    assert [] == shots

    def aimed_at(_limit: int) -> None:
        assert activity.stop(activity.serial)

    # Fired while the activation ends: it is taken back before anybody else runs.
    activity.during("b", aimed_at, 1)
    assert [Overran, None] == shots
    assert 0 == activity.aim


def test_shots_fired_at_random_moments_never_leave_their_activation() -> None:
    """The proof by trying: two threads, hundreds of shots, none goes astray."""
    activity = Activity()
    activity.watched(threading.get_ident(), raise_in_thread)
    done = threading.Event()
    hits = 0

    def shoot() -> None:
        while not done.is_set():
            if activity.serial:
                activity.stop(activity.serial)

    def count(limit: int) -> None:
        for _ in range(limit):
            pass

    shooter = threading.Thread(target=shoot)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    shooter.start()
    try:
        for turn in range(100_000):
            hits += activity.during("x", count, turn * 31 % 5_000)
            if hits == 200:
                break
    finally:
        done.set()
        shooter.join()
        sys.setswitchinterval(interval)
    assert 0 == activity.aim
    assert 200 == hits


def test_a_task_that_computes_for_ever_ends_and_the_others_go_on(
    workshop: Any, counted: Any
) -> None:
    """One mistake in one task must not cost the night."""
    patience = Patience(warn=Micros(1), stop=Micros(20 * MILLISECOND), look=Micros(2 * MILLISECOND))
    warned: list[Kept] = []
    fatal: list[str] = []
    workshop.threads = Threads(
        watchdog=Watchdog(SystemClock(), warn=warned.append, fatal=fatal.append, patience=patience)
    )

    @task(name="endless")
    async def endless(ctx: Context) -> int:
        await ctx.step(counted.work, "before")
        number = 0
        while True:
            try:
                number += 1
            except Exception:  # noqa: BLE001  what task code catches when it catches everything
                number = 0

    @task(name="fine")
    async def fine(ctx: Context) -> str:
        await ctx.sleep(5)
        return await ctx.step(counted.work, "fine")

    async def story() -> None:
        await workshop.crash()
        good = await workshop.enqueue(fine)
        bad = await workshop.enqueue(endless)
        await workshop.ended(bad, "failed")
        await workshop.tick(6 * SECOND)
        await workshop.ended(good)
        row = workshop.row(bad)
        await workshop.until(lambda: "LoopBlocked" in workshop.kinds(bad))
        await workshop.engine.stop()

        assert "loop-blocked" == row.why
        assert "endless" in json.loads(workshop.why(bad))["message"]
        assert 1 == row.attempt, "the same code would compute for ever again"
        assert ["before", "fine"] == sorted(counted.calls)
        assert bad in {kept.run for kept in warned}
        assert [] == fatal

    asyncio.run(story())


def test_a_task_that_spins_without_waiting_ends_by_name(workshop: Any) -> None:
    """Polling in a loop that never waits is the same mistake in another form."""

    @task(name="spinning")
    async def spinning(ctx: Context) -> int:
        while True:  # noqa: ASYNC110  the mistake itself
            await asyncio.sleep(0)

    async def story() -> None:
        await workshop.start()
        name = await workshop.enqueue(spinning)
        row = await workshop.ended(name, "failed")

        assert "loop-blocked" == row.why
        assert "spinning" in workshop.why(name)

    asyncio.run(story())


def test_the_cpu_time_of_a_thread_is_its_own() -> None:
    """What other threads compute is not charged to the loop."""
    parked = threading.Event()
    thread = threading.Thread(target=parked.wait)
    thread.start()
    try:
        read = cpu_of(thread.ident or 0)
        before = read()
        started = time.thread_time_ns()
        while time.thread_time_ns() - started < 20_000_000:
            pass
        assert read() - before < 20_000
    finally:
        parked.set()
        thread.join()


def test_the_last_word_of_a_process_is_every_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the stacks nobody could say in the morning what it was."""
    codes: list[int] = []
    monkeypatch.setattr("os._exit", codes.append)
    ends_process(tmp_path / "stacks.txt")("the loop is gone")

    said = (tmp_path / "stacks.txt").read_text()
    assert said.startswith("the loop is gone\n")
    assert "test_the_last_word" in said
    assert [FATAL_EXIT] == codes
