"""The deterministic event loop that drives one run.

What it is not: a scheduler of work.  It has no clock, no sockets and no threads; it is drained
from callbacks of the host loop until every branch waits, and then it is left.  What happens
next depends only on what is delivered, in which order.

The shape follows the workflow loop of Temporal's Python SDK.
"""

import asyncio
import sys
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from types import CodeType, FrameType
from typing import Any, NoReturn, Protocol, cast

from tildawn.engine.activity import Activity
from tildawn.engine.scope import SCOPE, Scope
from tildawn.errors import Bypassed, LoopBlocked


HANDLES_MAX = 100_000
"""Most callbacks of one activation; more means that task code spins without waiting."""


class Timers(Protocol):
    """Where the loop's timers live: as durable timers of the run."""

    def set_timer(self, due: int, handle: asyncio.TimerHandle) -> None:
        """Run the handle when the recorded time reaches ``due`` (µs)."""
        ...

    def clear_timer(self, handle: asyncio.TimerHandle) -> None:
        """Forget the handle."""
        ...


def _codes(*functions: Callable[..., object]) -> frozenset[CodeType]:
    return frozenset(function.__code__ for function in functions)


# What asyncio.wait does its work in; private, and without it `wait` would go by unseen.
_ASYNCIO_WAIT = cast("Callable[..., object]", vars(asyncio.tasks)["_wait"])

# Functions whose order of completion depends on sets or on memory addresses.
_NO_TIMER = _codes(asyncio.wait_for)
_NO_FUTURE = _codes(asyncio.shield, asyncio.wait, _ASYNCIO_WAIT) | _NO_TIMER
_NO_TASK = _codes(asyncio.as_completed)


def _refuse(name: str) -> NoReturn:
    message = f"asyncio.{name} is not allowed in a task: its order is not recorded"
    raise Bypassed(
        message, hint="use ctx.race, asyncio.gather, asyncio.TaskGroup or asyncio.timeout"
    )


def _called_by(codes: frozenset[CodeType], depth: int) -> str | None:
    # inspect.currentframe() would have to be walked up in the same way, for more time.
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  documented
    for _ in range(depth):
        if frame is None:
            return None
        if frame.f_code in codes:
            return frame.f_code.co_name.lstrip("_")
        frame = frame.f_back
    return None


