"""What can be asked of a house, declared once as data; every face is made from the table.

What it is not: the table; `tildawn.faces.catalog` joins it.  Nor a face: nothing here knows a
terminal, a socket or a browser.
"""

from collections.abc import Awaitable, Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from tildawn.clock import Clock
from tildawn.errors import BadValue, HouseUnusable, TildawnError
from tildawn.runtime.config import Config
from tildawn.runtime.house import House


I = TypeVar("I", bound=msgspec.Struct)  # noqa: E741 - input
O = TypeVar("O", bound=msgspec.Struct)  # noqa: E741 - output


class Effect(StrEnum):
    """What an operation does to a house."""

    #: Needs no house.
    NONE = "none"
    READ = "read"
    #: Appends facts, so it happens where the pen is.
    WRITE = "write"


class Permission(StrEnum):
    """What whoever asks must be allowed."""

    LOOK = "look"
    WORK = "work"
    SETTLE = "settle"
    OWN = "own"


class Desk:
    """What an operation may use: the settings, and the house where it needs one."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        *,
        folder: Path | None = None,
        house: House | None = None,
        leave: Callable[[], None] | None = None,
    ) -> None:
        """Lay out what there is.

        Args:
            config: the settings with their sources.
            clock: the machine's.
            folder: where the house is or would be.
            house: open; None for operations that need none.
            leave: makes the holder of the pen park and go; None in any other process.
        """
        self.config = config
        self.clock = clock
        self.folder = folder
        self.leave = leave
        self._house = house

    @property
    def house(self) -> House:
        """The open house.

        Raises:
            HouseUnusable: there is none.
        """
        if self._house is None:
            message = "there is no house here"
            raise HouseUnusable(message, hint="tildawn init")
        return self._house


class Operation(msgspec.Struct, Generic[I, O], frozen=True, kw_only=True):
    """One row of the table."""

    name: str
    input: type[I]
    output: type[O]
    effect: Effect
    permission: Permission
    #: One line, as every face shows it.
    help: str
    run: Callable[[Desk, I], Awaitable[O]]


AnyOperation = Operation[Any, Any]


async def perform(operation: AnyOperation, desk: Desk, body: bytes) -> bytes:
    """Run an operation on JSON, as faces that speak JSON do.

    Args:
        operation: which one.
        desk: what it may use.
        body: its input; an empty body is an empty object.

    Returns:
        Its output as JSON.

    Raises:
        BadValue: the input is not what the operation takes.
        TildawnError: as the operation does.
    """
    try:
        given = msgspec.json.decode(body or b"{}", type=operation.input)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"{operation.name}: {error}"
        raise BadValue(message) from error
    return msgspec.json.encode(await operation.run(desk, given))


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it travels between processes, and as ``--json`` shows it."""

    code: str
    message: str
    hint: str = ""
    effect: str = "none"
    retry_at: int | None = None
    exit_code: int = 1


def refusal_of(error: TildawnError) -> Refusal:
    """What a face says of an error.

    Raises:
        Nothing.
    """
    return Refusal(
        code=error.code, message=error.message, hint=error.hint or "", effect=error.effect.value,
        retry_at=error.retry_at, exit_code=error.exit_code,
    )  # fmt: skip


def error_of(refusal: Refusal) -> TildawnError:
    """The error that another process refused with.

    Raises:
        Nothing.
    """
    kinds = {kind.code: kind for kind in _tree(TildawnError)}
    kind = kinds.get(refusal.code, TildawnError)
    return kind(refusal.message, hint=refusal.hint or None, retry_at=refusal.retry_at)


def _tree(kind: type[TildawnError]) -> Iterator[type[TildawnError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)
