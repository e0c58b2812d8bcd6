"""The process that holds the pen, as other processes of its owner reach it.

What it is not: the server; that is `tildawn.faces.local`.  Here is what both ends agree on, and
the asking.
"""

import hashlib
import os
import re
import stat
from pathlib import Path

import msgspec

from tildawn.errors import Busy, HouseUnusable, Misused, TildawnError
from tildawn.runtime.operation import Refusal, error_of
from tildawn.runtime.version import BUILD


PROTOCOL = 1
"""Raised when two builds could misunderstand each other."""

SILENCE = 5.0
"""Seconds that a holder may be silent before the asker gives up. Source: DESIGN, the socket."""

PATH_MAX = 100
"""Longest path of a socket in bytes. Source: 108 on Linux and 104 on macOS, with the zero."""


class Greeting(msgspec.Struct, frozen=True, kw_only=True):
    """The first thing a holder says."""

    protocol: int
    build: str
    #: The name of the house.
    house: str
    epoch: int
    pid: int


class Absent(Exception):
    """Nobody listens."""


def socket_path(folder: Path, *, runtime: str | None = None) -> Path:
    """Where the holder of a house listens; short enough for every system.

    Args:
        folder: the house.
        runtime: the user's runtime folder; ``XDG_RUNTIME_DIR`` when absent.

    Raises:
        Nothing.
    """
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]
    base = os.environ.get("XDG_RUNTIME_DIR", "") if runtime is None else runtime
    if base and Path(base).is_dir():
        path = Path(base) / "tildawn" / name / "socket"
        if len(os.fsencode(path)) <= PATH_MAX:
            return path
    return Path(f"/tmp/tildawn-{os.getuid()}") / name / "socket"  # noqa: S108 - checked when used


def private_folder(path: Path, *, make: bool) -> bool:
    """See to it that nobody but us can put anything into the folder of a socket.

    Args:
        path: the folder of the socket; its parent is ours as well.
        make: make what is missing.

    Returns:
        Whether it is there.

    Raises:
        HouseUnusable: somebody else owns it, or may write to it.
    """
    for folder in (path.parent, path):
        if make:
            folder.mkdir(mode=0o700, exist_ok=True)
        try:
            state = folder.lstat()
        except FileNotFoundError:
            return False
        ours = stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid()
        if not ours or state.st_mode & 0o077:
            message = f"{folder} is not a folder that only you can use"
            raise HouseUnusable(message, hint=f"remove {folder}, or set XDG_RUNTIME_DIR")
    return True


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
    import httpx2  # noqa: PLC0415 - most commands never need it

    path = socket_path(folder)
    if not private_folder(path.parent, make=False):
        raise Absent
    transport = httpx2.HTTPTransport(uds=str(path))
    with httpx2.Client(
        transport=transport, base_url="http://holder", timeout=silence, trust_env=False
    ) as client:
        try:
            _agree(msgspec.json.decode(client.get("/hello").content, type=Greeting))
            answer = client.post(f"/operations/{operation}", content=body)
        except (httpx2.ConnectError, httpx2.RemoteProtocolError, httpx2.ReadError) as error:
            raise Absent from error
        except httpx2.TimeoutException as error:
            message = f"the process that holds {folder} has been silent for {silence:g} s"
            raise Busy(message, hint="try again; tildawn doctor shows who holds it") from error
    if answer.status_code == 200:  # noqa: PLR2004 - OK of HTTP
        return answer.content
    raise _refused(answer.content)


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
