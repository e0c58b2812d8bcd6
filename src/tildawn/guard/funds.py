"""The money of one attempt: how much, in which scopes, and what must hold for it.

What it is not: the judgement; the ledger makes that in the commit of the dispatch.
"""

import msgspec

from tildawn.guard import budget
from tildawn.guard.budget import Scope
from tildawn.guard.estimate import reserve_of, unknown_price
from tildawn.guard.policy import RoutePolicy
from tildawn.guard.request import CallRequest
from tildawn.ledger.fold import Expect
from tildawn.units import Micros, MicroUsd


class Funds(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt reserves, and where."""

    amount: MicroUsd = MicroUsd(0)
    #: The most that the bill can be, 0 where that is the amount.
    worst: MicroUsd = MicroUsd(0)
    tokens: int = 0
    scopes: tuple[Scope, ...] = ()
    #: Of its permit, which has its own way of saying no.
    permits: tuple[Scope, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The scopes as a dispatch names them."""
        return tuple(scope.name for scope in (*self.scopes, *self.permits))


def funds_of(
    request: CallRequest, *, policy: RoutePolicy, now: Micros, probe: bool = False
) -> Funds | None:
    """What an attempt reserves now; None where its price is unknown and that is refused.

    Tokens count in budgets but for a model that is known to cost nothing, which no spent budget
    stops.

    Args:
        request: the call.
        policy: of its route.
        now: instant of the wall clock.
        probe: it is sent to find out whether the other side is back.

    Raises:
        BadSetting: the rule for unknown prices is none.
    """
    rule = unknown_price(policy.unknown_price)
    amount = reserve_of(request.reserve, rule, unattended=request.unattended)
    if amount is None:
        return None
    scopes = budget.scopes_of(
        request.budgets, route=request.route, policy=policy, now=now, amount=amount, probe=probe
    )
    return Funds(
        amount=amount,
        worst=request.worst if request.worst > amount else MicroUsd(0),
        tokens=0 if request.reserve == 0 else request.reserve_tokens,
        scopes=scopes,
    )


def expected(request: CallRequest, funds: Funds) -> list[Expect]:
    """What must hold so that the attempt may leave, as far as money goes.

    Raises:
        Nothing.
    """
    return [
        *budget.call_limit(request.run, request.path, amount=funds.amount, most=request.most),
        *budget.reservation(funds.scopes, funds.amount, tokens=funds.tokens),
    ]
