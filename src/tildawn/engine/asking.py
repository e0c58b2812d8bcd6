"""What task code may ask of its run: the commands behind `Context`.

What it is not: the context that users see; that is `tildawn.runtime.context`, which adds calls.
Everything here runs on the run's own loop.
"""

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, cast

from tildawn.engine.driver import Command, Driver
from tildawn.engine.outcome import Artifact
from tildawn.engine.port import Perform
from tildawn.engine.task import StepDef, TaskDef, check_name, step_of
from tildawn.errors import BadValue
from tildawn.ledger.ledger import Ledger
from tildawn.projections.run import RunRow


ARTIFACT_BYTES_MAX = 256 * 1024 * 1024
"""Largest artifact; larger ones belong in files of their own."""


class Repeat(BaseException):
    """The task asked to begin again with new arguments and a fresh history."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Keep the new arguments."""
        super().__init__()
        self.args_again = args
        self.kwargs_again = kwargs


class Doing(Protocol):
    """The other side of an attempt: does what was asked for, so that it becomes a record."""

    row: RunRow
    ledger: Ledger
    #: JSON of the settings pinned at acceptance, None where there are none.
    config: bytes | None

    def start_step(
        self,
        command: Command,
        step: StepDef,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        digest: str,
    ) -> None:
        """Run a step's function."""
        ...

    def start_call(self, command: Command, perform: Perform) -> None:
        """Make a call through the guard."""
        ...

    def start_child(self, command: Command, task: TaskDef[..., Any], text: bytes) -> None:
        """Accept a child run with these arguments."""
        ...

    def start_artifact(self, command: Command, content: bytes, media: str, digest: str) -> None:
        """Keep bytes."""
        ...

    def start_mark(self, command: Command, version: int) -> None:
        """Choose a side of a change."""
        ...


