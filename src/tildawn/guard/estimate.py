"""What an attempt may cost, before it is sent: so much is reserved.

What it is not: prices, or counting.  It is told how large a request is and what tokens cost, and
does arithmetic in whole millionths of a dollar.

A reservation of the worst case starves everybody: ``max_tokens`` is rarely used up.  Where enough
answers of a route are known, half again as much as nineteen in twenty of them had is reserved.
A bill above that and within the worst case is named as an overrun and stops nothing.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from tildawn.errors import BadSetting, BadValue
from tildawn.units import MicroUsd, usd


PERCENTILE, MARGIN_PERCENT = 95, 150
"""Output is taken as the 95th percentile of a route, times 1.5. Source: the specification."""

WARM = 20
"""So many answers a percentile needs; with fewer, the worst case is reserved."""


# -- unknown prices ------------------------------------------------------------------------


class UnknownPrice(msgspec.Struct, frozen=True):
    """What is done where nobody knows a price: refuse, reserve so much, or take it as free."""

    kind: Literal["deny", "assume", "free"]
    most: MicroUsd = MicroUsd(0)


DENY = UnknownPrice("deny")


@functools.lru_cache(maxsize=64)
def unknown_price(text: str) -> UnknownPrice:
    """What the setting ``unknown_price`` of a route says.

    Args:
        text: ``deny``, ``free``, or ``assume`` and an amount of US dollars above zero.

    Raises:
        BadSetting: it is none of these.
    """
    word, _, amount = text.strip().partition(" ")
    if not amount and word == "deny":
        return DENY
    if not amount and word == "free":
        return UnknownPrice("free")
    try:
        most = usd(amount.strip()) if word == "assume" else MicroUsd(0)
    except BadValue:
        most = MicroUsd(0)
    if most <= 0:
        message = f"unknown_price: {text!r} is neither deny, free, nor assume and an amount"
        raise BadSetting(message, hint='such as unknown_price = "assume 0.05"')
    return UnknownPrice("assume", most)


def reserve_of(
    reserve: MicroUsd | None, rule: UnknownPrice, *, unattended: bool
) -> MicroUsd | None:
    """What an attempt reserves; None where it must be refused.

    A negative price is an unknown one.

    Args:
        reserve: the most it can cost, None where nobody knows.
        rule: for that case.
        unattended: nobody is there to watch the bill.

    Raises:
        Nothing.
    """
    if reserve is not None and reserve >= 0:
        return reserve
    if rule.kind == "deny":
        return None if unattended else MicroUsd(0)
    return rule.most


# -- the size of an answer -----------------------------------------------------------------


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a request before it is sent, in tokens."""

    #: Counted, never too low.
    input: int
    #: The most that the answer can have, None where nothing bounds it.
    most: int | None = None
    #: What the last answers of the route had, in any order.
    outputs: Sequence[int] = ()


Cost = Callable[[int], MicroUsd | None]
"""What a request costs with so many tokens of output; None where the price is unknown."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt reserves."""

    #: None where it must be refused.
    reserve: MicroUsd | None
    #: The most that the bill can be, >= ``reserve``.
    worst: MicroUsd
    #: 0 where tokens cost nothing: no limit of tokens stops a model that is free.
    tokens: int
    #: What it rests on: ``price``, ``max_cost``, or the rule for unknown prices: ``deny``,
    #: ``assume``, ``free``.
    source: str


def likely_output(size: Size) -> int | None:
    """How many tokens of output to reserve for, or None where nothing bounds them.

    Raises:
        Nothing.
    """
    if len(size.outputs) < WARM:
        return size.most
    ranked = sorted(size.outputs)
    usual = ranked[-(-len(ranked) * PERCENTILE // 100) - 1]
    likely = -(-usual * MARGIN_PERCENT // 100)
    return likely if size.most is None else min(likely, size.most)


def estimate(
    size: Size,
    cost: Cost,
    *,
    rule: UnknownPrice = DENY,
    max_cost: MicroUsd | None = None,
    unattended: bool = True,
) -> Estimate:
    """What to reserve for an attempt.

    Args:
        size: of the request.
        cost: what it costs.
        rule: for an unknown price.
        max_cost: what the step allows one attempt, where it says so; it stands in for a price.
        unattended: nobody is there to watch the bill.

    Raises:
        Nothing.
    """
    output = likely_output(size)
    tokens = size.input + (output or 0)
    reserve = _known(cost, output)
    if reserve is not None:
        worst = max(_known(cost, size.most) or reserve, reserve)
        return Estimate(reserve=reserve, worst=worst, tokens=tokens if worst else 0, source="price")
    if max_cost is not None:
        return Estimate(reserve=max_cost, worst=max_cost, tokens=tokens, source="max_cost")
    amount = reserve_of(None, rule, unattended=unattended)
    return Estimate(reserve=amount, worst=amount or MicroUsd(0), tokens=tokens, source=rule.kind)


def _known(cost: Cost, output: int | None) -> MicroUsd | None:
    """The cost, None where it is unknown; what costs nothing needs no bound of its output."""
    if output is None:
        return MicroUsd(0) if cost(0) == 0 == cost(1) else None
    amount = cost(output)
    return amount if amount is not None and amount >= 0 else None
