"""The public test kit: manual clock, faulty disk, crash points, planted bugs, replays."""

from importlib import import_module
from typing import TYPE_CHECKING


if TYPE_CHECKING:  # loaded on first use: a process that is started to be killed does not need it
    from tildawn.testing.replay import replay_check

__all__ = ["replay_check"]


def __getattr__(name: str) -> object:
    if name == "replay_check":
        return import_module("tildawn.testing.replay").replay_check
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
