"""Budgets as they are now: what each scope may spend, has spent, and has promised.

What it is not: the decision whether a call may leave; that is `tildawn.guard.budget`, judged in
the commit of the dispatch.  The folds of calls in `tildawn.projections.call` book through here.

All amounts are millionths of a US dollar.  Committed money is ``spent + reserved``; without an
overrun it never exceeds the cap, whatever crashes.
"""

from collections.abc import Iterable
from typing import cast

import msgspec

from tildawn.facts.call import BudgetSet
from tildawn.facts.fact import Fact
from tildawn.ledger.fold import Change, Get, Put, Row, Table
from tildawn.ledger.sqlite.reader import Reader
from tildawn.units import Seq


class BudgetRow(Row, frozen=True, kw_only=True):
    """One scope, such as ``night/…``; a scope without a cap is booked and never refused."""

    scope: str
    #: None where no limit was set.
    cap: int | None
    #: Promised to attempts that are under way.
    reserved: int
    #: Booked: bills, and ``assumed`` for attempts whose bill nobody has seen.
    spent: int
    assumed: int
    #: Sum of what bills were above their reservations.
    overrun: int
    #: 1 since a bill was above its reservation, until the owner sets the limit again.
    stopped: int
    stopped_at: int
    #: Position of the last `BudgetSet`, -1 where there is none.
    set_at: int


class AssumedRow(Row, frozen=True, kw_only=True):
    """An attempt booked at its reservation because its bill was never seen."""

    run: str
    path: str
    attempt: int
    amount: int
    #: The scopes it is booked in, joined by a line feed.
    budgets: str
    seq: int


BUDGETS = Table(
    name="budget",
    row=BudgetRow,
    key=("scope",),
    sql=("CREATE INDEX {table}_stopped ON {table}(stopped) WHERE stopped <> 0",),
)

ASSUMED = Table(name="assumed", row=AssumedRow, key=("run", "path", "attempt"))


class Booking(msgspec.Struct, frozen=True, kw_only=True):
    """By how much the columns of each scope of a call move."""

    reserved: int = 0
    spent: int = 0
    assumed: int = 0
    overrun: int = 0


def book(seq: Seq, budgets: str, booking: Booking, get: Get) -> Iterable[Change]:
    """The rows of all scopes of a call after a booking.

    Args:
        seq: position of the fact that says it.
        budgets: scopes joined by a line feed; none when empty.
        booking: the differences.
        get: reads rows.

    Returns:
        One `Put` for each scope.

    Raises:
        Nothing.
    """
    if not budgets or booking == _NOTHING:
        return
    for scope in dict.fromkeys(budgets.split("\n")):
        row = get(BudgetRow, scope) or _fresh(scope)
        stops = booking.overrun > 0 and row.cap is not None
        yield Put(
            msgspec.structs.replace(
                row,
                reserved=row.reserved + booking.reserved,
                spent=row.spent + booking.spent,
                assumed=row.assumed + booking.assumed,
                overrun=row.overrun + booking.overrun,
                stopped=1 if stops else row.stopped,
                stopped_at=seq if stops else row.stopped_at,
            )
        )


def limit(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    """The fold of `BudgetSet`: a new limit, which also lets a stopped scope go on.

    Raises:
        Nothing.
    """
    said = cast("BudgetSet", fact.data)
    row = get(BudgetRow, said.scope) or _fresh(said.scope)
    yield Put(
        msgspec.structs.replace(row, cap=said.limit_micro_usd, stopped=0, stopped_at=-1, set_at=seq)
    )


def _fresh(scope: str) -> BudgetRow:
    return BudgetRow(
        scope=scope,
        cap=None,
        reserved=0,
        spent=0,
        assumed=0,
        overrun=0,
        stopped=0,
        stopped_at=-1,
        set_at=-1,
    )


_NOTHING = Booking()


# -- questions ---------------------------------------------------------------------------


def budget_of(reader: Reader, scope: str) -> BudgetRow | None:
    """How a scope stands, or None if nothing was ever set or booked there.

    Raises:
        Nothing.
    """
    return reader.get(BudgetRow, scope)


def budgets_under(reader: Reader, prefix: str = "") -> list[BudgetRow]:
    """The scopes whose name begins so, by name.

    Raises:
        Nothing.
    """
    return reader.rows(BudgetRow, "substr(scope, 1, ?) = ?", (len(prefix), prefix))


def assumed_of(reader: Reader, run: str) -> list[AssumedRow]:
    """The attempts of a run that are booked without a bill, by path and attempt.

    Raises:
        Nothing.
    """
    return reader.rows(AssumedRow, "run = ?", (run,))
