"""Whether there is money for an attempt: predicates that the ledger judges as it commits.

What it is not: the sums; those are in `tildawn.projections.budget`.  As the predicate is part of
the commit that makes the reservation, no two attempts can spend the same money.

Scopes nest: the call itself, its run, its item, its night; and beside them what its route may
spend on a day, and what probes of the route may spend in an hour.  An attempt needs room in all.
"""

import functools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from tildawn.errors import BudgetSpent, NotPermitted
from tildawn.guard.policy import RoutePolicy
from tildawn.guard.request import CallRequest
from tildawn.ledger.fold import Expect, Row
from tildawn.ledger.sqlite.reader import Reader
from tildawn.projections.budget import BudgetRow
from tildawn.projections.call_row import CallRow
from tildawn.units import SECOND, Micros, MicroUsd


WHY = "budget"
"""Why an append without money is refused; see `Expect.why`."""

ROUTE, PROBES = "route:", "probes:"
"""How the scopes begin whose limits are settings of a route, unless the owner sets others."""

STRAIN_PERCENT = 80
"""So much of a scope is committed when cheaper tiers are preferred. Source: the specification."""


class Scope(msgspec.Struct, frozen=True):
    """A budget of an attempt; ``cap`` holds where no `BudgetSet` of that name is on record."""

    name: str
    cap: MicroUsd | None = None


