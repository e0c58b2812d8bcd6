"""Money: what each scope may spend, has spent and has promised; and a new limit for one.

What it is not: the judgement of a call; the guard makes that in the commit of the dispatch.
"""

import msgspec

from tildawn.errors import Misused, UnknownName
from tildawn.facts.call import BudgetSet
from tildawn.projections.budget import BudgetRow, budget_of, budgets_under
from tildawn.projections.night import night_called
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.units import usd


class BudgetInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which scopes: all that begin so."""

    scope: str = ""


class LimitInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new limit such as ``6.00``, in US dollars; without a scope, of the latest night."""

    amount: str
    scope: str = ""
    reason: str = ""


class BudgetLine(msgspec.Struct, frozen=True, kw_only=True):
    """One scope; amounts are millionths of a US dollar, a missing limit is null."""

    scope: str
    limit_micro_usd: int | None
    spent_micro_usd: int
    assumed_micro_usd: int
    reserved_micro_usd: int
    overrun_micro_usd: int
    stopped: bool


class Budgets(msgspec.Struct, frozen=True, kw_only=True):
    """Scopes by name."""

    budgets: tuple[BudgetLine, ...]


async def _budget(desk: Desk, given: BudgetInput) -> Budgets:
    with desk.house.ledger.read() as reader:
        return Budgets(budgets=tuple(_line(row) for row in budgets_under(reader, given.scope)))


async def _limit(desk: Desk, given: LimitInput) -> Budgets:
    ledger = desk.house.ledger
    amount = usd(given.amount)
    with ledger.read() as reader:
        scope = given.scope
        if not scope:
            night = night_called(reader)
            if night is None:
                message = "there was no night yet whose budget could be set"
                raise Misused(message, hint="name a scope: tildawn budget SCOPE AMOUNT")
            scope = f"night/{night.night}"
        elif budget_of(reader, scope) is None:
            message = f"no budget is called {scope}"
            raise UnknownName(message, hint="tildawn budget")
    fact = BudgetSet(scope=scope, limit_micro_usd=amount, reason=given.reason)
    await ledger.append([ledger.draft(fact, actor="owner")])
    desk.house.engine.wake()
    with ledger.read() as reader:
        row = budget_of(reader, scope)
    assert row is not None, "a limit that was set is there"
    return Budgets(budgets=(_line(row),))


def _line(row: BudgetRow) -> BudgetLine:
    return BudgetLine(
        scope=row.scope, limit_micro_usd=row.cap, spent_micro_usd=row.spent,
        assumed_micro_usd=row.assumed, reserved_micro_usd=row.reserved,
        overrun_micro_usd=row.overrun, stopped=bool(row.stopped),
    )  # fmt: skip


BUDGET = Operation(
    name="budget", input=BudgetInput, output=Budgets, effect=Effect.READ,
    permission=Permission.LOOK, run=_budget,
    help="Show what each scope may spend, has spent and has promised.",
)  # fmt: skip
LIMIT = Operation(
    name="budget.set", input=LimitInput, output=Budgets, effect=Effect.WRITE,
    permission=Permission.OWN, run=_limit,
    help="Set the limit of a scope; a scope that an overrun stopped goes on.",
)  # fmt: skip
