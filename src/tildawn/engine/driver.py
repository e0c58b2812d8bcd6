"""One run, driven: its loop, its history, and the things it asked for and waits for.

What it is not: doing them.  A command's ``start`` does that, and only when every record of
the history has been delivered; what comes back arrives here as a record, in ledger order.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import KW_ONLY, dataclass
from typing import Any, Protocol, cast

import msgspec

from tildawn.engine.activity import Activity
from tildawn.engine.history import History, Record, args_of
from tildawn.engine.loop import HANDLES_MAX, RunLoop
from tildawn.engine.outcome import Told, error_of, value_of
from tildawn.engine.port import Activation
from tildawn.engine.scope import SCOPE, Scope
from tildawn.errors import BadValue, LoopBlocked, ReplayMismatch
from tildawn.facts.run import RunCancelAsked
from tildawn.facts.step import ChangeMarked, EventReceived, TimerFired


EVICTION_HANDLES_MAX = 10_000
"""Most callbacks that an evicted run may spend on its ``finally`` blocks."""


class Evicted(asyncio.CancelledError):
    """The run leaves memory; it will be replayed."""


@dataclass(slots=True, eq=False)
class Command:
    """Something that a branch asked for and that has no answer yet."""

    path: str
    kind: str
    scope: Scope
    _: KW_ONLY
    name: str = ""
    #: When a timer or a postponed call goes on (µs), 0 for never.
    due: int = 0
    #: Of the arguments: a recorded answer to others does not count.
    digest: str | None = None
    decode: Callable[[bytes], Any] | None = None
    start: "Callable[[Command], None] | None" = None
    stop: Callable[[], object] | None = None
    future: "asyncio.Future[Any] | None" = None
    handle: asyncio.TimerHandle | None = None
    live: bool = False


class Answer(asyncio.Future[Any]):
    """What a branch waits on; giving it up gives the question up."""

    __slots__ = ("_command", "_driver")

    def __init__(self, driver: "Driver", command: Command) -> None:
        """An answer to come, on the loop of the run."""
        super().__init__(loop=driver.loop)
        self._driver = driver
        self._command = command

    def cancel(self, msg: object = None) -> bool:
        """Give it up; False when it has come."""
        # A callback of the future would say the same, for one more turn of the loop a question.
        gave_up = super().cancel(msg)
        if gave_up:
            self._driver.give_up(self._command)
        return gave_up


WAITING = frozenset({"timer", "event", "child", "later"})
"""Kinds of commands that need nothing of this process but patience."""


class Surroundings(Protocol):
    """What a driver needs of the engine."""

    def ended(self, driver: "Driver") -> None:
        """The main branch ended, the replay disagreed, or task code blocked the loop."""
        ...

    def idle(self, driver: "Driver") -> None:
        """Every branch waits."""
        ...

    def start_timer(self, driver: "Driver", command: Command) -> None:
        """Deliver a `TimerFired` when the command is due."""
        ...


class Frame(msgspec.Struct, frozen=True):
    """What is around every stretch of task code: a shield, and who is told that it goes on."""

    activation: Activation
    activity: Activity


class Driver:
    """Drives one attempt of one run."""

    def __init__(
        self,
        run: str,
        history: History,
        *,
        attempt: int,
        generation: int,
        surroundings: Surroundings,
        frame: "Frame",
    ) -> None:
        """Make a driver; nothing runs before `begin`."""
        self.run = run
        self.attempt = attempt
        self.history = history
        self.generation = generation
        self.root = Scope(f"g{generation}" if generation else "", history.started_at)
        self.loop = RunLoop(run, self, self.root, frame.activity)
        self.open: dict[str, Command] = {}
        self.dropped: set[str] = set()
        self.mismatch: ReplayMismatch | None = None
        self.mismatch_seq = -1
        #: Set when task code kept the event loop to itself.
        self.blocked: LoopBlocked | None = None
        self.main: asyncio.Task[Any] | None = None
        self.arrivals = 0
        self.cancel_seen = False
        #: The parent gave this run up and is not told of its end.
        self.detached = False
        self.evicting = False
        self._around = surroundings
        self._activation = frame.activation
        self._events: dict[str, deque[Record]] = {}
        self._listeners: dict[str, deque[Command]] = {}
        self._timers: dict[asyncio.TimerHandle, Command] = {}
        self._backlog: deque[Record] = deque()
        self._stops: list[Callable[[], object]] = []
        #: Nothing more is told to this attempt.
        self.over = False

    # -- the life of a driver ------------------------------------------------------------

    def begin(self, main: Coroutine[Any, Any, Any]) -> None:
        """Start the main branch and replay what is on record."""
        self.main = self.loop.create_main(main)
        self._pump()
        self._absorb()

    def arrive(self, record: Record) -> None:
        """Take a record that was just committed; called in ledger order."""
        if record.seq <= self.history.last_seq:
            return  # Read as history already: it was committed before this driver was made.
        self.arrivals += 1
        if self.main is None:
            self._backlog.append(record)
        elif not self.over:
            self._tell_live(record)

    def _absorb(self) -> None:
        while self._backlog and not self.over:
            self._tell_live(self._backlog.popleft())

    def _tell_live(self, record: Record) -> None:
        if self._tell(record):
            self._pump()

    def leave(self) -> None:
        """Leave memory: cancel every branch on its own loop; what they ask for is ignored."""
        self.over = True
        self.evicting = True
        for command in list(self.open.values()):
            if command.stop is not None:
                command.stop()
        for branch in list(self.loop.tasks):
            branch.cancel()
        # A branch that swallows its eviction is left behind; its fence is gone.
        self._activate(EVICTION_HANDLES_MAX)
        self.loop.close()
        self.open.clear()

    # -- one activation ------------------------------------------------------------------

    def _pump(self) -> None:
        while True:
            self._activate(HANDLES_MAX)
            while self._stops:
                self._stops.pop()()
            if self._finished():
                return
            record = self._next_on_record()
            if self._finished():
                return
            if record is None:
                break
            self._tell(record)
        self._go_live()

    def _activate(self, limit: int) -> None:
        try:
            with self._activation():
                overran = self.loop.drain(limit)
        except LoopBlocked as error:
            self.blocked = error
            return
        if overran:
            self.blocked = LoopBlocked(hint="put long computations into ctx.step: it has threads")

    def _finished(self) -> bool:
        main = cast("asyncio.Task[Any]", self.main)
        if self.blocked is None and self.mismatch is None:
            if not main.done():
                return False
            self._check_rest()
        if not self.over:
            self.over = True
            self._around.ended(self)
        return True

    def _check_rest(self) -> None:
        """The task ended; records for places that it never asked for mean other code."""
        while (record := self.history.peek()) is not None:
            path = record.path
            if path and path not in self.open and path not in self.dropped and not _inbox(record):
                self._disagree(
                    f"the record goes on with {_say(record)}, the code has ended", record
                )
                return
            self.history.take_binding()
        self._check_sent()

    def _check_sent(self) -> None:
        """A call that was sent and has no answer must be asked for, or nobody would clear it up."""
        for path in sorted(self.history.dispatched):
            if path not in self.open and path not in self.dropped:
                self._disagree(f"{path} was sent and has no answer, the code does not ask for it")
                return

    def _next_on_record(self) -> Record | None:
        while True:
            loose = self.history.take_loose(self._asks)
            if loose is not None:
                return loose
            record = self.history.peek()
            if record is None:
                return None
            if _inbox(record) or self._asks(record):
                return self.history.take_binding()
            if record.path in self.open:
                self._disagree(f"{record.path} was asked with other arguments then", record)
                return None
            if record.path not in self.dropped:
                asked = ", ".join(sorted(self.open)) or "nothing"
                self._disagree(
                    f"the record goes on with {_say(record)}, the code asks for {asked}", record
                )
                return None
            self.history.take_binding()

    def _asks(self, record: Record) -> bool:
        """Whether the record answers a question that is open, with the same arguments."""
        command = self.open.get(record.path)
        if command is None:
            return False
        answered = args_of(record)
        return command.digest is None or answered is None or command.digest == answered

    def _go_live(self) -> None:
        self._check_sent()
        if self.mismatch is not None:
            self._finished()
            return
        self.history.dispatched.clear()
        for command in list(self.open.values()):
            if not command.live:
                command.live = True
                if command.start is not None:
                    command.start(command)
        if all(command.kind in WAITING for command in self.open.values()):
            self._around.idle(self)

    def _disagree(self, difference: str, record: Record | None = None) -> None:
        if self.mismatch is None:
            self.mismatch_seq = record.seq if record is not None else -1
            message = f"the code differs from the recorded run: {difference}"
            self.mismatch = ReplayMismatch(
                message, hint="tildawn answer RUN fork | restart | abandon"
            )

    # -- telling -------------------------------------------------------------------------

    def _tell(self, record: Record) -> bool:
        """Give a record to whoever asked; False when nobody is waiting for it any more."""
        data = record.fact.data
        if isinstance(data, RunCancelAsked):
            self.cancel_seen = True
            self.detached = self.detached or data.detached
            cast("asyncio.Task[Any]", self.main).cancel()
            return True
        if isinstance(data, EventReceived):
            return self._tell_event(data.name, record)
        command = self.open.pop(record.path, None)
        if command is None:
            return False
        self.dropped.add(record.path)
        command.scope.now = max(command.scope.now, record.fact.at)
        if isinstance(data, TimerFired):
            if command.handle is not None:
                self._timers.pop(command.handle, None)
                self.loop.fire(command.handle)
            return True
        self._resolve(command, record)
        return True

    def _tell_event(self, name: str, record: Record) -> bool:
        listeners = self._listeners.get(name)
        while listeners:
            command = listeners.popleft()
            if self.open.pop(command.path, None) is not None:
                command.scope.now = max(command.scope.now, record.fact.at)
                self._resolve(command, record)
                return True
        self._events.setdefault(name, deque()).append(record)
        return False

    def _resolve(self, command: Command, record: Record) -> None:
        future, command.future = cast("asyncio.Future[Any]", command.future), None
        if future.done():
            return
        told = Told(record=record, name=command.name, decode=command.decode)
        error = error_of(told)
        if error is None:
            try:
                value = value_of(told)
            except BadValue as bad:
                error = bad
            else:
                future.set_result(value)
                return
        future.set_exception(error)

    # -- asking (called by task code, on the run's loop) ---------------------------------

    def scope(self) -> Scope:
        """The branch that is asking."""
        return SCOPE.get(self.root)

    def ask(self, command: Command) -> "asyncio.Future[Any]":
        """Ask for something.

        Args:
            command: what, and how to start it when nothing is on record.

        Returns:
            A future of the run's loop.

        Raises:
            Evicted: the run is leaving memory.
            BadValue: this place was asked for already (two things with one key).
        """
        if self.evicting:
            raise Evicted
        path = command.path
        if path in self.open or path in self.dropped:
            message = f"{command.name} was asked for twice under one key"
            raise BadValue(message, hint="give each its own key=")
        future = command.future = Answer(self, command)
        self.open[path] = command
        return future

    def give_up(self, command: Command) -> None:
        """Drop a question that nobody waits for any more."""
        if self.open.pop(command.path, None) is not None:
            self.dropped.add(command.path)
            self._stop_later(command)

    def listen(self, name: str) -> "asyncio.Future[Any]":
        """Ask for the next event of that name; one that came before counts."""
        scope = self.scope()
        waiting = self._events.get(name)
        if waiting:
            record = waiting.popleft()
            scope.now = max(scope.now, record.fact.at)
            future = self.loop.create_future()
            future.set_result(msgspec.json.decode(record.text or b"null"))
            return future
        command = Command(scope.next(f"event.{name}"), "event", scope, name=name)
        future = self.ask(command)
        self._listeners.setdefault(name, deque()).append(command)
        return future

    def mark(self, change: str, command: Command) -> "Awaitable[int]":
        """Ask which side of a change this run is on; 0 where it went by before the change."""
        if not self.history.marked(command.path) and self.history.replaying:
            future = self.loop.create_future()
            future.set_result(0)
            return future
        return self.ask(command)

    # -- durable timers of the run's loop ------------------------------------------------

    def set_timer(self, due: int, handle: asyncio.TimerHandle) -> None:
        """Make a timer durable: it fires when a `TimerFired` for its place is delivered."""
        if self.evicting:
            return
        scope = self.scope()
        command = Command(scope.next("timer"), "timer", scope, due=due)
        command.handle = handle
        command.start = self._start_timer
        self.open[command.path] = command
        self._timers[handle] = command

    def _start_timer(self, command: Command) -> None:
        self._around.start_timer(self, command)

    def clear_timer(self, handle: asyncio.TimerHandle) -> None:
        """Forget a timer."""
        command = self._timers.pop(handle, None)
        if command is not None and self.open.pop(command.path, None) is not None:
            self.dropped.add(command.path)
            self._stop_later(command)

    def _stop_later(self, command: Command) -> None:
        """Stop live work once the run's loop has been left: stopping is the host's business."""
        if command.live and command.stop is not None:
            self._stops.append(command.stop)


def _inbox(record: Record) -> bool:
    return isinstance(record.fact.data, EventReceived | RunCancelAsked)


def _say(record: Record) -> str:
    what = "version marker" if isinstance(record.fact.data, ChangeMarked) else record.fact.kind
    return f"{record.path} ({what}, entry {record.seq})"
