"""One call as data: what is asked of which kind, under which limits.

What it is not: a plan.  Plans and Python tasks both make these.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol

import msgspec

from tildawn.guard.request import Answer, Attempt, Local, Remote
from tildawn.providers.fault import Fault, FaultKind
from tildawn.runtime.outside.world import World
from tildawn.units import Micros, MicroUsd


class CallOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and identity of one call; None and empty mean the kind's own."""

    route: str | None = None
    repeat: Literal["safe", "keyed", "never"] = "never"
    timeout: Micros | None = None
    max_cost: MicroUsd | None = None
    model: str = ""
    #: Most tries of a fault that may be tried again.
    retry: int | None = None
    #: Other models that may answer.
    accepts: tuple[str, ...] = ()
    #: Names of local tiers that may stand in for an answer.
    tiers: tuple[str, ...] = ()
    #: Whether somebody waits in front of it.
    patience: Literal["interactive", "batch"] = "batch"
    #: Where relative paths begin; the house's own folder where it is empty.
    folder: str = ""

    def asking(self, model: str) -> "CallOptions":
        """The same limits for another model, on a route of its own, without a ladder.

        Raises:
            Nothing.
        """
        return msgspec.structs.replace(self, model=model, route=None, accepts=(), tiers=())


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is ready for the door."""

    route: str
    model: str
    #: What one attempt is expected to cost at most; None where nobody knows.
    reserve: MicroUsd | None
    reserve_tokens: int
    #: An operation and a target, without secrets.
    what: str
    perform: Callable[[Attempt], Awaitable[Answer]]
    validate: Callable[[bytes], None] | None = None
    decode: Callable[[bytes], Any] = msgspec.json.decode
    #: The most that it can cost, where that is above ``reserve``.
    worst: MicroUsd = MicroUsd(0)
    #: JSON of what is asked, by which related answers are found.
    about: bytes = b""
    #: The fallback ladder: who else may answer, and what may stand in.
    remotes: tuple[Remote, ...] = ()
    locals: tuple[Local, ...] = ()
    #: What it does, in the words of `tildawn.facts.permit`, and the address of what it does it
    #: to: empty for what has none, None where nobody can tell.
    operation: str = "call"
    resource: str | None = ""


class Prepare(Protocol):
    """Makes a call of one kind ready; pure but for reading prices."""

    def __call__(
        self, world: World, fields: dict[str, object], options: CallOptions, *, simulated: bool
    ) -> Prepared:
        """The call.

        Args:
            world: what it is made with.
            fields: rendered, with secrets still sealed.
            options: its limits.
            simulated: nothing beyond this machine may be touched.
        """
        ...


def refuse(detail: str) -> Fault:
    """The fault of a call that will not be sent.

    Raises:
        Nothing.
    """
    return Fault(FaultKind.BAD_REQUEST, detail, sent=False)


def text_of(fields: dict[str, object], name: str, default: str = "") -> str:
    """A field as text.

    Raises:
        Nothing.
    """
    value = fields.get(name)
    return default if value is None else str(value)
