"""What is reserved before anything is sent, and what is done where nobody knows a price.

What it is not: prices; see tests/providers/test_prices.py.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.errors import BadSetting
from tildawn.guard.estimate import (
    DENY,
    Estimate,
    Size,
    UnknownPrice,
    estimate,
    likely_output,
    reserve_of,
    unknown_price,
)
from tildawn.units import MicroUsd


def priced(output: int) -> MicroUsd:
    """A dollar for a million tokens of a request that has ten."""
    return MicroUsd(10 + output)


def free(_: int) -> MicroUsd:
    return MicroUsd(0)


def unknown(_: int) -> None:
    return None


def paying(output: int) -> MicroUsd:
    return MicroUsd(-1 - output)


WARM = tuple(range(1, 101))


def test_a_cold_route_reserves_the_worst_case() -> None:
    """Nineteen answers say nothing about the one in twenty that is long."""
    size = Size(input=10, most=1_000, outputs=WARM[:19])
    assert estimate(size, priced) == Estimate(
        reserve=MicroUsd(1_010), worst=MicroUsd(1_010), tokens=1_010, source="price"
    )


def test_a_warm_route_reserves_half_again_as_much_as_nineteen_in_twenty_needed() -> None:
    """The worst case of everybody at once starves everybody, and hardly anybody needs it."""
    got = estimate(Size(input=10, most=1_000, outputs=WARM), priced)
    assert (got.reserve, got.worst, got.tokens) == (10 + 143, 1_010, 153)


@given(
    outputs=st.lists(st.integers(0, 10_000), max_size=100),
    most=st.one_of(st.none(), st.integers(0, 10_000)),
)
def test_no_more_is_reserved_than_the_answer_may_have(outputs, most) -> None:
    """``max_tokens`` bounds the bill whatever the last answers were."""
    likely = likely_output(Size(input=0, most=most, outputs=outputs))
    if most is not None:
        assert likely is not None
        assert likely <= most
    elif len(outputs) < 20:
        assert likely is None
    else:
        assert likely is not None
        assert sum(output <= likely for output in outputs) >= 0.95 * len(outputs)


def test_what_costs_nothing_reserves_nothing_and_no_tokens() -> None:
    """A model on this machine is stopped by no budget, not even one of tokens."""
    nothing = Estimate(reserve=MicroUsd(0), worst=MicroUsd(0), tokens=0, source="price")
    assert estimate(Size(input=10), free) == nothing
    assert estimate(Size(input=10, most=9), free) == nothing


@pytest.mark.parametrize("cost", [unknown, paying])
def test_a_missing_or_a_negative_price_is_an_unknown_one(cost) -> None:
    """Zero would let a whole night of it through."""
    size = Size(input=10, most=100)
    assert estimate(size, cost).reserve is None
    assert estimate(size, cost, max_cost=MicroUsd(5)).reserve == 5
    assume = unknown_price("assume 0.05")
    assert estimate(size, cost, rule=assume) == Estimate(
        reserve=MicroUsd(50_000), worst=MicroUsd(50_000), tokens=110, source="assume"
    )
    taken = estimate(size, cost, rule=UnknownPrice("free"))
    assert (taken.reserve, taken.tokens, taken.source) == (0, 110, "free")


def test_an_answer_without_a_bound_has_an_unknown_price() -> None:
    """Until enough of its answers are known."""
    assert estimate(Size(input=10), priced).reserve is None
    assert estimate(Size(input=10, outputs=WARM), priced).reserve == 153


def test_the_rule_for_unknown_prices_is_read_as_it_is_written() -> None:
    """Deny, free, or an amount above zero; whatever else stands there is a mistake."""
    assert unknown_price("deny") == DENY
    assert unknown_price("free").kind == "free"
    assert unknown_price(" assume  $0.05 ") == UnknownPrice("assume", MicroUsd(50_000))
    for text in ("", "allow", "assume", "assume 0", "assume -1", "free 1", "deny 0.05", "assume x"):
        with pytest.raises(BadSetting):
            unknown_price(text)


def test_an_unknown_price_is_denied_only_where_nobody_watches() -> None:
    """Whoever sits there sees the bill."""
    assert reserve_of(None, DENY, unattended=True) is None
    assert reserve_of(None, DENY, unattended=False) == 0
    assert reserve_of(MicroUsd(-1), DENY, unattended=True) is None
    assert reserve_of(MicroUsd(3), DENY, unattended=True) == 3
    assert reserve_of(None, UnknownPrice("assume", MicroUsd(9)), unattended=True) == 9
