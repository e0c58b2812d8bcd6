"""Money and tokens: what each scope may use, has used and has promised; and a new limit for one.

What it is not: the judgement of a call; the guard makes that in the commit of the dispatch.
"""

import msgspec

from tildawn.errors import Misused, UnknownName
from tildawn.facts.call import BudgetSet
from tildawn.guard.budget import PROBES, ROUTE, Scope, strained
from tildawn.ledger.reader import Reader
from tildawn.projections.budget import BudgetRow, budget_of, budgets_under
from tildawn.projections.night import night_called
from tildawn.projections.permit import SCOPE
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.plan.problem import nearest
from tildawn.units import usd


class BudgetInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which scopes: all that begin so."""

    scope: str = ""


class LimitInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new limit such as ``6.00``, in US dollars, or in tokens, or both.

    Without a scope it is that of the latest night.
    """

    amount: str = ""
    scope: str = ""
    reason: str = ""
    tokens: int | None = None


class BudgetLine(msgspec.Struct, frozen=True, kw_only=True):
    """One scope; amounts are millionths of a US dollar, a missing limit is null.

    ``held`` is kept for calls of which nobody knows what became; it counts as promised.
    """

    scope: str
    limit_micro_usd: int | None
    spent_micro_usd: int
    assumed_micro_usd: int
    reserved_micro_usd: int
    held_micro_usd: int
    overrun_micro_usd: int
    stopped: bool
    limit_tokens: int | None
    used_tokens: int
    reserved_tokens: int
    #: Four fifths of a limit are used: cheaper tiers are preferred.
    strained: bool


class Budgets(msgspec.Struct, frozen=True, kw_only=True):
    """Scopes by name."""

    budgets: tuple[BudgetLine, ...]


async def _budget(desk: Desk, given: BudgetInput) -> Budgets:
    with desk.house.ledger.read() as reader:
        rows = list(budgets_under(reader, _named(reader, given.scope)))
        if given.scope and not rows:
            raise _unknown(reader, given.scope)
        return Budgets(budgets=tuple(_line(row) for row in rows))


async def _limit(desk: Desk, given: LimitInput) -> Budgets:
    ledger = desk.house.ledger
    if not given.amount and given.tokens is None:
        message = "no limit is given"
        raise Misused(message, hint="tildawn budget SCOPE AMOUNT, or --tokens NUMBER")
    amount = usd(given.amount) if given.amount else -1
    tokens = -1 if given.tokens is None else given.tokens
    if tokens < -1:
        message = f"{tokens} is no number of tokens"
        raise Misused(message, hint="write a whole number from 0 upwards")
    with ledger.read() as reader:
        scope = _named(reader, given.scope)
        if not scope:
            night = night_called(reader)
            if night is None:
                message = "there was no night yet whose budget could be set"
                raise Misused(message, hint="name a scope: tildawn budget SCOPE AMOUNT")
            scope = f"night/{night.night}"
        elif scope.startswith(SCOPE):
            message = "the limits of a permit never change"
            raise Misused(message, hint="tildawn permit mint makes another one")
        elif budget_of(reader, scope) is None and not scope.startswith((ROUTE, PROBES)):
            raise _unknown(reader, scope)
    fact = BudgetSet(scope=scope, limit_micro_usd=amount, reason=given.reason, limit_tokens=tokens)
    await ledger.append([ledger.draft(fact, actor="owner")])
    desk.house.engine.wake()
    with ledger.read() as reader:
        row = budget_of(reader, scope)
    assert row is not None, "a limit that was set is there"
    return Budgets(budgets=(_line(row),))


def _named(reader: Reader, scope: str) -> str:
    """The scope that is meant: a night may be named by its number."""
    kind, _, rest = scope.partition("/")
    number, slash, more = rest.partition("/")
    night = night_called(reader, number) if kind in {"night", "item"} and number else None
    return scope if night is None else f"{kind}/{night.night}{slash}{more}"


def _unknown(reader: Reader, scope: str) -> UnknownName:
    known = [row.scope for row in budgets_under(reader, "")]
    near = nearest(scope, known)
    message = f"no budget is called {scope}" + (f"; did you mean {near}?" if near else "")
    return UnknownName(message, hint="tildawn budget")


def _stopped(row: BudgetRow) -> bool:
    """Whether nothing that costs may pass; where there is no limit, all may."""
    limited = row.cap is not None or row.scope.startswith((ROUTE, PROBES))
    return bool(row.stopped) and limited


def _line(row: BudgetRow) -> BudgetLine:
    return BudgetLine(
        scope=row.scope, limit_micro_usd=row.cap, spent_micro_usd=row.spent,
        assumed_micro_usd=row.assumed, reserved_micro_usd=row.reserved, held_micro_usd=row.held,
        overrun_micro_usd=row.overrun, stopped=_stopped(row), limit_tokens=row.cap_tokens,
        used_tokens=row.tokens, reserved_tokens=row.tokens_reserved + row.tokens_held,
        strained=strained((Scope(row.scope),), (row,)),
    )  # fmt: skip


BUDGET = Operation(
    name="budget", input=BudgetInput, output=Budgets, effect=Effect.READ,
    permission=Permission.LOOK, run=_budget,
    help="Show what each scope may spend, has spent and has promised.",
)  # fmt: skip
LIMIT = Operation(
    name="budget.set", input=LimitInput, output=Budgets, effect=Effect.WRITE,
    permission=Permission.OWN, run=_limit,
    help="Set the limit of a scope; with money, one that an overrun stopped goes on.",
)  # fmt: skip
