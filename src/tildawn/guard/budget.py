"""Whether there is money for an attempt: predicates that the ledger judges as it commits.

What it is not: the sums; those are in `tildawn.projections.budget`.  As the predicate is part of
the commit that makes the reservation, no two attempts can spend the same money.

# HOLE: tokens are reserved on record only; caps are in money alone.
"""

import functools

from tildawn.errors import BudgetSpent
from tildawn.ledger.fold import Expect, Row
from tildawn.projections.budget import BudgetRow
from tildawn.units import MicroUsd


WHY = "budget"
"""Why an append without money is refused; see `Expect.why`."""


def fits(row: Row | None, amount: int) -> bool:
    """Whether a scope can promise an amount, in millionths of a dollar.

    Raises:
        Nothing.
    """
    if not isinstance(row, BudgetRow) or row.cap is None:
        return True
    return not row.stopped and row.spent + row.reserved + amount <= row.cap


def reservation(scopes: tuple[str, ...], amount: MicroUsd) -> list[Expect]:
    """What must hold so that an attempt may reserve an amount in all its scopes.

    An attempt that costs nothing needs no money, even where a scope is stopped.

    Raises:
        Nothing.
    """
    if not amount:
        return []
    test = functools.partial(fits, amount=amount)
    return [Expect(row=BudgetRow, key=(scope,), test=test, why=WHY) for scope in scopes]


def refusal(row: BudgetRow, amount: MicroUsd) -> BudgetSpent:
    """Why a scope said no, with what to type.

    Args:
        row: the scope as it was when it said no.
        amount: what the attempt might have cost.

    Returns:
        The error, with scope, limit, spent and reserved as fields.

    Raises:
        Nothing.
    """
    if row.stopped:
        what = f"the budget {row.scope} is stopped: a bill was {_usd(row.overrun)} above its price"
    else:
        what = (
            f"the budget {row.scope} of {_usd(row.cap or 0)} has {_usd(row.spent)} spent and"
            f" {_usd(row.reserved)} promised; this call may cost {_usd(amount)}"
        )
    return BudgetSpent(
        what,
        hint=f"tildawn budget {row.scope} AMOUNT sets a new limit",
        scope=row.scope,
        limit=row.cap,
        spent=row.spent,
        reserved=row.reserved,
    )


def _usd(amount: int) -> str:
    whole, rest = divmod(amount, 1_000_000)
    cents = f"{rest:06d}".rstrip("0")
    return f"${whole}.{cents:0<2}"
