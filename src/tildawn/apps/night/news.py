"""What a night says while it runs, for whoever watches it.

What it is not: the record.  Everything said here stands in the ledger as well.
"""

from collections.abc import Callable
from typing import Literal

import msgspec

from tildawn.units import Micros


class News(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened.

    ``kind`` says what; ``item`` and ``run`` are empty where it is about the whole night, and
    ``until`` is the instant that a wait ends.
    """

    kind: Literal[
        "accepted", "continued", "waiting", "opened", "expanded", "skipped", "settled", "judged",
        "stopped", "parked", "closed",
    ]  # fmt: skip
    night: str
    #: What a person calls the night; 0 where it is not told.
    number: int = 0
    #: The zone of the plan, in which its hours are told.
    zone: str = ""
    item: str = ""
    #: What a person calls the run: the key of its row.
    label: str = ""
    run: str = ""
    #: A state, a verdict, a rule or a reason.
    what: str = ""
    #: Runs that have ended, and runs that are planned.
    ended: int = 0
    planned: int = 0
    until: Micros = Micros(0)


Announce = Callable[[News], None]


def silence(_news: News) -> None:
    """Say nothing.

    Raises:
        Nothing.
    """
