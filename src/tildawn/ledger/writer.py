"""The writer: one thread that commits what has queued while it committed the last time.

What it is not: a decision.  What goes into the ledger is judged by the store it drives.

There is no lingering: a batch is what is there, at most `BATCH_FACTS` facts.  An idle writer
sleeps in the queue; it wakes once after the last commit to move the write-ahead log.
"""

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import TypeVar

from tildawn.errors import (
    Busy,
    CommitInDoubt,
    HouseUnusable,
    InvariantViolated,
    StaleWriter,
    TildawnError,
)
from tildawn.ledger.entry import Answer, Committed, Outcome
from tildawn.ledger.request import Request
from tildawn.ledger.sqlite.store import Store


BATCH_FACTS = 512
"""Facts of one commit. Source: measured; more only adds latency."""

QUEUE_APPENDS = 10_000
"""Appends that may wait; beyond it the caller is told to wait."""

CHECKPOINT_PAGES = 1_000
"""Pages of write-ahead log after which it is moved even when busy. Source: SQLite's default."""

SETTLE_FACTS = 16_384
"""Facts between two settled points: what opening has to check after a crash, about 50 ms."""

WAL_ALARM_BYTES = 64 * 1024 * 1024
IDLE_WAIT = 1.0
"""Seconds without work after which the write-ahead log is moved."""

FATAL_EXIT = 70
"""Exit code after a failed sync. Source: sysexits.h, EX_SOFTWARE."""

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Chore(Request):
    """Work of the writer's thread on the tables that appends nothing; it has its own transaction.

    Its outcome says that it was done, or why not.
    """

    __slots__ = ("work",)

    def __init__(self, work: Callable[[Store], None]) -> None:
        """Take what is to be done with the store."""
        super().__init__(())
        self.work = work


def end_process() -> None:
    """End this process at once: after a failed sync nothing in memory is true any more.

    Raises:
        Nothing.
    """
    os._exit(FATAL_EXIT)


