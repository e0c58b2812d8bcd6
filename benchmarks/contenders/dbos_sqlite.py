"""DBOS on SQLite, as shipped and with a write-ahead log through its own ``engine`` setting.

What it is not: tuned further.  Both variants sync every commit.
"""

import itertools
import time
from pathlib import Path
from typing import Any

import sqlalchemy
from dbos import DBOS, SetWorkflowID

from benchmarks.contenders.contender import Hits


POLL_FASTEST = 0.05
"""Seconds; the shortest polling interval of a queue that still leaves the machine in peace."""

POLLING = "polling_interval" + "_sec"
"""Their name of a setting; names of ours end in another unit."""

stamps: list[float] = []
hits: list[Hits] = []


@DBOS.step()
def noop(run: int, number: int) -> int:
    """Do nothing, or be counted."""
    if hits:
        hits[0].hit(run, number)
    return number


@DBOS.workflow()
def flow(run: int, steps: int, stamp: bool) -> int:
    """Steps one after the other."""
    for number in range(steps):
        noop(run, number)
        if stamp:
            stamps.append(time.perf_counter())
    return steps


@DBOS.workflow()
def tick() -> None:
    """Be there, and say when."""
    stamps.append(time.perf_counter())


class Engine:
    """One DBOS a process."""

    def __init__(self, name: str, folder: Path) -> None:
        """Choose the variant."""
        self._path = folder / "dbos.db"
        self._wal = name == "dbos-wal"

    def start(self) -> None:
        """See `Contender`."""
        url = f"sqlite:///{self._path}"
        config: Any = {
            "name": "benchmark", "run_admin_server": False, "log_level": "ERROR",
            "max_executor_threads": 64, "system_database_url": url,
        }  # fmt: skip
        if self._wal:
            config["system_database_engine"] = _with_log(url)
        DBOS(config=config)
        DBOS.launch()

    def sequential(self, steps: int) -> list[float]:
        """See `Contender`."""
        stamps.clear()
        flow(0, steps, True)
        return [after - before for before, after in itertools.pairwise(stamps)]

    def crowd(self, runs: int, steps: int) -> float:
        """See `Contender`."""
        began = time.perf_counter()
        self._all(runs, steps, f"crowd{began}")
        return time.perf_counter() - began

    def _all(self, runs: int, steps: int, prefix: str) -> None:
        handles: list[Any] = []
        for run in range(runs):
            with SetWorkflowID(f"{prefix}-{run}"):
                handles.append(DBOS.start_workflow(flow, run, steps, False))
        for handle in handles:
            handle.get_result(**{POLLING: 0.02})

    def pickup(self, count: int) -> list[float]:
        """See `Contender`; its queues poll, here at the shortest interval that is practical.

        At the interval as shipped, one second, this is about one second.
        """
        queue = f"fast{POLL_FASTEST}"
        DBOS.register_queue(queue, **{POLLING: POLL_FASTEST})
        time.sleep(1.5)
        took: list[float] = []
        for number in range(count):
            stamps.clear()
            began = time.perf_counter()
            handle: Any = DBOS.enqueue_workflow(queue, tick)
            handle.get_result(**{POLLING: 0.01})
            took.append(stamps[0] - began)
            time.sleep(0.013 * (number % 7))
        return took

    def carry_on(self, runs: int, steps: int, hits_of: Hits) -> None:
        """See `Contender`: finished ones return at once, pending ones are recovered at launch."""
        hits.append(hits_of)
        self._all(runs, steps, "crash")

    def stop(self) -> None:
        """See `Contender`."""
        DBOS.destroy()


def _with_log(url: str) -> sqlalchemy.Engine:
    engine = sqlalchemy.create_engine(url, connect_args={"timeout": 30})

    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=wal")
        connection.execute("PRAGMA synchronous=full")
        connection.isolation_level = "IMMEDIATE"
        connection.execute("PRAGMA foreign_keys=on")

    sqlalchemy.event.listen(engine, "connect", connected)
    return engine
