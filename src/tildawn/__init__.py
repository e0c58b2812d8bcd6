"""Tildawn runs unattended AI work: hand it the night, wake to finished work, with proof.

What it is not: code.  This file only names what is public; a name is loaded when it is used,
so that ``import tildawn`` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from tildawn.errors import Effect, TildawnError
from tildawn.units import duration, usd


__all__ = [
    "Artifact",
    "Context",
    "Effect",
    "Outside",
    "Retry",
    "TildawnError",
    "__version__",
    "call",
    "duration",
    "step",
    "task",
    "usd",
]

if TYPE_CHECKING:  # what `_LAZY` loads, for those who read types and run nothing
    from tildawn.engine.outcome import Artifact
    from tildawn.engine.task import Retry, task
    from tildawn.runtime.context import Context, step
    from tildawn.runtime.outside.call import Outside, call

#: The version of the installed distribution.
__version__: str

#: Where each name that is loaded on first use lives.
_LAZY = {
    "Artifact": "tildawn.engine.outcome",
    "Context": "tildawn.runtime.context",
    "Outside": "tildawn.runtime.outside.call",
    "Retry": "tildawn.engine.task",
    "call": "tildawn.runtime.outside.call",
    "step": "tildawn.runtime.context",
    "task": "tildawn.engine.task",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        return import_module("importlib.metadata").version("tildawn")
    home = _LAZY.get(name)
    if home is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
