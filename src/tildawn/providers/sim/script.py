"""What the simulator does with a request, written down before it happens.

What it is not: time or sockets.  `server` and `transport` play a script; `model` writes it.
"""

import msgspec

from tildawn.units import Micros


class Wait(msgspec.Struct, frozen=True):
    """Do nothing for a while."""

    wait: Micros


class Head(msgspec.Struct, frozen=True):
    """Send status and headers; ``length`` is the promised body, None for a stream."""

    status: int
    headers: tuple[tuple[str, str], ...]
    length: int | None


class Data(msgspec.Struct, frozen=True):
    """Send bytes of the body."""

    data: bytes


class Hang(msgspec.Struct, frozen=True):
    """Do nothing more until the other side hangs up."""


class Cut(msgspec.Struct, frozen=True):
    """Close the connection here."""


Action = Wait | Head | Data | Hang | Cut
Script = tuple[Action, ...]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request as the model sees it; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    origin: str
