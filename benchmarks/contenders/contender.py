"""What a contender can be asked to do, and how it is found by its name.

What it is not: a measurement; the workloads take the time around these.
"""

import importlib
import os
from pathlib import Path
from typing import Protocol


class Hits:
    """Counts executions of steps in a file outside the contender; it survives ``kill -9``.

    A line is as long as every other, so that the size of the file is the number of hits.
    """

    LINE_BYTES = 12

    def __init__(self, path: Path) -> None:
        """Open the file, to append."""
        self.path = path
        self._handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def hit(self, run: int, step: int) -> None:
        """One step is being executed."""
        os.write(self._handle, f"{run:05d}:{step:05d}\n".encode())


class Contender(Protocol):
    """One engine in one folder, in a process of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        """Choose the variant by name; nothing is opened yet."""
        ...

    def start(self) -> None:
        """Open or found the store and be ready to work."""
        ...

    def sequential(self, steps: int) -> list[float]:
        """One run of so many steps that do nothing: seconds between the ends of its steps."""
        ...

    def crowd(self, runs: int, steps: int) -> float:
        """Runs of so many steps, all at once: seconds until all of them are done."""
        ...

    def pickup(self, count: int) -> list[float]:
        """Seconds from asking for a run to its first line, one after the other; may be empty."""
        ...

    def carry_on(self, runs: int, steps: int, hits: Hits) -> None:
        """Start the same runs, or go on with them after a crash; returns when all are done."""
        ...

    def stop(self) -> None:
        """Leave in order."""
        ...


#: Where each contender lives, and how a table calls it.
MODULES = {
    "tildawn": "ours",
    "bare": "bare",
    "chained": "bare",
    "dbos": "dbos_sqlite",
    "dbos-wal": "dbos_sqlite",
    "langgraph": "langgraph_sqlite",
    "huey": "huey_sqlite",
}
TITLES = {
    "tildawn": "Tildawn",
    "bare": "bare commits",
    "chained": "bare group commit, hash-chained",
    "dbos": "DBOS, as shipped",
    "dbos-wal": "DBOS, with WAL",
    "langgraph": "LangGraph SqliteSaver",
    "huey": "huey",
    "aiobreaker": "aiobreaker",
    "circuitbreaker": "circuitbreaker",
    "purgatory": "purgatory",
    "hyx": "hyx",
    "pybreaker": "pybreaker",
    "interlock-cb": "interlock-cb",
}


def contender(name: str, folder: Path) -> Contender:
    """A contender in a folder.

    Raises:
        ImportError: it is not installed.
    """
    module = importlib.import_module(f"benchmarks.contenders.{MODULES[name]}")
    made: Contender = module.Engine(name, folder)
    return made
