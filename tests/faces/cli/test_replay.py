"""``tildawn sim replay``: nights of a provider, beside each other."""

import json
from typing import Any


NIGHT = """
about = "Gone for a minute."
length = "8m"
[[stream]]
kind = "chat"
every = "5s"
[[outage]]
since = "2m"
length = "1m"
[[provider.pace]]
median = "3s"
"""


def test_without_a_name_it_lists_what_can_be_played(shell: Any) -> None:
    """Nobody knows the names by heart."""
    said = shell("sim", "replay")
    assert "outage-5m" in said.out
    assert "The provider is gone for five minutes" in said.out


def test_a_night_is_played_under_each_mode_and_prints_the_same_twice(shell: Any) -> None:
    """Two columns that come from different nights could not be compared."""
    (shell.folder / "night.toml").write_text(NIGHT)
    words = ("sim", "replay", "night.toml", "--mode", "on", "--mode", "off", "--turns")
    said = shell(*words)
    assert said.out == shell(*words).out
    assert "out of service" in said.out
    assert "failure-tokens" in said.out


def test_as_json_each_mode_is_an_object_of_its_own(shell: Any) -> None:
    """What the guard spares can be computed by others."""
    (shell.folder / "night.toml").write_text(NIGHT)
    said = shell("sim", "replay", "night.toml", "--mode", "on", "--mode", "off", "--json")
    on, off = map(json.loads, said.out.splitlines())
    assert (on["mode"], off["mode"]) == ("on", "off")
    assert on["open_s"] > 0 == off["open_s"]
    assert on["faults"]["network"] < off["faults"]["network"]


def test_a_name_that_does_not_exist_names_those_that_do(shell: Any) -> None:
    """A mistyped name is a matter of use."""
    said = shell("sim", "replay", "outage", code=2)
    assert "outage-1h" in said.err
