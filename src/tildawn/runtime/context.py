"""What a task gets: the one place that knows both the engine and the guard.

What it is not: large.  Everything a task may do to the world or to time goes through it.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeVar, overload
from uuid import UUID

from tildawn.engine.asking import Asking, Repeat, gather, race
from tildawn.engine.outcome import Artifact
from tildawn.engine.task import StepDef, TaskDef
from tildawn.errors import Bypassed
from tildawn.runtime.outside.call import CallDef
from tildawn.runtime.outside.calls import Calls
from tildawn.runtime.outside.kind import CallOptions
from tildawn.units import Micros, duration


P = ParamSpec("P")
R = TypeVar("R")


class Context:
    """The hands and the clock of a task.

    Every method that waits is recorded: on a replay it answers what it answered then.
    """

    def __init__(
        self, asking: Asking, log: Callable[..., None], calls: Calls | None = None
    ) -> None:
        """Made by the runtime for each attempt of a run."""
        self._asking = asking
        self._log = log
        self._calls = calls

    @property
    def run(self) -> str:
        """The name of this run."""
        return self._asking.driver.run

    # -- work ----------------------------------------------------------------------------

    @overload
    async def step(
        self, what: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    async def step(self, what: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def step(self, what: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Run local work; once its result is on record it never runs again in this run.

        Args:
            what: a function, sync (it runs in a thread) or async, or `step` with options.
            *args: its arguments; with the name they are the step's identity.
            **kwargs: likewise.

        Returns:
            Its result as its declared type says, after a round trip through JSON.

        Raises:
            StepFailed: it raised; ``fields["type"]`` names the type.
            BadValue: an argument or the result cannot be recorded.
        """
        if isinstance(what, KeyedStep):
            return await self._asking.step(what.step, args, kwargs, what.key)
        return await self._asking.step(what, args, kwargs)

    async def call(self, what: "CallDef[P, R]", /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Touch the outside, through the guard.

        Args:
            what: declared with `call`, perhaps with ``.using(…)``.
            *args: its arguments; they are part of the idempotency key.
            **kwargs: likewise.

        Returns:
            The answer as its declared type says.

        Raises:
            CallFailed: no usable answer; ``fields["kind"]`` says why, ``effect`` what happened.
            BudgetSpent: the budget does not allow it.
        """
        asked = self._outside().declared(what, args, kwargs, simulated=self.simulated)
        decode = asked.prepared.decode
        return await self._asking.call(what.name, asked.request, decode, asked.perform, what.key)

    async def outside(
        self, name: str, kind: str, fields: dict[str, object], options: CallOptions | None = None
    ) -> Any:
        """Touch the outside by a registered kind: chat, image, http, shell or file.

        Args:
            name: the place in the run.
            kind: which kind.
            fields: its fields, rendered; secrets may still be sealed.
            options: limits and policy.

        Returns:
            Plain JSON, or an `Artifact` for a picture.

        Raises:
            CallFailed: see `call`.
            UnknownName: there is no such kind.
        """
        asked = self._outside().of_kind(
            name, kind, fields, options or CallOptions(), simulated=self.simulated
        )
        return await self._asking.call(name, asked.request, asked.prepared.decode, asked.perform)

    def _outside(self) -> Calls:
        if self._calls is None:
            message = "this context has no way out"
            raise Bypassed(message)
        return self._calls

    @property
    def simulated(self) -> bool:
        """Whether this run rests on simulated answers."""
        return bool(self._asking.work.row.simulated)

    async def child(self, task: "TaskDef[P, R]", /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run another task as a run of its own and wait for its result.

        Raises:
            RunFailed: it ended without a result.
        """
        return await self._asking.child(task, args, kwargs)

    async def gather(self, *branches: Awaitable[Any]) -> list[Any]:
        """Run branches together; the first error cancels the others and is raised."""
        return await gather(*branches)

    async def race(self, *branches: Awaitable[Any]) -> tuple[int, Any]:
        """Run branches together; the first to end wins, the others are cancelled.

        Returns:
            The winner's index and its result.
        """
        return await race(*branches)

    async def artifact(self, name: str, content: bytes | str, *, media: str = "") -> Artifact:
        """Keep a named result of any size; pass the artifact on instead of its bytes.

        Raises:
            BadValue: it is larger than 256 MiB.
        """
        raw = content.encode() if isinstance(content, str) else content
        return await self._asking.artifact(name, raw, media)

    # -- time and events -----------------------------------------------------------------

    async def sleep(self, wait: float | str | timedelta) -> None:
        """Wait durably: seconds, or words such as ``"8h"``; a restart does not begin it anew."""
        await asyncio.sleep(_seconds(wait))  # noqa: TID251  on the loop of the run: a durable timer

    async def event(self, name: str) -> Any:
        """Wait for the next event of that name; one that came before counts.

        Returns:
            Its value as plain JSON.
        """
        return await self._asking.event(name)

    def now(self) -> datetime:
        """The time of the last thing that this branch was told, in UTC."""
        return datetime.fromtimestamp(self._asking.now() / 1_000_000, UTC)

    def random(self) -> float:
        """A number in [0, 1), the same on every replay."""
        return self._asking.random().random()

    def uuid(self) -> UUID:
        """A UUID, the same on every replay."""
        return UUID(int=self._asking.random().getrandbits(128), version=4)

    # -- change --------------------------------------------------------------------------

    async def version(self, change: str, latest: int = 1) -> int:
        """Which side of a change of the code this run is on.

        Returns:
            0 when the run went by this place before the change, otherwise the version that was
            ``latest`` when it came here first.
        """
        return await self._asking.version(change, latest)

    def repeat(self, *args: Any, **kwargs: Any) -> None:
        """Begin this run again with new arguments and a fresh history; does not return."""
        raise Repeat(args, kwargs)

    # -- surroundings --------------------------------------------------------------------

    @property
    def config(self) -> dict[str, str | int | bool]:
        """Settings pinned when the run was accepted."""
        return json.loads(self._asking.config_text() or b"{}")

    def log(self, message: str, **fields: object) -> None:
        """Write a line to the log of the run; a replay does not write it again."""
        if not self._asking.replaying:
            self._log(message, run=self.run, **fields)


class KeyedStep:
    """A step with options; see `step`."""

    def __init__(self, declared: StepDef, key: str | None) -> None:
        """Join a step and the key of one use of it."""
        self.step = declared
        self.key = key


def step(function: Callable[..., Any], *, name: str | None = None, key: str | None = None) -> Any:
    """A step under another name, or with a key of its own.

    Args:
        function: as for `Context.step`.
        name: stable name in the ledger.
        key: a natural key, such as a row's; it makes the step's identity independent of order.

    Raises:
        BadTask: it cannot be a step.
    """
    return KeyedStep(StepDef(function, name), key)


def _seconds(wait: float | str | timedelta) -> float:
    if isinstance(wait, str):
        return Micros(duration(wait)) / 1_000_000
    if isinstance(wait, timedelta):
        return wait.total_seconds()
    return wait