def scopes_of(
    budgets: Sequence[str],
    *,
    route: str,
    policy: RoutePolicy,
    now: Micros,
    amount: MicroUsd,
    probe: bool = False,
) -> tuple[Scope, ...]:
    """The scopes in which an attempt is judged and booked, narrowest first.

    `CallDispatched.budgets` must name them all, so that what is judged is what is booked: a day
    or an hour that ends meanwhile changes nothing.

    Args:
        budgets: of its run, narrowest first.
        route: where it goes.
        policy: with the limits of the route.
        now: instant of the wall clock.
        amount: what the attempt reserves; one that costs nothing needs no limit of its route.
        probe: it is sent to find out whether the other side is back.

    Raises:
        Nothing.
    """
    scopes = tuple(Scope(name) for name in budgets)
    if not amount:
        return scopes
    hour = _hour(now // (3_600 * SECOND))
    if probe:
        scopes = (*scopes, Scope(f"{PROBES}{route}/{hour}", policy.recovery.usd_an_hour))
    day, _, _ = hour.partition("T")
    return (*scopes, Scope(f"{ROUTE}{route}/{day}", policy.usd_a_day))


@functools.lru_cache(maxsize=4)
def _hour(hours: int) -> str:
    """The name of an hour since 1970, in UTC."""
    return f"{datetime.fromtimestamp(hours * 3_600, UTC):%Y-%m-%dT%H}"


def fits(row: Row | None, amount: int, *, cap: int | None = None, tokens: int = 0) -> bool:
    """Whether a scope can promise an amount, in millionths of a dollar, and so many tokens.

    Args:
        row: the scope as it is, None where nothing was ever booked or set.
        amount: what an attempt may cost; one that costs nothing needs no money.
        cap: the limit where the row has none.
        tokens: what an attempt may use.

    Raises:
        Nothing.
    """
    if not isinstance(row, BudgetRow):
        return not amount or cap is None or amount <= cap
    if tokens and row.cap_tokens is not None and row.committed_tokens + tokens > row.cap_tokens:
        return False
    if not amount:
        return True
    cap = row.cap if row.cap is not None else cap
    return cap is None or (not row.stopped and row.committed + amount <= cap)


def reservation(
    scopes: Iterable[Scope | str], amount: MicroUsd, *, tokens: int = 0
) -> list[Expect]:
    """What must hold so that an attempt may reserve an amount in all its scopes.

    An attempt that costs nothing needs no money, even where a scope is stopped.

    Raises:
        Nothing.
    """
    if not amount and not tokens:
        return []
    return [_room(_scope(one), amount, tokens) for one in scopes]


def _scope(one: Scope | str) -> Scope:
    return Scope(one) if isinstance(one, str) else one


def _room(scope: Scope, amount: MicroUsd, tokens: int) -> Expect:
    more = {} if scope.cap is None else {"cap": int(scope.cap)}
    if tokens:
        more["tokens"] = tokens
    test = functools.partial(fits, amount=amount, **more)
    return Expect(row=BudgetRow, key=(scope.name,), test=test, why=WHY)


def within(row: Row | None, amount: int, *, most: int) -> bool:
    """Whether a call with all its attempts stays within the most that it may cost.

    What was committed before its run went back and began it anew does not count.

    Raises:
        Nothing.
    """
    if not isinstance(row, CallRow) or row.state == "settled":
        return amount <= most
    committed = row.spend + row.held + row.reserve - row.sunk
    return max(committed, 0) + amount <= most


def call_limit(run: str, path: str, *, amount: MicroUsd, most: MicroUsd | None) -> list[Expect]:
    """What must hold so that another attempt keeps its call within a limit; None for no limit.

    The call itself is the narrowest scope; its own row says what it has cost.

    Raises:
        Nothing.
    """
    if most is None or not amount:
        return []
    test = functools.partial(within, amount=amount, most=most)
    return [Expect(row=CallRow, key=(run, path), test=test, why=WHY)]


# -- how much is left ----------------------------------------------------------------------


def strained(scopes: Iterable[Scope], rows: Iterable[BudgetRow | None]) -> bool:
    """Whether a scope of an attempt is used by four fifths, so that cheaper tiers are preferred.

    Args:
        scopes: of the attempt.
        rows: how each of them stands, in the same order; see `standing`.

    Raises:
        Nothing.
    """
    return any(
        row is not None and _strained(row, scope.cap)
        for scope, row in zip(scopes, rows, strict=True)
    )


def _strained(row: BudgetRow, cap: int | None) -> bool:
    cap = row.cap if row.cap is not None else cap
    money = cap is not None and (row.stopped or _used(row.committed, cap))
    tokens = row.cap_tokens is not None and _used(row.committed_tokens, row.cap_tokens)
    return bool(money or tokens)


def _used(committed: int, cap: int) -> bool:
    return committed * 100 >= cap * STRAIN_PERCENT


def standing(reader: Reader, scopes: Iterable[Scope]) -> tuple[BudgetRow | None, ...]:
    """How scopes stand, in their order; None where nothing was ever booked or set.

    Raises:
        Nothing.
    """
    return tuple(reader.get(BudgetRow, scope.name) for scope in scopes)


# -- saying no -----------------------------------------------------------------------------


def refusal(
    row: Row | None, amount: MicroUsd, *, scopes: Iterable[Scope] = (), tokens: int = 0
) -> BudgetSpent:
    """Why a scope said no, with what to type.

    Args:
        row: the scope, or the call, as it was when it said no; None where it was still empty.
        amount: what the attempt might have cost.
        scopes: those that were asked, for the limits that are settings.
        tokens: what the attempt might have used.

    Returns:
        The error, with scope, limit, spent and reserved as fields.

    Raises:
        Nothing.
    """
    if isinstance(row, CallRow):
        return _of_call(row, amount)
    caps = {one.name: one.cap for one in scopes if one.cap is not None}
    if not isinstance(row, BudgetRow):
        name = next((name for name, cap in caps.items() if amount > cap), "")
        what = f"the budget {name} of {_usd(caps.get(name, 0))} is empty; this call may cost"
        return _error(f"{what} {_usd(amount)}", name, limit=caps.get(name))
    cap = row.cap if row.cap is not None else caps.get(row.scope)
    return _error(
        _said(row, amount, cap, tokens), row.scope, limit=cap, spent=row.spent,
        reserved=row.reserved + row.held,
    )  # fmt: skip


def _said(row: BudgetRow, amount: int, cap: int | None, tokens: int) -> str:
    if not fits(row, 0, tokens=tokens):
        return (
            f"the budget {row.scope} of {row.cap_tokens} tokens has {row.tokens} used and"
            f" {row.tokens_reserved + row.tokens_held} promised; this call may use {tokens}"
        )
    if row.stopped:
        return f"the budget {row.scope} is stopped: a bill was {_usd(row.overrun)} above its price"
    held = f", {_usd(row.held)} held for calls without a bill" if row.held else ""
    return (
        f"the budget {row.scope} of {_usd(cap or 0)} has {_usd(row.spent)} spent{held} and"
        f" {_usd(row.reserved)} promised; this call may cost {_usd(amount)}"
    )


def _of_call(row: CallRow, amount: int) -> BudgetSpent:
    committed = row.spend + row.held + row.reserve - row.sunk
    return BudgetSpent(
        f"the attempts of {row.name} have cost up to {_usd(max(committed, 0))};"
        f" another may cost {_usd(amount)}, more than the step allows",
        hint="raise the max_cost of the step",
        scope=f"call/{row.run}/{row.path}",
        limit=None,
        spent=row.spend,
        reserved=row.reserve + row.held,
    )


def _error(
    what: str, scope: str, *, limit: int | None, spent: int = 0, reserved: int = 0
) -> BudgetSpent:
    return BudgetSpent(
        what, hint=f"tildawn budget {scope} AMOUNT sets a new limit", scope=scope, limit=limit,
        spent=spent, reserved=reserved,
    )  # fmt: skip


def _usd(amount: int) -> str:
    whole, rest = divmod(amount, 1_000_000)
    cents = f"{rest:06d}".rstrip("0")
    return f"${whole}.{cents:0<2}"


def unpriced(request: CallRequest) -> NotPermitted:
    """Why a call whose price nobody knows is refused.

    Raises:
        Nothing.
    """
    what = f" of {request.model}" if request.model else ""
    message = (
        f"the price{what} on {request.route} is unknown, and nobody is there to watch the bill"
    )
    return NotPermitted(
        message, hint="name a max_cost for the step, or the price in prices.toml", reason="price"
    )
