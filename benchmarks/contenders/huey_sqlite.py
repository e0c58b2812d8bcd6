"""huey with SqliteHuey: a task queue without workflows; a step is a task that enqueues the next.

What it is not: given its default delay of a second between looks; that would only measure it.
"""

import itertools
import threading
import time
from pathlib import Path
from typing import Any

from huey import SqliteHuey

from benchmarks.contenders.contender import Hits


WORKERS = 4
DELAY_MAX = 0.02
"""Longest wait of a worker between two looks at the queue, in seconds."""

IDLE_LOOKS = 20
"""Looks at an empty queue, 50 ms apart, after which nothing more is expected."""

stamps: list[float] = []
hits: list[Hits] = []
done = threading.Semaphore(0)


class Engine:
    """A queue and four workers in one process."""

    def __init__(self, name: str, folder: Path) -> None:
        """Nothing is opened yet."""
        self._folder = folder

    def start(self) -> None:
        """See `Contender`."""
        huey: Any = SqliteHuey(filename=str(self._folder / "huey.db"), results=True, timeout=30)

        @huey.task()
        def step(run: int, number: int, steps: int) -> None:
            if hits:
                hits[0].hit(run, number)
            stamps.append(time.perf_counter())
            if number + 1 < steps:
                step(run, number + 1, steps)
            else:
                done.release()

        self._huey, self._step = huey, step
        self._consumer = huey.create_consumer(
            workers=WORKERS, initial_delay=0.005, max_delay=DELAY_MAX, backoff=1.15,
            check_worker_health=False,
        )  # fmt: skip
        self._consumer.start()

    def sequential(self, steps: int) -> list[float]:
        """See `Contender`."""
        stamps.clear()
        self._step(0, 0, steps)
        done.acquire()
        return [after - before for before, after in itertools.pairwise(stamps)]

    def crowd(self, runs: int, steps: int) -> float:
        """See `Contender`."""
        began = time.perf_counter()
        for run in range(runs):
            self._step(run, 0, steps)
        for _ in range(runs):
            done.acquire()
        return time.perf_counter() - began

    def pickup(self, count: int) -> list[float]:
        """See `Contender`."""
        took: list[float] = []
        for number in range(count):
            stamps.clear()
            began = time.perf_counter()
            self._step(0, 0, 1)
            done.acquire()
            took.append(stamps[0] - began)
            time.sleep(0.03 + 0.001 * (number % 7))
        return took

    def carry_on(self, runs: int, steps: int, hits_of: Hits) -> None:
        """See `Contender`; what was lost cannot be waited for, so an idle queue is the end."""
        first = not hits_of.path.stat().st_size
        hits.append(hits_of)
        if first:
            for run in range(runs):
                self._step(run, 0, steps)
        idle = 0
        while idle < IDLE_LOOKS:
            time.sleep(0.05)
            idle = idle + 1 if self._huey.pending_count() == 0 else 0

    def stop(self) -> None:
        """See `Contender`."""
        self._consumer.stop()
