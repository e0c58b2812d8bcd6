"""When a working house signs: after enough facts, after a minute, and when a run has ended."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tildawn.facts.house import ClockJumped
from tildawn.facts.run import RunCancelled
from tildawn.ids import Ids
from tildawn.ledger.entry import Entry
from tildawn.ledger.ledger import Ledger
from tildawn.runtime.notary import SEAL_AFTER, SEAL_FACTS, Seals
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.testing.clock import ManualClock
from tildawn.units import Micros


@pytest.fixture
def clock() -> ManualClock:
    """Time that moves when it is told to."""
    return ManualClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: ManualClock) -> Iterator[Ledger]:
    """A house that is sealed as it was founded."""
    with Ledger.open(
        tmp_path / "house", registry=REGISTRY, projections=PROJECTIONS, clock=clock,
        ids=Ids(clock), build="test",
    ) as ledger:  # fmt: skip
        yield ledger


def _fact(ledger: Ledger) -> Entry:
    return ledger.draft(ClockJumped(by_ms=1))


def test_nothing_new_is_not_signed_again(ledger: Ledger, clock: ManualClock) -> None:
    """A house at rest writes nothing."""
    seals = Seals(ledger, clock)
    clock.advance(SEAL_AFTER)
    before = ledger.newest_checkpoint()

    asyncio.run(seals.turn())

    assert ledger.newest_checkpoint() == before


def test_a_fact_is_signed_within_a_minute(ledger: Ledger, clock: ManualClock) -> None:
    """However little happens, it is covered soon."""
    seals = Seals(ledger, clock)
    ledger.append_now([_fact(ledger)])

    asyncio.run(seals.turn())
    assert ledger.unsealed == 1
    clock.advance(Micros(SEAL_AFTER - 1))
    asyncio.run(seals.turn())
    assert ledger.unsealed == 1
    clock.advance(Micros(1))
    asyncio.run(seals.turn())

    assert ledger.unsealed == 0


def test_many_facts_are_signed_at_once(ledger: Ledger, clock: ManualClock) -> None:
    """A busy house need not wait for the minute."""
    seals = Seals(ledger, clock)
    ledger.append_now([_fact(ledger) for _ in range(SEAL_FACTS - 1)])
    asyncio.run(seals.turn())
    assert ledger.unsealed == SEAL_FACTS - 1

    ledger.append_now([_fact(ledger)])
    asyncio.run(seals.turn())

    assert ledger.unsealed == 0


def test_the_end_of_a_run_is_signed(ledger: Ledger, clock: ManualClock) -> None:
    """Who waits for a run wants its proof with its result."""
    seals = Seals(ledger, clock)
    ledger.append_now([_fact(ledger)])
    asyncio.run(seals.turn())
    assert ledger.unsealed == 1

    ledger.append_now([ledger.draft(RunCancelled(), run="0" * 32)])
    asyncio.run(seals.turn())

    assert ledger.unsealed == 0