class Asking:
    """Asks a driver for things, on behalf of the branch that is running."""

    def __init__(self, driver: Driver, work: Doing) -> None:
        """Join the two sides of one attempt."""
        self.driver = driver
        self.work = work
        self._random: dict[str, random.Random] = {}

    @property
    def replaying(self) -> bool:
        """Whether the run is still being told what is on record."""
        return self.driver.history.replaying

    def config_text(self) -> bytes | None:
        """JSON of the settings pinned at acceptance, None where there are none."""
        return self.work.config

    def now(self) -> int:
        """The time of the last fact that this branch consumed (µs since 1970)."""
        return self.driver.scope().now

    def random(self) -> random.Random:
        """This branch's own source of random numbers, the same on every replay."""
        path = self.driver.scope().path
        if path not in self._random:
            seed = hashlib.sha256(f"{self.driver.run} {path}".encode()).digest()
            self._random[path] = random.Random(seed)  # noqa: S311  replayable, never a secret
        return self._random[path]

    def _path(self, name: str, key: str | None) -> str:
        scope = self.driver.scope()
        if key is None:
            return scope.next(name)
        # A key is the user's: only its keyed digest may enter a fact.
        return scope.keyed(name, self.work.ledger.keyed(key)[:22])

    def step(
        self,
        what: StepDef | Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        key: str | None = None,
    ) -> "asyncio.Future[Any]":
        """Run local work once.

        Raises:
            BadTask: the function cannot be a step.
            BadValue: an argument has no JSON form.
        """
        step = what if isinstance(what, StepDef) else step_of(what)
        digest = self.work.ledger.keyed(step.arguments.encode(args, kwargs))
        command = Command(
            self._path(step.name, key),
            "step",
            self.driver.scope(),
            name=step.name,
            digest=digest,
            decode=step.result.decode,
            start=lambda asked: self.work.start_step(asked, step, args, kwargs, digest),
        )
        return self.driver.ask(command)

    def call(
        self,
        name: str,
        request: bytes,
        decode: Callable[[bytes], Any],
        perform: Perform,
        key: str | None = None,
    ) -> "asyncio.Future[Any]":
        """Ask for a call through the guard; ``request`` is its JSON with nothing expanded."""
        command = Command(
            self._path(check_name(name, "call"), key),
            "call",
            self.driver.scope(),
            name=name,
            decode=decode,
            digest=self.work.ledger.keyed(request),
            start=lambda asked: self.work.start_call(asked, perform),
        )
        return self.driver.ask(command)

    def child(
        self,
        task: TaskDef[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        key: str | None = None,
    ) -> "asyncio.Future[Any]":
        """Run another task as a child and wait for its result."""
        text = task.arguments.encode(args, kwargs)
        command = Command(
            self._path(task.name, key),
            "child",
            self.driver.scope(),
            name=task.name,
            decode=task.result.decode,
            start=lambda asked: self.work.start_child(asked, task, text),
        )
        return self.driver.ask(command)

    def event(self, name: str) -> "asyncio.Future[Any]":
        """Wait for the next event of that name."""
        return self.driver.listen(check_name(name, "event"))

    def version(self, change: str, latest: int) -> Awaitable[int]:
        """Which side of a change this run is on: 0 before it, else the recorded version."""
        scope = self.driver.scope()
        command = Command(
            scope.keyed("version", check_name(change, "change")),
            "version",
            scope,
            name=change,
            start=lambda asked: self.work.start_mark(asked, latest),
        )
        return self.driver.mark(change, command)

    def artifact(
        self,
        name: str,
        content: bytes,
        media: str,
    ) -> "asyncio.Future[Artifact]":
        """Keep bytes under a name.

        Raises:
            BadValue: there are more than `ARTIFACT_BYTES_MAX` of them.
        """
        if len(content) > ARTIFACT_BYTES_MAX:
            message = f"artifact {name} has {len(content):,} bytes"
            raise BadValue(message, hint=f"at most {ARTIFACT_BYTES_MAX:,} are kept")
        digest = self.work.ledger.keyed(hashlib.sha256(content).digest())
        command = Command(
            self._path(check_name(name, "artifact"), None),
            "artifact",
            self.driver.scope(),
            name=name,
            digest=digest,
            start=lambda asked: self.work.start_artifact(asked, content, media, digest),
        )
        return self.driver.ask(command)


async def gather(*branches: Awaitable[Any]) -> list[Any]:
    """Run branches together; the first error cancels the others and is raised.

    Returns:
        The results in the order of the arguments.

    Raises:
        BaseException: whatever the first branch to fail raised.
    """
    tasks = [asyncio.ensure_future(branch) for branch in branches]
    try:
        return list(await asyncio.gather(*tasks))
    except GeneratorExit:
        raise  # The run was thrown away; nothing can be awaited any more.
    except BaseException:
        await _give_up(tasks)
        raise


async def race(*branches: Awaitable[Any]) -> tuple[int, Any]:
    """Run branches together; the first to end wins and the others are cancelled.

    Which one is first is decided by the order of the records, so a replay decides the same.

    Returns:
        The index of the winner and its result; its error is raised.

    Raises:
        BadValue: there is no branch.
    """
    if not branches:
        message = "a race needs at least one branch"
        raise BadValue(message)
    tasks = [asyncio.ensure_future(branch) for branch in branches]
    first: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def ended(index: int) -> None:
        if not first.done():
            first.set_result(index)

    for index, branch in enumerate(tasks):
        branch.add_done_callback(lambda _done, index=index: ended(index))
    try:
        winner = await first
    except GeneratorExit:
        raise
    except BaseException:
        await _give_up(tasks)
        raise
    await _give_up(tasks)
    return winner, tasks[winner].result()


async def _give_up(tasks: "Sequence[asyncio.Future[Any]]") -> None:
    for branch in tasks:
        branch.cancel()
    # Collect every outcome so that no branch goes on behind its parent's back.
    for branch in tasks:
        try:
            await branch
        except asyncio.CancelledError:
            current = cast("asyncio.Task[Any]", asyncio.current_task())
            if current.cancelling() and not branch.done():
                raise
        except BaseException:  # noqa: BLE001, S110  the first error is the one that counts
            pass


Main = Callable[[object, "dict[str, Any]"], Coroutine[Any, Any, Any]]
"""Calls a task's function with a context and its arguments."""
