"""The engine: starts runs, drives them, parks them, ends them.

What it is not: a store.  Every state it acts on is a projection; what it holds in memory can
be thrown away at any moment.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, cast

import msgspec

from tildawn.clock import Clock
from tildawn.engine.activity import Activity
from tildawn.engine.asking import Asking
from tildawn.engine.drift import Drift
from tildawn.engine.driver import Command, Driver, Frame
from tildawn.engine.ending import (
    ERASED_CHOICES,
    IGNORED_CHOICES,
    TWICE_CHOICES,
    UNKNOWN_CHOICES,
    Endings,
)
from tildawn.engine.history import Record
from tildawn.engine.parking import Parking
from tildawn.engine.poison import POISON_CHOICES, WHY, poisoned
from tildawn.engine.port import Activation, Hold
from tildawn.engine.pressure import Pressure
from tildawn.engine.queue import Limits, Occupied, backlog, claimable, next_due, queues
from tildawn.engine.recover import Suspects, recover, strays
from tildawn.engine.resident import Resident
from tildawn.engine.starting import Attempt, Starting, read_attempt
from tildawn.engine.stubborn import Stubborn
from tildawn.engine.task import TaskDef, Tasks
from tildawn.engine.timer import Timers
from tildawn.engine.watchdog import Host, Kept, Watchdog
from tildawn.engine.work import Means, Work, going, record_from, unmoved
from tildawn.errors import BadValue, CommitInDoubt, PayloadErased, StaleWriter, TildawnError
from tildawn.facts.house import LoopBlocked
from tildawn.facts.run import RunInterrupted, RunStarted
from tildawn.ledger.entry import Committed, Entry, Outcome, Unmet
from tildawn.ledger.fold import Expect
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.reader import Reader
from tildawn.projections.run import RunRow
from tildawn.projections.step import StepRow
from tildawn.units import SECOND, Micros, Seq


LOOK_FOR_STRAYS = Micros(10 * SECOND)
"""How often to look for runs that are going on and that nobody drives."""

MakeContext = Callable[[Asking], object]
"""Makes the context that a task's function gets."""


class Threads(msgspec.Struct, frozen=True, kw_only=True):
    """Where code of the author runs, and what is around it there."""

    #: Entered around every stretch of task code on the thread of the loop.
    activation: Activation = nullcontext
    #: For steps that are plain functions; eight threads when absent.
    pool: Executor | None = None
    #: Looks at the loop from outside; nobody does when absent.
    watchdog: Watchdog | None = None


