"""Tries that would not end: who they are, and what they say after all.

What it is not: delivery.  A late answer changes no recorded value; it is put on record, and its
bill is booked in place of what is held.
"""

import asyncio
from collections.abc import Callable

import msgspec

from tildawn.clock import Clock
from tildawn.errors import Effect
from tildawn.guard.attempt import Ran
from tildawn.guard.commit import Committer, Patience
from tildawn.guard.fault import Seen, seen
from tildawn.guard.request import Answer
from tildawn.guard.visit import Visit
from tildawn.ledger.entry import Entry, Outcome
from tildawn.units import Micros


class Abandoned(msgspec.Struct, frozen=True, kw_only=True):
    """A try that did not end within its grace; ``since`` is an instant of the wall clock."""

    run: str
    path: str
    name: str
    attempt: int
    since: Micros


class Latecomers:
    """The abandoned tries of one event loop."""

    def __init__(self, clock: Clock, committer: Committer) -> None:
        """Take the way to the ledger."""
        self._clock = clock
        self._committer = committer
        self._alive: dict[asyncio.Task[Answer], Abandoned] = {}
        self._writing: set[asyncio.Task[None]] = set()
        self._following: set[asyncio.Task[Ran[Answer]]] = set()

    def alive(self) -> tuple[Abandoned, ...]:
        """Those that are still going on.

        Raises:
            Nothing.
        """
        return tuple(self._alive.values())

    def take(self, visit: Visit, task: asyncio.Task[Answer]) -> None:
        """Keep an abandoned try until it ends.

        Raises:
            Nothing.
        """
        request, attempt = visit.request, visit.attempt
        self._alive[task] = Abandoned(
            run=request.run, path=request.path, name=request.name, attempt=attempt,
            since=self._clock.wall(),
        )  # fmt: skip

        def ended(done: asyncio.Task[Answer]) -> None:
            del self._alive[done]
            if done.cancelled():
                return
            error = done.exception()
            if error is None:
                self._write(visit, visit.record.late(attempt, done.result()))
            elif isinstance(error, Exception):
                self._free(visit, attempt, seen(error, sent=True))

        task.add_done_callback(ended)

    def follow(self, visit: Visit, attempt: int, going: "asyncio.Task[Ran[Answer]]") -> None:
        """Keep the end of an attempt in whose place something else was served.

        Raises:
            Nothing.
        """
        self._following.add(going)

        def ended(done: "asyncio.Task[Ran[Answer]]") -> None:
            self._following.discard(done)
            if done.cancelled() or done.exception() is not None:
                return
            ran = done.result()
            if ran.answer is not None:
                self._write(visit, visit.record.late(attempt, ran.answer))
            elif ran.fault is not None:
                self._free(visit, attempt, ran.fault)

        going.add_done_callback(ended)

    def _free(self, visit: Visit, attempt: int, fault: Seen) -> None:
        """A late no: nothing happened and nothing was billed, so nothing need be held."""
        if fault.effect is Effect.NONE and not fault.cost:
            self._write(visit, visit.record.released(attempt, fault.kind))

    def put(self, entry: Entry, then: Callable[[Outcome], None]) -> None:
        """Record what nobody waits for; ``then`` is called with the outcome.

        Raises:
            Nothing.
        """
        writing = asyncio.get_running_loop().create_task(self._append(entry, then))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)

    def _write(self, visit: Visit, entry: Entry) -> None:
        writing = asyncio.get_running_loop().create_task(self._append(entry))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)

    async def record(self, visit: Visit, attempt: int, answer: Answer) -> None:
        """Put an answer on record that nobody waits for any more.

        Without the engine's fence: whoever runs now, this was paid for and did happen.

        Raises:
            TildawnError: nothing was recorded, except with `CommitInDoubt`.
        """
        await self._append(visit.record.late(attempt, answer))

    async def _append(self, entry: Entry, then: Callable[[Outcome], None] | None = None) -> None:
        await self._committer.append(
            [entry], expect=[], patience=Patience(), then=then, insist=True
        )

    async def close(self) -> None:
        """Cancel the tries that are left and finish writing.

        Raises:
            Nothing.
        """
        for task in (*self._alive, *self._following):
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)
        while self._writing:
            await asyncio.gather(*self._writing, return_exceptions=True)
