"""Budgets as they are now: what each scope may spend, has spent, and has promised.

What it is not: the decision whether a call may leave; that is `tildawn.guard.budget`, judged in
the commit of the dispatch.  The folds of calls in `tildawn.projections.call` book through here.

All amounts are millionths of a US dollar.  Committed money is ``spent + reserved + held``;
without an overrun it never exceeds the cap, whatever crashes.
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
    #: Kept for attempts of which nobody knows what became: until a bill, word that nothing
    #: happened, or the end of a day.
    held: int = 0
    #: Booked: bills, and ``assumed`` for attempts whose bill nobody has seen.
    spent: int
    assumed: int
    #: Sum of what bills were above their reservations.
    overrun: int
    #: 1 since a bill was above all that it could be, until the owner sets the limit again.  Also
    #: without a cap here: that of a route is a setting, which is judged at the door.
    stopped: int
    stopped_at: int
    #: Position of the last `BudgetSet`, -1 where there is none.
    set_at: int
    #: The same for tokens, of attempts that reserve some; local models that cost nothing do not.
    cap_tokens: int | None = None
    tokens_reserved: int = 0
    tokens_held: int = 0
    tokens: int = 0

    @property
    def committed(self) -> int:
        """Money that is spent, promised or held, in millionths of a dollar."""
        return self.spent + self.reserved + self.held

    @property
    def committed_tokens(self) -> int:
        """Tokens that are used, promised or held."""
        return self.tokens + self.tokens_reserved + self.tokens_held


class HeldRow(Row, frozen=True, kw_only=True):
    """An attempt whose bill may still come: what became of it is unknown.

    One with an amount of 0 is known to have cost nothing, so a bill for it is an overrun.
    """

    run: str
    path: str
    attempt: int
    amount: int
    tokens: int
    #: The most that its bill can be, where that is above the reservation.
    worst: int
    budgets: str
    #: Its idempotency key: word about a request releases the attempts of that request.
    key: str
    #: When it ended for us, in microseconds since 1970.
    since: int
    seq: int


class AssumedRow(Row, frozen=True, kw_only=True):
    """An attempt booked at its reservation because its bill was never seen."""

    run: str
    path: str
    attempt: int
    amount: int
    #: The scopes it is booked in, joined by a line feed.
    budgets: str
    seq: int
    worst: int = 0
    #: As in `HeldRow`; empty for an attempt that was answered.
    key: str = ""
    #: Booked as used without anybody's word.
    tokens: int = 0


BUDGETS = Table(
    name="budget",
    row=BudgetRow,
    key=("scope",),
    # Money and tokens only move between these; a promise that was kept twice would go below.
    checks=(
        "reserved >= 0",
        "held >= 0",
        "spent >= 0",
        "assumed >= 0",
        "overrun >= 0",
        "tokens_reserved >= 0",
        "tokens_held >= 0",
        "tokens >= 0",
    ),
    sql=("CREATE INDEX {table}_stopped ON {table}(stopped) WHERE stopped <> 0",),
)

HELD = Table(
    name="held",
    row=HeldRow,
    key=("run", "path", "attempt"),
    sql=("CREATE INDEX {table}_since ON {table}(since) WHERE amount + tokens > 0",),
)

ASSUMED = Table(name="assumed", row=AssumedRow, key=("run", "path", "attempt"))


class Booking(msgspec.Struct, frozen=True, kw_only=True):
    """By how much the columns of each scope of a call move."""

    reserved: int = 0
    held: int = 0
    spent: int = 0
    assumed: int = 0
    overrun: int = 0
    #: The bill was above all that it could be: a price is wrong, so its scopes stop.
    stops: bool = False
    tokens_reserved: int = 0
    tokens_held: int = 0
    tokens: int = 0


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
    return book_all(seq, ((budgets, booking),), get)


def book_all(seq: Seq, bookings: Iterable[tuple[str, Booking]], get: Get) -> Iterable[Change]:
    """The rows of all scopes after several bookings of one fact, as in `book`.

    Raises:
        Nothing.
    """
    rows: dict[str, BudgetRow] = {}
    for budgets, booking in bookings:
        if not budgets or booking == _NOTHING:
            continue
        for scope in dict.fromkeys(budgets.split("\n")):
            row = rows.get(scope) or get(BudgetRow, scope) or _fresh(scope)
            rows[scope] = _moved(seq, row, booking)
    return [Put(row) for row in rows.values()]


def _moved(seq: Seq, row: BudgetRow, booking: Booking) -> BudgetRow:
    return msgspec.structs.replace(
        row,
        reserved=row.reserved + booking.reserved,
        held=row.held + booking.held,
        spent=row.spent + booking.spent,
        assumed=row.assumed + booking.assumed,
        overrun=row.overrun + booking.overrun,
        stopped=1 if booking.stops else row.stopped,
        stopped_at=seq if booking.stops else row.stopped_at,
        tokens_reserved=row.tokens_reserved + booking.tokens_reserved,
        tokens_held=row.tokens_held + booking.tokens_held,
        tokens=row.tokens + booking.tokens,
    )


def limit(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    """The fold of `BudgetSet`: a new limit; one of money also lets a stopped scope go on.

    Raises:
        Nothing.
    """
    said = cast("BudgetSet", fact.data)
    row = get(BudgetRow, said.scope) or _fresh(said.scope)
    row = msgspec.structs.replace(row, set_at=seq)
    if said.limit_micro_usd >= 0:
        row = msgspec.structs.replace(row, cap=said.limit_micro_usd, stopped=0, stopped_at=-1)
    if said.limit_tokens >= 0:
        row = msgspec.structs.replace(row, cap_tokens=said.limit_tokens)
    yield Put(row)


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


def held_since(reader: Reader, until: int) -> list[HeldRow]:
    """The attempts for which something is held and that ended for us no later than an instant.

    Raises:
        Nothing.
    """
    return reader.rows(HeldRow, "amount + tokens > 0 AND since <= ?", (until,))


def held_of(reader: Reader, run: str) -> list[HeldRow]:
    """The attempts of a run for which money or tokens are held, by path and attempt.

    Raises:
        Nothing.
    """
    return reader.rows(HeldRow, "run = ? AND amount + tokens > 0", (run,))
