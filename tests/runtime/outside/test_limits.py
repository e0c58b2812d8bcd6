"""How long one attempt and a whole call may take: the settings of a route cap what is asked.

What it is not: the ending of attempts; the guard does that.
"""

from pathlib import Path
from random import Random
from typing import Any

import pytest

from tildawn.clock import SystemClock
from tildawn.guard.call import Door
from tildawn.guard.policy import PRESETS
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.providers.prices import Prices
from tildawn.providers.wire import Wires
from tildawn.runtime.outside.calls import Calls
from tildawn.runtime.outside.world import Models, World
from tildawn.runtime.policies import Policies
from tildawn.runtime.setting import RouteSettings
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.units import SECOND, Micros


MINUTE = Micros(60 * SECOND)
USUAL = PRESETS["http"].deadline

ROUTES = {
    "shop:create": RouteSettings(timeout=Micros(5 * SECOND), deadline=Micros(30 * SECOND)),
    "shop:*": RouteSettings(timeout=Micros(9 * SECOND)),
    "slow": RouteSettings(deadline=Micros(40 * MINUTE)),
}


@pytest.fixture
def limits(tmp_path: Path) -> Any:
    """What the settings make of a route and a wish."""
    clock = SystemClock()
    ledger = Ledger.open(
        tmp_path / ".tildawn", registry=REGISTRY, projections=PROJECTIONS, clock=clock,
        ids=Ids(clock), build="test",
    )  # fmt: skip
    world = World(
        ledger, clock, wires=Wires(clock=clock), prices=Prices.shipped(), connected=None,
        models=Models(), env={}, folder=tmp_path,
    )  # fmt: skip
    calls = Calls(world, Door(ledger, clock, Random(0)), policies=Policies(ROUTES))
    yield lambda route, asked: calls._limits(route, "http", asked)
    ledger.close()


@pytest.mark.parametrize(
    ("route", "asked", "attempt", "deadline"),
    [
        ("shop:create", None, 5 * SECOND, 30 * SECOND),
        ("shop:create", SECOND, SECOND, 30 * SECOND),
        ("shop:create", MINUTE, 5 * SECOND, 30 * SECOND),
        ("shop:list", MINUTE, 9 * SECOND, USUAL),
        ("other", None, None, USUAL),
        ("other", SECOND, SECOND, USUAL),
        ("other", USUAL, USUAL, 2 * USUAL),
        ("slow", MINUTE, MINUTE, 40 * MINUTE),
    ],
)  # fmt: skip
def test_a_route_caps_an_attempt_and_a_long_wish_gets_its_time(
    limits: Any, route: str, asked: Micros | None, attempt: int | None, deadline: int
) -> None:
    """The first pattern that fits holds; without one, two long attempts must find room."""
    assert limits(route, asked) == (attempt, deadline)