class Writer:
    """Owns the thread in which the store commits.

    Outcomes are given in ledger order; those for one event loop with one wake-up a batch.
    """

    def __init__(
        self,
        store: Store,
        *,
        on_fatal: Callable[[], None] = end_process,
        on_full: Callable[[], bool] = bool,
    ) -> None:
        """Take a store that nobody else uses from now on, and start.

        Args:
            store: at rest.
            on_fatal: called after a failed sync; ends the process.
            on_full: called when the disk is full; whether it made room.
        """
        self._store = store
        self._on_fatal = on_fatal
        self._on_full = on_full
        self._queue: SimpleQueue[Request | None] = SimpleQueue()
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self._refusal: TildawnError | None = None
        self._dead: TildawnError | None = None
        self._carried: Request | None = None
        self._checkpoint_at = CHECKPOINT_PAGES
        self._alarmed = False
        #: Asked about each outcome; gives what is to be appended because of it.
        self.heard: Callable[[Request], Request | None] | None = None
        self._settled = store.tip().size
        self.tip = store.tip()
        self._thread = threading.Thread(target=self._run, name="tildawn-ledger", daemon=True)
        self._thread.start()

    @property
    def wal_bytes(self) -> int:
        """How long the write-ahead log is."""
        return self._store.wal_pages * 4_096

    def submit(self, request: Request) -> None:
        """Queue an append.

        Raises:
            Busy: the queue is full; nothing was accepted.
            HouseUnusable: the ledger was closed.
            CommitInDoubt: the disk failed before.
            StaleWriter: the pen was lost before.
        """
        if self._refusal is not None:
            raise self._refusal
        if self._queue.qsize() >= QUEUE_APPENDS:
            message = f"{QUEUE_APPENDS} appends are waiting for the disk; this one was not accepted"
            raise Busy(message, hint="try again in a moment")
        self._queue.put(request)

    def perform(self, request: Request) -> Answer:
        """Queue an append and block this thread until it is answered; never from an event loop.

        Raises:
            TildawnError: its outcome, or as `submit`.
        """
        answered = threading.Event()

        def done(_: Outcome) -> None:
            answered.set()

        request.done = done
        self.submit(request)
        answered.wait()
        outcome = request.outcome
        assert outcome is not None
        if isinstance(outcome, TildawnError):
            raise outcome
        return outcome

    async def room(self) -> None:
        """Wait until the queue has room, or has been worked on since.

        Raises:
            Nothing.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append((loop, future))
        if self._queue.qsize() < QUEUE_APPENDS // 2:
            self._wake()
        await future

    def stop(self, last: Request) -> None:
        """Commit what is queued, then ``last``, and end the thread; the log is moved.

        Raises:
            Nothing.
        """
        if self._refusal is None:
            self._refusal = HouseUnusable("the ledger is closed")
            self._queue.put(last)
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        going = True
        while going:
            batch, going = self._next()
            if batch:
                self._work(batch)
            if self._store.wal_pages >= self._checkpoint_at:
                self._checkpoint()
        self._drain()

    def _next(self) -> tuple[list[Request], bool]:
        """What is queued now, at most a batch; waits while there is nothing."""
        queue = self._queue
        request = self._carried or self._first()
        self._carried = None
        batch: list[Request] = []
        facts = 0
        while request is not None:
            facts += len(request.entries)
            if batch and (facts > BATCH_FACTS or request.inside or batch[-1].inside):
                self._carried = request
                return batch, True
            batch.append(request)
            if not queue.qsize():
                return batch, True
            request = queue.get()
        return batch, False

    def _first(self) -> Request | None:
        if not self._store.wal_pages:
            return self._queue.get()
        try:
            return self._queue.get(timeout=IDLE_WAIT)
        except Empty:
            self._checkpoint()
            # What a reader held back is tried again with the next commit, not by polling.
            return self._queue.get()

    def _work(self, batch: list[Request]) -> None:
        if self._dead is not None:
            _refuse(batch, self._dead)
        else:
            # A request without facts is nothing that a commit or a mirror could take.
            appends = [one for one in batch if not (one.scrub or isinstance(one, Chore))]
            try:
                if appends:
                    self._store.commit(appends)
                    if self._store.full and self._on_full():
                        # Nothing of it was recorded, and nobody has been told yet.
                        self._store.commit(appends)
                    self.tip = self._store.tip()
                for chore in batch:
                    if isinstance(chore, Chore):
                        self._do(chore)
                self._scrub(batch)
            except (StaleWriter, CommitInDoubt) as error:
                self._die(error)
                _refuse([one for one in batch if one.outcome is None], error)
        _deliver(batch)
        self._wake()
        self._follow(batch)
        if isinstance(self._dead, CommitInDoubt):
            self._on_fatal()

    def _scrub(self, batch: list[Request]) -> None:
        """Cut the log for who asked that no old page stays in it."""
        asked = [request for request in batch if request.scrub]
        done = not asked or self._store.scrub()
        held = Busy("a reader holds the write-ahead log back", hint="try again")
        for request in asked:
            request.outcome = Committed(self.tip.size, 0) if done else held

    def _do(self, chore: Chore) -> None:
        try:
            chore.work(self._store)
            chore.outcome = Committed(self.tip.size, 0)
        except (StaleWriter, CommitInDoubt) as error:
            chore.outcome = error
            raise
        except TildawnError as error:
            chore.outcome = error

    def _follow(self, batch: list[Request]) -> None:
        """Queue what follows from refusals; a crash before its commit leaves them unsaid."""
        if self.heard is None or self._refusal is not None:
            return
        for request in batch:
            if isinstance(request.outcome, InvariantViolated):
                follows = self.heard(request)
                if follows is not None:
                    self._queue.put(follows)

    def _die(self, error: TildawnError) -> None:
        self._dead = self._refusal = error

    def _checkpoint(self) -> None:
        """Move the write-ahead log, and note how far the ledger is safe in the database."""
        store = self._store
        if self._dead is not None:
            return
        try:
            done = store.checkpoint()
            self._checkpoint_at = CHECKPOINT_PAGES + (0 if done else store.wal_pages)
            if done and self.tip.size - self._settled >= SETTLE_FACTS:
                store.settle(self.tip)
                self._settled = self.tip.size
        except CommitInDoubt as error:
            self._die(error)
            self._on_fatal()
        self._alarm()

    def _alarm(self) -> None:
        long = self.wal_bytes > WAL_ALARM_BYTES
        if long and not self._alarmed:
            _log.warning("the write-ahead log has %d bytes: a reader holds it back", self.wal_bytes)
        self._alarmed = long

    def _drain(self) -> None:
        late = [request for request in self._queued() if request is not None]
        _refuse(late, self._refusal or HouseUnusable("the ledger is closed"))
        _deliver(late)
        self._wake()

    def _queued(self) -> Iterator[Request | None]:
        while self._queue.qsize():
            yield self._queue.get()

    def _wake(self) -> None:
        """Tell the callers who wait for room; one wake-up for each loop."""
        loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        while self._waiting:
            loop, future = self._waiting.popleft()
            loops.setdefault(loop, []).append(future)
        for loop, futures in loops.items():
            _call(loop, _set_all, futures)


def _refuse(batch: Iterable[Request], error: TildawnError) -> None:
    for request in batch:
        request.outcome = error


def _deliver(batch: list[Request]) -> None:
    """Give the outcomes, in ledger order, one wake-up for each loop."""
    loops: dict[asyncio.AbstractEventLoop | None, list[Request]] = {}
    for request in batch:
        if request.done is not None:
            loops.setdefault(request.loop, []).append(request)
    for loop, requests in loops.items():
        if loop is None:
            _answer(requests)
        else:
            _call(loop, _answer, requests)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[T], None], argument: T) -> None:
    try:
        loop.call_soon_threadsafe(function, argument)
    except RuntimeError:
        # The loop is closed; its callers are gone and their facts stay recorded.
        _log.warning("the event loop of %s was closed before its answer", function.__name__)


def _answer(requests: list[Request]) -> None:
    for request in requests:
        assert request.done is not None
        assert request.outcome is not None
        try:
            request.done(request.outcome)
        except Exception:  # noqa: BLE001 - the outermost frame of a caller's own function
            _log.exception("a callback of an append failed")


def _set_all(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