class Engine:
    """Runs what is accepted; one engine a house, in the process that holds its pen."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        tasks: Tasks,
        clock: Clock,
        context: MakeContext,
        limits: Limits | None = None,
        threads: Threads | None = None,
    ) -> None:
        """Make an engine that does nothing before `start`.

        Args:
            ledger: open for writing.
            tasks: what can run; may grow while running.
            clock: wall time for due times.
            context: makes the context of a task.
            limits: how much to do at once.
            threads: where task code and steps run.
        """
        self.ledger = ledger
        self.tasks = tasks
        self.limits = limits or Limits()
        self.clock = clock
        self.endings = Endings(ledger)
        self.residents: dict[str, Resident] = {}
        #: Called with (run, state, position) whenever a run comes to rest: ended, held, retried.
        self.on_rest: list[Callable[[str, str, Seq], None]] = []
        #: Called at every look at the clock.
        self.on_tick: list[Callable[[], None]] = []
        self._context = context
        threads = threads or Threads()
        self._watchdog = threads.watchdog
        activity = Activity() if threads.watchdog is None else threads.watchdog.activity
        self._frame = Frame(threads.activation, activity)
        self._pool = threads.pool or ThreadPoolExecutor(8, thread_name_prefix="tildawn-step")
        self._occupied = Occupied(self.limits)
        self._starting: dict[str, RunRow] = {}
        self._starts: dict[str, list[Record]] = {}
        self._begun = Starting(ledger, clock, self._read_and_begin)
        self._suspects = Suspects()
        self._timers = Timers(clock, self._ticked)
        self.pressure = Pressure(self._timers, self.wake)
        self._parking = Parking(
            ledger, self._timers, limits=self.limits, residents=self.residents, left=self._parked
        )
        self._stubborn = Stubborn(self._timers, self._hold_stubborn)
        self._means: Means | None = None
        self._loops: list[asyncio.Task[None]] = []
        self._dispatching = False
        self._wakeup: Callable[[], None] | None = None
        self._stopping = False
        self._waiting = 0
        self._look_at = Micros(0)
        #: Why nothing new may begin now, or an empty text; asked at each look for runs.
        self.stopped: Callable[[], str] = str

    # -- life ----------------------------------------------------------------------------

    async def start(self) -> None:
        """Recover what the last holder left, then begin to work.

        Raises:
            StaleWriter: another process took the pen.
        """
        host = asyncio.get_running_loop()
        self._means = Means(self.ledger, self.clock, self._timers, host, self._pool)
        self._suspects = await recover(self.ledger, self.endings)
        self.on_tick.append(Drift(self.ledger, self.clock).tick)
        self._loops = [host.create_task(self._timers.serve())]
        if self._watchdog is not None:
            self._watchdog.start(Host(host.call_soon_threadsafe, self._kept_loop))
        self.wake()

    async def stop(self) -> None:
        """Leave in order: every resident run goes back to the queue, nothing is lost."""
        rows = [resident.row for resident in self.residents.values()]
        rows += self._starting.values()
        self._forget()
        for row in rows:
            fence = going(row.run)
            await self.ledger.append(
                [self.ledger.draft(RunInterrupted(), run=row.run)], expect=[fence]
            )
        await asyncio.gather(*self._loops, return_exceptions=True)

    def abandon(self) -> None:
        """Forget everything in memory at once, as a crash would; nothing is appended.

        For a holder whose pen was taken: from here on only the next holder may write.
        """
        self._forget()

    def _forget(self) -> None:
        self._stopping = True
        self._begun.clear()
        if self._watchdog is not None:
            self._watchdog.stop()
        for loop in self._loops:
            loop.cancel()
        for resident in list(self.residents.values()):
            resident.driver.leave()
            resident.work.stop()
        self.residents.clear()
        if isinstance(self._pool, ThreadPoolExecutor):
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _kept_loop(self, kept: Kept) -> None:
        """Task code kept the loop, and has let go of it: put that on record, without haste."""
        stack = self.ledger.payload(msgspec.json.encode(kept.stack[-8_000:]), clean=True)
        said = LoopBlocked(blocked_ms=kept.blocked_ms, stack=stack.digest)
        entry = self.ledger.draft(said, run=kept.run, payloads=(stack,))
        self.ledger.submit([entry], relaxed=True)

    # -- dispatching ---------------------------------------------------------------------

    def wake(self) -> None:
        """Look for runs that may start, soon."""
        if not self._dispatching and not self._stopping and self._means is not None:
            self._dispatching = True
            self._means.host.call_soon(self._dispatch)

    def _ticked(self) -> None:
        now = self.clock.mono()
        if now >= self._look_at:
            self._look_at = Micros(now + LOOK_FOR_STRAYS)
            self._collect_strays()
        for tick in self.on_tick:
            tick()

    def _acquit(self, run: str) -> None:
        """A suspect that waits, ended or got on has killed nobody: the next one may start."""
        if self._suspects.acquit(run):
            self.wake()

    def _collect_strays(self) -> None:
        """Recovery that never ends: what nobody drives goes back to the queue."""
        for resident in list(self.residents.values()):
            if resident.driver.arrivals:
                self._acquit(resident.row.run)
        with self.ledger.read() as reader:
            self._waiting = backlog(reader, at_most=self.limits.backlog)
            rows = strays(reader, self.residents.keys() | self._starting.keys())
        for row in rows:
            expect = unmoved(row)
            entry = self.ledger.draft(RunInterrupted(), run=row.run)
            self.ledger.submit([entry], expect=[expect], done=lambda _outcome: self.wake())

    def _dispatch(self) -> None:
        self._dispatching = False
        if self._stopping or self.stopped():
            return
        free = self.limits.resident - len(self.residents) - len(self._starting)
        with self.ledger.read() as reader:
            if free <= 0:
                if any(self._occupied.room(name) for name in queues(reader)):
                    self._parking.make_room()
                return
            rows = claimable(
                reader,
                names=queues(reader),
                now=self.clock.wall(),
                occupied=self._occupied,
                pressure=self.pressure,
                limit=free,
            )
            due = next_due(reader)
            bad = poisoned(reader, rows)
        for row in rows:
            if row.run in bad:
                self._hold_back(row, WHY, bad[row.run], POISON_CHOICES)
            else:
                self._claim(row)
        self._wake_at(due)

    def _wake_at(self, due: Micros | None) -> None:
        if self._wakeup is not None:
            self._wakeup()
            self._wakeup = None
        if due is not None:
            self._wakeup = self._timers.add(due, self.wake)

    def _claim(self, row: RunRow) -> None:
        if row.run in self.residents or row.run in self._starting:
            self._occupied.free(row)
            return
        if not self._suspects.may_start(row.run):
            self._occupied.free(row)
            return
        task = self.tasks.get(row.task)
        if task is None:
            detail = f"no task is called {row.task}"
            self._hold_back(row, "unknown-task", detail, UNKNOWN_CHOICES)
            return
        self._starting[row.run] = row
        self._starts[row.run] = []
        fact = RunStarted(attempt=row.attempt + 1, fingerprint=task.fingerprint)
        expect = unmoved(row)
        entry = self.ledger.draft(fact, run=row.run)
        self.ledger.submit(
            [entry], expect=[expect], done=lambda outcome: self._started(row, task, outcome)
        )

    def _hold_back(self, row: RunRow, why: str, detail: str, choices: tuple[str, ...]) -> None:
        """Ask the owner about a run that does not even begin."""
        self._occupied.free(row)
        self._append_rest(row, self.endings.held(row, why, detail, choices), (unmoved(row),))

    def _started(self, row: RunRow, task: TaskDef[..., Any], outcome: Outcome) -> None:
        if not isinstance(outcome, Committed) or self._stopping:
            self._starting.pop(row.run, None)
            self._starts.pop(row.run, None)
            self._occupied.free(row)
            self.wake()
            return
        self._begun.add(row, task, cast("Means", self._means).host)

    def _read_and_begin(self, reader: Reader, row: RunRow, task: TaskDef[..., Any]) -> None:
        self._starting.pop(row.run, None)
        early = self._starts.pop(row.run, [])
        try:
            attempt = read_attempt(reader, row.run)
        except PayloadErased as error:
            self._occupied.free(row)
            held = self.endings.held(row, "payload-erased", str(error), ERASED_CHOICES)
            self._append_rest(row, held)
            return
        self._begin(attempt, task, early)

    def _begin(self, attempt: Attempt, task: TaskDef[..., Any], early: list[Record]) -> None:
        row = attempt.row
        work = Work(row, cast("Means", self._means), self)
        work.config = attempt.config
        driver = Driver(
            row.run,
            attempt.history,
            attempt=row.attempt,
            generation=row.generation,
            surroundings=self,
            frame=self._frame,
        )
        work.driver = driver
        resident = Resident(row, task, work, driver)
        self.residents[row.run] = resident
        for record in early:
            driver.arrive(record)
        context = self._context(Asking(driver, work))
        try:
            arguments = task.arguments.decode(attempt.arguments)
        except BadValue as error:
            self._leave(resident)
            self._append_rest(row, self.endings.failed(row, task, error, self.clock.wall()))
            return
        driver.begin(_main(task, context, arguments))
        self._stubborn.watch(resident)

    # -- surroundings of a driver --------------------------------------------------------

    def start_timer(self, driver: Driver, command: Command) -> None:
        """See `tildawn.engine.driver.Surroundings`."""
        resident = self.residents.get(driver.run)
        if resident is not None and resident.driver is driver:
            resident.work.start_timer(command)

    def ended(self, driver: Driver) -> None:
        """See `tildawn.engine.driver.Surroundings`."""
        resident = self.residents.get(driver.run)
        if resident is None or resident.driver is not driver:
            return
        entries = self.endings.of(driver, resident.row, resident.task, self.clock.wall())
        # What ran on beside the main branch ends with it; leaving waits for the end of this
        # activation because it drains the loop.
        cast("Means", self._means).host.call_soon(self._finish, resident, entries)

    def _finish(self, resident: Resident, entries: list[Entry]) -> None:
        self._leave(resident)
        self._append_rest(resident.row, entries, (resident.work.fence,))

    def _leave(self, resident: Resident) -> None:
        resident.driver.leave()
        resident.work.stop()
        if self.residents.get(resident.row.run) is resident:
            del self.residents[resident.row.run]
            self._occupied.free(resident.row)

    def _append_rest(
        self,
        row: RunRow,
        entries: list[Entry],
        expect: tuple[Expect, ...] = (),
    ) -> None:
        """Append what ends an attempt, then tell whoever listens."""

        def done(outcome: Outcome) -> None:
            self._acquit(row.run)
            if isinstance(outcome, Committed):
                self._hear(outcome.first, entries)
            self.wake()

        self.ledger.submit(entries, expect=expect, done=done)

    def _hear(self, first: Seq, entries: list[Entry]) -> None:
        for offset, entry in enumerate(entries):
            self.heard(Seq(first + offset), entry)

    def heard(self, seq: Seq, entry: Entry) -> None:
        """A fact about a run was committed: tell the run and whoever listens."""
        self.told(seq, entry)
        for listener in self.on_rest:
            listener(entry.fact.run, entry.fact.kind, seq)

    def evict(self, run: str) -> None:
        """Take a run out of memory; its state is on record."""
        resident = self.residents.get(run)
        if resident is not None:
            self._leave(resident)

    def backlog(self) -> int:
        """How many runs wait to start, at most: as of the last look, and all accepted since."""
        return self._waiting

    def add_waiting(self, queue: str) -> None:
        """A run was accepted: count it, and look for room."""
        self._waiting += 1
        self.wake()

    def told(self, seq: Seq, entry: Entry) -> None:
        """A fact for a run was appended by somebody else: tell the run if it is in memory."""
        record = record_from(seq, entry)
        if record is None:
            return
        run = entry.fact.run
        if run in self._starts:
            self._starts[run].append(record)
        elif run in self.residents:
            resident = self.residents[run]
            resident.waiting_until = None
            resident.driver.arrive(record)
            self._stubborn.watch(resident)
        else:
            self.wake()

    # -- waiting and parking -------------------------------------------------------------

    def idle(self, driver: Driver) -> None:
        """See `tildawn.engine.driver.Surroundings`."""
        resident = self.residents.get(driver.run)
        if resident is not None and resident.driver is driver:
            self._consider(resident)

    def waiting(self, work: Work) -> None:
        """See `tildawn.engine.work.WorkEvents`."""
        resident = self.residents.get(work.row.run)
        if resident is not None and resident.work is work and resident.patient:
            self._consider(resident)

    def _consider(self, resident: Resident) -> None:
        self._acquit(resident.row.run)
        self._parking.consider(resident)

    def _parked(self, resident: Resident, outcome: Outcome) -> None:
        self._leave(resident)
        if isinstance(outcome, Committed) and resident.driver.arrivals != resident.parking:
            # Something came in while the run was leaving; it is on record, so start it again.
            with self.ledger.read() as reader:
                row = reader.get(RunRow, resident.row.run)
            if row is not None and row.state == "waiting" and self._occupied.take(row):
                self._claim(row)
                return
        self.wake()

    def _hold_stubborn(self, resident: Resident, detail: str) -> None:
        if self.residents.get(resident.row.run) is resident and not resident.driver.over:
            entries = self.endings.held(resident.row, "cancel-ignored", detail, IGNORED_CHOICES)
            self._finish(resident, entries)

    # -- what the live side says ---------------------------------------------------------

    def fenced_off(self, work: Work, unmet: Unmet | None) -> None:
        """See `tildawn.engine.work.WorkEvents`."""
        resident = self.residents.get(work.row.run)
        if resident is None or resident.work is not work:
            return
        if unmet is not None and isinstance(unmet.row, StepRow):
            detail = f"{unmet.row.path} has a result already, at entry {unmet.row.seq}"
            entries = self.endings.held(resident.row, "recorded-twice", detail, TWICE_CHOICES)
            self._finish(resident, entries)
            return
        self._leave(resident)
        self.wake()

    def hold(self, work: Work, hold: Hold, path: str) -> None:
        """See `tildawn.engine.work.WorkEvents`."""
        resident = self.residents.get(work.row.run)
        if resident is not None and resident.work is work:
            entries = self.endings.hold(resident.row, hold, path)
            self._finish(resident, entries)

    def broken(self, work: Work, error: TildawnError) -> None:
        """See `tildawn.engine.work.WorkEvents`."""
        resident = self.residents.get(work.row.run)
        if resident is None or resident.work is not work:
            return
        if isinstance(error, StaleWriter | CommitInDoubt):
            self._leave(resident)  # The next holder of the pen goes on.
            return
        entries = self.endings.failed(resident.row, resident.task, error, self.clock.wall())
        self._finish(resident, entries)

    def accepted(self, queue: str) -> None:
        """See `tildawn.engine.work.WorkEvents`."""
        self.wake()

    def cancel_asked(self, run: str, entry: Entry, outcome: Outcome) -> None:
        """See `tildawn.engine.work.WorkEvents`."""
        if isinstance(outcome, Committed):
            self.told(outcome.first, entry)


def _main(
    task: TaskDef[..., Any], context: object, arguments: dict[str, Any]
) -> Coroutine[Any, Any, Any]:
    async def main() -> Any:
        return await task.start(context, arguments)

    return main()
