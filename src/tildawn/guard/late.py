"""Tries that would not end: who they are, and what they say after all.

What it is not: delivery.  A late answer changes no recorded value; it is put on record, and its
bill is booked in place of what was assumed.
"""

import asyncio

import msgspec

from tildawn.clock import Clock
from tildawn.guard.attempt import Ran
from tildawn.guard.commit import Committer, Patience
from tildawn.guard.request import Answer
from tildawn.guard.visit import Visit
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
            if not done.cancelled() and done.exception() is None:
                self._write(visit, attempt, done.result())

        task.add_done_callback(ended)

    def follow(self, visit: Visit, attempt: int, going: "asyncio.Task[Ran[Answer]]") -> None:
        """Keep the end of an attempt in whose place something else was served.

        Raises:
            Nothing.
        """
        self._following.add(going)

        def ended(done: "asyncio.Task[Ran[Answer]]") -> None:
            self._following.discard(done)
            if not done.cancelled() and done.exception() is None:
                answer = done.result().answer
                if answer is not None:
                    self._write(visit, attempt, answer)

        going.add_done_callback(ended)

    def _write(self, visit: Visit, attempt: int, answer: Answer) -> None:
        writing = asyncio.get_running_loop().create_task(self.record(visit, attempt, answer))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)

    async def record(self, visit: Visit, attempt: int, answer: Answer) -> None:
        """Put an answer on record that nobody waits for any more.

        Without the engine's fence: whoever runs now, this was paid for and did happen.

        Raises:
            TildawnError: nothing was recorded, except with `CommitInDoubt`.
        """
        entry = visit.record.late(attempt, answer)
        await self._committer.append([entry], expect=[], patience=Patience(), insist=True)

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
