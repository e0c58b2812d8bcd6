"""The process that holds the pen, as other processes of its owner reach it.

What it is not: the server (`tildawn.faces.local`) or the asking (`tildawn.runtime.line`).  Here
is what both ends agree on.
"""

import hashlib
import os
import stat
from pathlib import Path

import msgspec

from tildawn.errors import HouseUnusable


PROTOCOL = 1
"""Raised when two builds could misunderstand each other."""

SILENCE = 5.0
"""Seconds that a holder may be silent before the asker gives up."""

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
    #: Whoever started it is gone, so nobody looks after it any more.
    orphan: bool = False


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
