"""What the settings of a route make of the numbers of its class.

What it is not: the reading of the settings, nor the rules that follow the numbers.
"""

from pathlib import Path

import pytest

from tildawn.errors import BadSetting
from tildawn.guard.mode import effective
from tildawn.guard.policy import PRESETS, Class, Mode
from tildawn.runtime.config import load
from tildawn.runtime.policies import Policies
from tildawn.units import Micros


def mode(folder: Path, table: str, kind: Class, *, environment: Mode | None = None) -> Mode:
    """The mode that holds for a route with such a table in the file."""
    (folder / "tildawn.toml").write_text(f'[route."*"]\n{table}\n', encoding="utf-8")
    policies = Policies(load(folder, environ={}).settings.route)
    return effective(
        environment=environment, word=None, everywhere=None, policy=policies.of("r", kind),
        trials=0, adopted="", promoted="", now=Micros(0),
    )  # fmt: skip


@pytest.mark.parametrize("said", ["on", "shadow", "off"])
@pytest.mark.parametrize("kind", sorted(PRESETS))
def test_the_mode_that_is_written_is_the_one_that_holds(
    tmp_path: Path, kind: Class, said: Mode
) -> None:
    """A local route rests by its class; whoever writes "on" wants its rules to act."""
    for environment in (None, "on", "shadow"):
        assert said == mode(tmp_path, f'mode = "{said}"', kind, environment=environment)
    assert mode(tmp_path, f'mode = "{said}"', kind, environment="off") == "off"


@pytest.mark.parametrize("kind", sorted(PRESETS))
def test_a_table_without_a_mode_leaves_that_of_the_class(tmp_path: Path, kind: Class) -> None:
    """A deadline for a command must not put a breaker before it."""
    assert PRESETS[kind].mode == mode(tmp_path, 'deadline = "5m"', kind)


def test_a_table_without_a_mode_follows_the_environment(tmp_path: Path) -> None:
    """It says nothing about it, so the house decides."""
    assert mode(tmp_path, 'deadline = "5m"', "image", environment="shadow") == "shadow"


@pytest.mark.parametrize(
    ("name", "table", "wrong"),
    [
        ("a", "window = 20\nin_a_row = 21", "in_a_row is above window"),
        ("a", "window = 20\nleast = 21", "least is above window"),
        ("a", 'timeout = "10s"\ntimeout_idle = "11s"', "timeout_idle is above timeout"),
        ("a", 'timeout = "10s"\ntimeout_first = "11s"', "timeout_first is above timeout"),
        ("a", 'kind = "chat"\ntimeout_cold = "1h"', "timeout_cold is above timeout"),
        ("shop:[ab", 'mode = "on"', "bracket"),
        (" shop", 'mode = "on"', "space"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    tmp_path: Path, name: str, table: str, wrong: str
) -> None:
    """A rule that can never act is a mistake that shows only when it is needed."""
    (tmp_path / "tildawn.toml").write_text(f'[route."{name}"]\n{table}\n', encoding="utf-8")

    with pytest.raises(BadSetting, match=wrong):
        load(tmp_path, environ={})