class RunLoop(asyncio.AbstractEventLoop):
    """An event loop whose only inputs are the futures that its driver resolves."""

    def __init__(
        self, run: str, timers: Timers, root: Scope, activity: Activity | None = None
    ) -> None:
        """Make an idle loop of a run, whose first branch is ``root``."""
        self._run = run
        self._activity = activity or Activity()
        self._ready: deque[asyncio.Handle] = deque()
        self._timers = timers
        self._root = root
        self._closed = False
        self.tasks: set[asyncio.Task[Any]] = set()
        self.unhandled: list[BaseException] = []

    # -- driven by the run's driver ------------------------------------------------------

    def drain(self, limit: int = HANDLES_MAX) -> bool:
        """Run callbacks until none is ready.

        Returns:
            Whether a watchdog stopped this activation because it took too long.

        Raises:
            LoopBlocked: more than ``limit`` callbacks ran in this one activation.
        """
        if not self._ready:
            return False
        outer = events._get_running_loop()  # noqa: SLF001  a loop in a loop has no public way
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=None, finalizer=self._close_generator)
        events._set_running_loop(self)  # noqa: SLF001
        try:
            # What may be stopped is inside; what must be put back is around it.
            return self._activity.during(self._run, self._turn, limit)
        finally:
            events._set_running_loop(outer)  # noqa: SLF001
            sys.set_asyncgen_hooks(*hooks)

    def _turn(self, limit: int) -> None:
        ready = self._ready
        for _ in range(limit):
            if not ready:
                return
            handle = ready.popleft()
            if handle.cancelled():
                continue
            try:
                handle._run()  # noqa: SLF001
            except (SystemExit, KeyboardInterrupt):
                # asyncio raises these through the loop too; here they end their task alone.
                continue
        message = f"the task ran {limit:,} callbacks without waiting for anything"
        raise LoopBlocked(message, hint="a loop that polls should wait: ctx.sleep or ctx.event")

    def _close_generator(self, generator: Any) -> None:
        if not self._closed:
            self.call_soon(self.create_task, generator.aclose())

    # -- what asyncio asks of a loop -----------------------------------------------------

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Queue a callback."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Refuse: nothing outside the run may reach into it."""
        message = "another thread reached into a run"
        raise Bypassed(message, hint="use ctx.step for work in threads")

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Set a durable timer, counted from the time that this branch knows."""
        now = self._scope().now
        return self._timer(now + max(round(delay * 1_000_000), 0), callback, args, context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Set a durable timer at an instant of `time`."""
        if name := _called_by(_NO_TIMER, 5):
            _refuse(name)
        return self._timer(round(when * 1_000_000), callback, args, context)

    def _timer(
        self,
        due: int,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: Context | None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(due / 1_000_000, callback, list(args), self, context)
        self._timers.set_timer(due, handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self._timers.clear_timer(handle)

    def fire(self, handle: asyncio.TimerHandle) -> None:
        """Make a timer's callback ready."""
        self._ready.append(handle)

    def time(self) -> float:
        """The time of the last fact that this branch consumed, in seconds since 1970."""
        return self._scope().now / 1_000_000

    def _scope(self) -> Scope:
        return SCOPE.get(self._root)

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        if name := _called_by(_NO_FUTURE, 1):
            _refuse(name)
        return asyncio.Future(loop=self)

    def create_task(  # pyright: ignore[reportIncompatibleMethodOverride]  generators went with 3.12
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
        **_kwargs: object,
    ) -> asyncio.Task[Any]:
        """Begin a branch: numbered now, so that its name does not depend on timing."""
        if refused := _called_by(_NO_TASK, 4):
            coro.close()
            _refuse(refused)
        parent = self._scope()
        branch = parent.branch()
        return self._begin(coro, branch, parent, name=name, context=context)

    def create_main(self, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin the run's own branch, at the root."""
        return self._begin(coro, self._root, self._root, name=None, context=None)

    def _begin(
        self,
        coro: Coroutine[Any, Any, Any],
        scope: Scope,
        parent: Scope,
        *,
        name: str | None,
        context: Context | None,
    ) -> asyncio.Task[Any]:
        context = context or copy_context()
        context.run(SCOPE.set, scope)
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        self.tasks.add(task)

        def ended(done: asyncio.Task[Any]) -> None:
            self.tasks.discard(done)
            # Who waits for a branch knows what the branch knew.
            parent.now = max(parent.now, scope.now)

        task.add_done_callback(ended)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep an error that nobody awaited; the driver decides."""
        error = context.get("exception")
        if isinstance(error, BaseException) and not self._closed:
            self.unhandled.append(error)

    default_exception_handler = call_exception_handler

    def get_debug(self) -> bool:
        """Never in debug mode: it would change the order of nothing but the cost of all."""
        return False

    def is_running(self) -> bool:
        """Whether this loop is being drained now."""
        return events._get_running_loop() is self  # noqa: SLF001

    def is_closed(self) -> bool:
        """Whether the run has left this loop."""
        return self._closed

    def close(self) -> None:
        """Leave for good; what is still queued never runs."""
        self._closed = True
        self._ready.clear()


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refused(self: RunLoop, *args: object, **kwargs: object) -> NoReturn:
        message = f"a task may not use {name} of its event loop"
        raise Bypassed(message, hint="use ctx.call for the outside and ctx.step for local work")

    return refused


for _name in (
    "run_in_executor",
    "getaddrinfo",
    "getnameinfo",
    "create_connection",
    "create_server",
    "start_tls",
    "sendfile",
    "create_unix_connection",
    "create_unix_server",
    "connect_accepted_socket",
    "create_datagram_endpoint",
    "connect_read_pipe",
    "connect_write_pipe",
    "subprocess_shell",
    "subprocess_exec",
    "add_reader",
    "remove_reader",
    "add_writer",
    "remove_writer",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendto",
    "sock_connect",
    "sock_accept",
    "sock_sendfile",
    "add_signal_handler",
    "remove_signal_handler",
    "run_forever",
    "run_until_complete",
    "stop",
):
    setattr(RunLoop, _name, _refusing(_name))
