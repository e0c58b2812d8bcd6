"""What a worker goes on with: the night that was accepted, as it was accepted.

What it is not: the night's work; test_night.py sees whole processes.
"""

from pathlib import Path

import pytest

from tildawn.clock import SystemClock
from tildawn.faces.local.nightly import as_accepted
from tildawn.facts.fact import FactData
from tildawn.facts.night import NightClosed, NightOpened, PlanAccepted
from tildawn.runtime.house import House
from tildawn.runtime.job import NightJob
from tildawn.runtime.setting import Settings


def house(folder: Path, *, simulated: bool, closed: bool = False) -> Path:
    """A house with one night of a plan that lies elsewhere."""
    place = folder / ".tildawn"
    with House.open(place, Settings(), mode="write") as made:
        say: list[FactData] = [
            PlanAccepted(night="a", plan="", source="", place="p", content="c",
                         simulated=simulated),
            NightOpened(night="a"),
        ]  # fmt: skip
        if closed:
            say.append(NightClosed(night="a", outcome="done"))
        for fact in say:
            made.ledger.append_now([made.ledger.draft(fact)])
    return place


@pytest.mark.parametrize("flag", [False, True], ids=["bare", "with-flag"])
@pytest.mark.parametrize("simulated", [False, True], ids=["real", "simulated"])
def test_a_night_that_is_resumed_stays_what_it_was_accepted_as(
    tmp_path: Path, simulated: bool, flag: bool
) -> None:
    """A rehearsal that goes on with a provider that costs money is the dearest typing error."""
    folder = house(tmp_path, simulated=simulated)
    job = NightJob(night="1", simulate=flag)

    got = as_accepted(job, folder, SystemClock(), restarted=False)

    assert got.simulate is simulated
    assert (got.night, got.plan) == ("1", "")


def test_a_plan_that_was_never_accepted_is_as_its_owner_says(tmp_path: Path) -> None:
    """A new night is simulated when, and only when, somebody says so."""
    folder = house(tmp_path, simulated=True, closed=True)
    job = NightJob(plan=str(tmp_path / "other.yaml"))

    assert not as_accepted(job, folder, SystemClock(), restarted=False).simulate
    said = NightJob(plan=str(tmp_path / "other.yaml"), simulate=True)
    assert as_accepted(said, folder, SystemClock(), restarted=False).simulate
