"""Attempts that are on record and whose code has not begun: read, and begun a few at a time.

What it is not: the choice of what starts; that is `tildawn.engine.queue`.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import msgspec

from tildawn.clock import Clock
from tildawn.engine.history import History, config_of
from tildawn.engine.task import TaskDef
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.reader import Reader
from tildawn.projections.run import RunRow
from tildawn.units import Micros, Seq


BEGIN_FOR = Micros(5_000)
"""How long to begin runs in one go: a restart with long histories must not stop the others."""


class Attempt(msgspec.Struct, frozen=True):
    """What an attempt begins with: its row, its history, its arguments and pinned settings."""

    row: RunRow
    history: History
    arguments: bytes
    config: bytes | None


def read_attempt(reader: Reader, run: str) -> Attempt:
    """What is on record for a run whose attempt has just been recorded.

    Raises:
        PayloadErased: a value that the replay needs is gone on purpose.
    """
    row = cast("RunRow", reader.get(RunRow, run))
    every = reader.history(run)
    history = History([one for one in every if one[0] >= row.since], reader.payload)
    arguments = reader.payload(Seq(row.args_at), 0)
    return Attempt(row, history, arguments, config_of(every, reader.payload))


Begin = Callable[[Reader, RunRow, TaskDef[..., Any]], None]
"""Begins one attempt, within a read transaction that has seen it."""


class Starting:
    """Begins attempts for a few milliseconds, then lets those that go on have the loop."""

    def __init__(self, ledger: Ledger, clock: Clock, begin: Begin) -> None:
        """Take what reads and what begins."""
        self._ledger = ledger
        self._clock = clock
        self._begin = begin
        self._waiting: deque[tuple[RunRow, TaskDef[..., Any]]] = deque()

    def add(self, row: RunRow, task: TaskDef[..., Any], host: asyncio.AbstractEventLoop) -> None:
        """Begin an attempt soon."""
        self._waiting.append((row, task))
        if len(self._waiting) == 1:
            host.call_soon(self._some, host)

    def clear(self) -> None:
        """Begin nothing more; what waits stays on record."""
        self._waiting.clear()

    def _some(self, host: asyncio.AbstractEventLoop) -> None:
        until = self._clock.mono() + BEGIN_FOR
        try:
            with self._ledger.read() as reader:
                while self._waiting:
                    self._begin(reader, *self._waiting.popleft())
                    if self._clock.mono() >= until:
                        break
        finally:
            if self._waiting:
                host.call_soon(self._some, host)
