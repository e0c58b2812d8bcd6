"""The line to the process that holds the pen: greet it, and ask it to run an operation.

What it is not: needed by who only reads; it loads an HTTP client.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import msgspec

from tildawn.errors import Busy, Misused, TildawnError
from tildawn.runtime.holder import (
    PROTOCOL,
    SILENCE,
    Absent,
    Greeting,
    private_folder,
    socket_path,
)
from tildawn.runtime.operation import Refusal, error_of
from tildawn.runtime.version import BUILD


def ask_holder(folder: Path, operation: str, body: bytes, *, silence: float = SILENCE) -> bytes:
    """Ask the holder of a house to run an operation.

    Args:
        folder: the house.
        operation: its name in the table.
        body: its input as JSON.
        silence: seconds to wait for an answer.

    Returns:
        Its output as JSON.

    Raises:
        Absent: nobody listens.
        Busy: the holder is silent.
        Misused: the other side is another build.
        TildawnError: what the holder refused with.
    """
    with _line(folder, silence) as line:
        _agree(_greeted(line))
        answer = line.post(f"/operations/{operation}", content=body)
    if answer.status_code == 200:  # noqa: PLR2004 - OK of HTTP
        return answer.content
    raise _refused(answer.content)


def greeting_of(folder: Path, *, silence: float = SILENCE) -> Greeting:
    """What the holder of a house says of itself.

    Raises:
        Absent: nobody listens.
        Busy: the holder is silent.
        TildawnError: what listens there is no holder.
    """
    with _line(folder, silence) as line:
        return _greeted(line)


@contextmanager
def _line(folder: Path, silence: float) -> Generator[httpx2.Client]:
    """A line to the holder; what goes wrong on it is said in our words."""
    path = socket_path(folder)
    if not private_folder(path.parent, make=False):
        raise Absent
    transport = httpx2.HTTPTransport(uds=str(path))
    try:
        with httpx2.Client(
            transport=transport, base_url="http://holder", timeout=silence, trust_env=False
        ) as client:
            yield client
    except httpx2.TimeoutException as error:
        message = f"the process that holds {folder} has been silent for {silence:g} s"
        raise Busy(message, hint="try again; tildawn doctor shows who holds it") from error
    except httpx2.TransportError as error:
        raise Absent from error


def _greeted(line: httpx2.Client) -> Greeting:
    try:
        return msgspec.json.decode(line.get("/hello").content, type=Greeting)
    except msgspec.DecodeError as error:
        message = "what listens on the socket of the house is no Tildawn"
        raise TildawnError(message) from error


def _refused(body: bytes) -> TildawnError:
    try:
        return error_of(msgspec.json.decode(body, type=Refusal))
    except msgspec.DecodeError:
        return TildawnError("the holder of the house answered with something else than an answer")


def _agree(greeting: Greeting) -> None:
    if greeting.protocol == PROTOCOL and greeting.build == BUILD:
        return
    message = f"process {greeting.pid} holds the house with build {greeting.build}; this is {BUILD}"
    if (greeting.protocol, _order(greeting.build)) > (PROTOCOL, _order(BUILD)):
        raise Misused(message, hint="this side is older: pip install --upgrade tildawn")
    raise Misused(message, hint=f"that side is older: end process {greeting.pid}, then tildawn up")


def _order(build: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", build)]
