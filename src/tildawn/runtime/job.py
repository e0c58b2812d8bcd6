"""What a worker is started with, as one JSON argument.

What it is not: the work.  The command line writes it, the worker reads it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec


class NightJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Run a plan, or go on with a night; one of ``plan`` and ``night`` is given."""

    plan: str = ""
    #: A night's number or name.
    night: str = ""
    at_window: bool = False
    simulate: bool = False
    edited: Literal["ask", "continue", "new"] = "ask"
    #: How many facts were on record when the command was typed, -1 where nobody counted: what was
    #: accepted or ended from there on is its own night.
    after: int = -1


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The house, settings from the command line, and a night; None works on what is enqueued."""

    house: str
    flags: Mapping[str, str] = {}
    night: NightJob | None = None


RESTARTED = "--restarted"
"""Added by the parent when the worker before this one died."""


BROKE = "--broke"
"""Added as well when that one broke with a fault of its own: look whether the file is damaged."""


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of a worker of a night: the head of its report, and where the report is."""

    kind: Literal["finished"] = "finished"
    night: str
    head: str
    html: str


def told(job: Job) -> str:
    """The argument.

    Raises:
        Nothing.
    """
    return msgspec.json.encode(job).decode()


def job_of(argument: str) -> Job:
    """The job that an argument says.

    Raises:
        msgspec.DecodeError: it says none.
    """
    return msgspec.json.decode(argument, type=Job)


def house_of(job: Job) -> Path:
    """The folder of its house.

    Raises:
        Nothing.
    """
    return Path(job.house)
