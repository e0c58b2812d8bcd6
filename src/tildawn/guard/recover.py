"""What dead processes and owners leave to be put on record: doubts, children, decisions.

What it is not: a boot step only.  Its functions are made to be called over and over by a loop of
`tildawn.runtime`; each does nothing where there is nothing to do.

Calls of runs that go on need nothing from here: their next entry through the door doubts them.
"""

from collections.abc import Awaitable, Container
from typing import Protocol

import msgspec

from tildawn.errors import BadValue
from tildawn.facts.call import CallDoubted, CallHoldExpired, CallResolved, ChildProcessGone
from tildawn.guard.request import APPLIED, CHOICES, PROBES
from tildawn.guard.visit import MOVED
from tildawn.ledger.entry import Committed, Entry
from tildawn.ledger.fold import Expect, Row
from tildawn.ledger.ledger import Ledger
from tildawn.projections.budget import HeldRow, held_since
from tildawn.projections.call import CallRow, ChildRow, may_begin_anew
from tildawn.projections.run import ENDED, RunRow
from tildawn.projections.tally import children, under_way
from tildawn.units import SECOND, Micros


HOLD = Micros(24 * 3_600 * SECOND)
"""How long money is held for an attempt without a bill. Source: the specification."""


class Killer(Protocol):
    """Ends a process group; `tildawn.providers.process.kill_group` with its clock bound is one."""

    def __call__(self, pid: int, started: str, /) -> Awaitable[bool]:
        """End the leader with that id and start time, and its group; whether all are gone.

        A process with that id and another start time is somebody else's: ours is gone.
        """
        ...


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner said, ready to append, together with the engine's own fact if it likes."""

    entries: tuple[Entry, ...]
    expect: tuple[Expect, ...]


def resolution(
    ledger: Ledger, row: CallRow, choice: str, *, out: bytes | None = None
) -> Resolution:
    """The owner's word about a call in doubt.

    Args:
        ledger: drafts.
        row: the call as the owner saw it.
        choice: one of `CHOICES`: it happened, it did not, or nobody will ever know.
        out: JSON of the answer, where the owner knows it; only with ``applied``.

    Returns:
        Facts and what must hold for them: that nobody has touched the call since.

    Raises:
        BadValue: there is no such choice, or the call is not in doubt.
    """
    if choice not in CHOICES:
        message = f"{choice!r} is no answer for a call in doubt"
        raise BadValue(message, hint=f"choose one of {', '.join(CHOICES)}")
    if out is not None and choice != APPLIED:
        message = "an answer can be given only for a call that happened"
        raise BadValue(message)
    if row.effect != "unknown" and row.state != "unknown":
        message = f"the call at {row.path} is not in doubt: it is {row.state}"
        raise BadValue(message)
    payload = ledger.payload(out) if out is not None else None
    data = CallResolved(choice=choice, out=payload.digest if payload else "")
    entry = ledger.draft(data, run=row.run, path=row.path, actor="owner", payloads=(payload,))
    return Resolution(entries=(entry,), expect=(unmoved(row),))


def unmoved(row: CallRow) -> Expect:
    """That a call is as it was when somebody looked.

    Raises:
        Nothing.
    """

    def same(now: Row | None) -> bool:
        return isinstance(now, CallRow) and now.state_at == row.state_at

    return Expect(row=CallRow, key=(row.run, row.path), test=same, why=MOVED)


async def doubt_ended(ledger: Ledger, *, spare: Container[tuple[str, str]] = ()) -> int:
    """Doubt the attempts under way of runs that have ended: nobody will come back for them.

    Their reservations are held from then on.

    Args:
        ledger: an open house.
        spare: places with a call under way in this process, `Door.inside`.

    Returns:
        How many there were.

    Raises:
        TildawnError: the house cannot be read or written.
    """
    with ledger.read() as reader:
        rows = [row for row in under_way(reader) if (row.run, row.path) not in spare]
        lost = [row for row in rows if _ended(reader.get(RunRow, row.run), row)]
    count = 0
    for row in lost:
        data = CallDoubted(attempt=row.attempt, why="run-ended")
        entry = ledger.draft(data, run=row.run, path=row.path)
        answer = await ledger.append([entry], expect=[unmoved(row)])
        count += isinstance(answer, Committed)
    return count


def _ended(run: RunRow | None, row: CallRow) -> bool:
    if run is None:
        return row.run == PROBES  # whoever sent it is gone
    return run.state in ENDED and not may_begin_anew(row, run)


async def prove_gone(
    ledger: Ledger, killer: Killer, *, spare: Container[tuple[str, str]] = ()
) -> tuple[ChildRow, ...]:
    """End the child processes that calls have left behind, and put on record that they are gone.

    The door does not send a call again while a child of it may be alive.

    Args:
        ledger: an open house.
        killer: ends a process group.
        spare: places with a call under way in this process, `Door.inside`.

    Returns:
        Those that would not go.

    Raises:
        TildawnError: the house cannot be read or written.
    """
    with ledger.read() as reader:
        left = [row for row in children(reader) if (row.run, row.path) not in spare]
    stubborn: list[ChildRow] = []
    for row in left:
        if await killer(row.pid, row.started):
            data = ChildProcessGone(pid=row.pid, attempt=row.attempt)
            await ledger.append([ledger.draft(data, run=row.run, path=row.path)])
        else:
            stubborn.append(row)
    return tuple(stubborn)


async def expire_holds(ledger: Ledger, now: Micros) -> int:
    """Book as assumed what has been held for a day: no bill comes any more.

    A bill that comes nevertheless takes the place of what was assumed.  A crash in between
    leaves the rest held, for the next turn.

    Args:
        ledger: an open house.
        now: instant of the wall clock.

    Returns:
        How many attempts there were.

    Raises:
        TildawnError: the house cannot be read or written.
    """
    with ledger.read() as reader:
        rows = held_since(reader, now - HOLD)
    count = 0
    for row in rows:
        data = CallHoldExpired(attempt=row.attempt)
        entry = ledger.draft(data, run=row.run, path=row.path)
        answer = await ledger.append([entry], expect=[_still_held(row)])
        count += isinstance(answer, Committed)
    return count


def _still_held(row: HeldRow) -> Expect:
    def same(now: Row | None) -> bool:
        return now == row

    return Expect(row=HeldRow, key=(row.run, row.path, row.attempt), test=same, why=MOVED)
