"""What calls refuse before anything leaves: other people's money, and the house itself.

What it is not: the policy of effects.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tildawn.clock import SystemClock
from tildawn.guard.request import Attempt
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.providers.dialect import dialect
from tildawn.providers.fault import Fault
from tildawn.providers.openai_compatible import OpenAiCompatible
from tildawn.providers.prices import Prices
from tildawn.providers.wire import Wires
from tildawn.runtime.outside.kind import CallOptions, Prepared
from tildawn.runtime.outside.local import file
from tildawn.runtime.outside.model import chat, image
from tildawn.runtime.outside.world import Models, World
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.units import Micros


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A house whose provider would cost money."""
    clock = SystemClock()
    ledger = Ledger.open(
        tmp_path / ".tildawn", registry=REGISTRY, projections=PROJECTIONS, clock=clock,
        ids=Ids(clock), build="test",
    )  # fmt: skip
    wires = Wires(clock=clock)
    paid = OpenAiCompatible(dialect("openai"), wires=wires, key="k", base_url="http://127.0.0.1:9")
    yield World(
        ledger, clock, wires=wires, prices=Prices.shipped(), connected=paid,
        models=Models(chat="m", image="m"), env={}, folder=tmp_path,
    )  # fmt: skip
    ledger.close()


async def _no_child(_pid: int, _started: str) -> None:
    raise AssertionError


def attempt() -> Attempt:
    """One try."""
    return Attempt(key="k", number=1, deadline=Micros(0), child_started=_no_child)


async def tried(prepared: Prepared) -> None:
    """Make the call once."""
    await prepared.perform(attempt())


@pytest.mark.parametrize(("kind", "fields"), [(chat, {"prompt": "p"}), (image, {"prompt": "p"})])
def test_a_simulated_run_never_asks_a_provider_that_costs_money(
    world: World, kind: Any, fields: dict[str, object]
) -> None:
    """Whatever the settings say when the night goes on: it was accepted as simulated."""
    prepared = kind(world, fields, CallOptions(), simulated=True)

    with pytest.raises(Fault, match="accepted as simulated") as refused:
        asyncio.run(tried(prepared))
    assert not refused.value.sent


@pytest.mark.parametrize("verb", ["write", "append", "delete", "read"])
def test_a_plan_cannot_reach_into_its_own_house(world: World, tmp_path: Path, verb: str) -> None:
    """A step once overwrote the ledger that recorded it."""
    before = (tmp_path / ".tildawn" / "ledger.db").read_bytes()
    fields: dict[str, object] = {verb: ".tildawn/ledger.db", "content": "x"}
    prepared = file(world, fields, CallOptions(), simulated=False)

    with pytest.raises(Fault, match="in the house itself"):
        asyncio.run(tried(prepared))
    assert before == (tmp_path / ".tildawn" / "ledger.db").read_bytes()
