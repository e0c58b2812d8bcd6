"""What the engine asks of its surroundings: the outside, and the context of a task.

What it is not: an implementation.  `tildawn.runtime` hands these in.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from tildawn.facts.fact import Fact
from tildawn.ids import RunId
from tildawn.ledger.entry import Entry
from tildawn.ledger.fold import Expect
from tildawn.projections.run import RunRow
from tildawn.units import Micros, Seq


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a run that may act on the world, and the fence around it."""

    run: RunId
    path: str
    attempt: int
    #: Must be part of every append made for this place.
    fence: Expect
    budgets: tuple[str, ...]
    simulated: bool
    #: Under which its calls are made, empty for the authority of the owner.
    permit: str = ""


class Ended(msgspec.Struct, frozen=True):
    """The final record was handed to ``final``."""


class Later(msgspec.Struct, frozen=True):
    """Nothing can be done before ``due``; ask again then."""

    due: Micros
    why: str
    #: Whether others of its kind would be told the same, so that none of them need begin.
    shared: bool = False


class Hold(msgspec.Struct, frozen=True):
    """The owner must decide between the choices."""

    why: str
    detail: str
    choices: tuple[str, ...]


class Stale(msgspec.Struct, frozen=True):
    """A newer attempt has taken over; whoever asked is a zombie."""


Verdict = Ended | Later | Hold | Stale

Final = Callable[[Seq, Fact, bytes | None], None]
"""Takes the final record of a call: position, fact, JSON of the answer or the error.  It is
called from inside the ledger's ``done`` callback, so that records arrive in ledger order."""

Perform = Callable[[Ticket, Final], Awaitable[Verdict]]
"""Makes one call through the guard."""


CALL_CHOICES = frozenset({"applied", "not-applied", "give-up"})
"""What an owner may say of a call in doubt; the guard says what follows."""


class Word(msgspec.Struct, frozen=True):
    """The owner's word about a call, as facts of the guard and what must hold for them."""

    entries: tuple[Entry, ...]
    expect: tuple[Expect, ...]


Settle = Callable[[RunRow, str, bytes | None], Word]
"""Makes the owner's word about the call that a run is held for: the run, one of `CALL_CHOICES`,
and JSON of the answer where the owner knows it.  Raises `BadValue` where the call is not in
doubt."""


class Activation(Protocol):
    """Called around every stretch of task code."""

    def __call__(self) -> AbstractContextManager[object]:
        """A context that lasts while task code runs on this thread."""
        ...
