"""Bodies leave the database for the archive, some in each transaction; space is given back.

What it is not: the decision.  Whoever asks has verified the archive just before.
"""

from collections.abc import Callable

import apsw

from tildawn.errors import Busy, CommitInDoubt, StaleWriter, StoreFull, TildawnError
from tildawn.ledger.sqlite.store import Store


LEAVE_FACTS = 4_096
"""Bodies of one transaction, so that nobody waits long behind it."""

_ALLOW = "UPDATE archive SET body_to = max(body_to, ?) WHERE one = 1"

#: What a house is opened by, and what says whose signatures count: it stays, wherever it stands.
_STAY = (b'"kind":"HouseFounded"', b'"kind":"HouseRestored"', b'"kind":"SigningKey')
_LEAVE = (
    "UPDATE fact SET body = x'' WHERE seq >= ? AND seq < ? AND length(body) > 0"
    " AND instr(body, ?) = 0 AND instr(body, ?) = 0 AND instr(body, ?) = 0"
)


def bodies_leave(first: int, end: int) -> Callable[[Store], None]:
    """Work that empties the bodies from ``first`` to before ``end``; leaves and positions stay.

    A crash leaves all of them or none; repeated, it does nothing more.  Facts that name the house
    and its keys keep their bodies: a house is opened by them, and its signatures are checked.

    Args:
        first: of the facts; at most `LEAVE_FACTS` before ``end``.
        end: one behind the last.

    Returns:
        What the writer's thread does; raises a `TildawnError` when nothing was changed, and
        `CommitInDoubt` when that is not known.

    Raises:
        Nothing.
    """

    def work(store: Store) -> None:
        def change() -> None:
            store.database.execute("BEGIN IMMEDIATE").fetchall()
            [(epoch,)] = store.database.execute("SELECT epoch FROM head").fetchall()
            if epoch != store.epoch:
                message = "the pen was taken by another process"
                raise StaleWriter(message, hint="end this process; the other one carries on")
            store.database.execute(_ALLOW, (end,)).fetchall()
            store.database.execute(_LEAVE, (first, end, *_STAY)).fetchall()
            store.database.execute("COMMIT").fetchall()

        _guarded(store, change)

    return work


def give_back_space(store: Store) -> None:
    """Write the database anew without its empty space; takes as much room again meanwhile.

    A crash leaves the database as it was, or the smaller one.

    Raises:
        Busy: somebody else is in the way; nothing was changed.
        StoreFull: there is no room; nothing was changed.
        CommitInDoubt: the disk failed.
    """

    def change() -> None:
        store.database.execute("VACUUM").fetchall()
        store.checkpoint(truncate=True)

    _guarded(store, change)


def _guarded(store: Store, change: Callable[[], None]) -> None:
    try:
        change()
    except apsw.Error as error:
        _undo(store)
        raise _translated(error) from error
    except TildawnError:
        _undo(store)
        raise


def _undo(store: Store) -> None:
    if store.database.in_transaction:
        try:
            store.database.execute("ROLLBACK").fetchall()
        except apsw.Error as error:
            raise _translated(error) from error


def _translated(error: apsw.Error) -> TildawnError:
    if isinstance(error, apsw.FullError):
        return StoreFull(hint="free some space, then try again")
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        message = "another program is using the database of the house"
        return Busy(message, hint="try again in a moment")
    message = f"the disk failed while bodies left the database: {error}"
    return CommitInDoubt(message, hint="start again; the tail of the ledger is checked then")
