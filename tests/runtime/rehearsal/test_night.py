"""Played nights: the same seed gives the same night, on any machine."""

import pytest

from tildawn.guard.policy import Mode
from tildawn.runtime.rehearsal.night import MODES, play
from tildawn.runtime.rehearsal.script import parse


SCRIPT = parse(
    """
    length = "6m"
    [[stream]]
    kind = "chat"
    every = "4s"
    [[stream]]
    kind = "image"
    every = "15s"
    [[outage]]
    since = "1m"
    length = "30s"
    [[provider.pace]]
    median = "3s"
    sigma = 0.25
    [[provider.rule]]
    path = "/v1/images"
    probability = 0.2
    fault = { kind = "server" }
    """
)


@pytest.mark.parametrize("mode", MODES)
def test_a_night_comes_out_the_same_every_time(mode: Mode) -> None:
    """Numbers that differ from one time to the next cannot be compared with others."""
    first = play(SCRIPT, mode=mode, seed=3)
    assert play(SCRIPT, mode=mode, seed=3) == first
    assert first.done > 80
    assert first.faults["network"] > 0


def test_another_seed_is_another_night() -> None:
    """Chance that does not come from the seed would make all nights alike."""
    assert play(SCRIPT, mode="off", seed=4) != play(SCRIPT, mode="off", seed=3)
