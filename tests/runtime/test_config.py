"""Settings: which source wins, and what is said about what is wrong.

What it is not: a test of what the settings do.
"""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.errors import BadSetting
from tildawn.runtime.config import Origin, load, settings_file
from tildawn.runtime.setting import SETTINGS, Kind, Settings, shown, value_of


def said(folder: Path, text: str, name: str = "tildawn.toml", **more: Any) -> Settings:
    """The settings of a folder with that file."""
    (folder / name).write_text(text, encoding="utf-8")
    return load(folder, **({"environ": {}} | more)).settings


def complaint(folder: Path, text: str, **more: Any) -> BadSetting:
    """Why that file is refused."""
    with pytest.raises(BadSetting) as caught:
        said(folder, text, **more)
    return caught.value


def test_each_source_wins_over_those_below_it(tmp_path: Path) -> None:
    """The order is what a person relies on when a setting seems to have no effect."""
    file = "[engine]\nresident = 1\n"
    environ = {"TILDAWN_ENGINE_RESIDENT": "2"}
    flags, override = {"engine.resident": "3"}, {"engine.resident": "4"}

    assert load(tmp_path, environ={}).settings.engine.resident == 2_000
    assert said(tmp_path, file).engine.resident == 1
    assert said(tmp_path, file, environ=environ).engine.resident == 2
    assert said(tmp_path, file, environ=environ, flags=flags).engine.resident == 3
    all_four = said(tmp_path, file, environ=environ, flags=flags, override=override)
    assert all_four.engine.resident == 4


def test_each_value_is_explained_with_its_source(tmp_path: Path) -> None:
    """`config --explain` answers the question why, with the line of the file."""
    (tmp_path / "tildawn.toml").write_text('# mine\n[engine]\n\npark_after = "90s"\n')
    config = load(tmp_path, environ={"TILDAWN_LOG_LEVEL": "debug"}, flags={"engine.threads": "2"})
    explained = {one.name: one for one in config.explained}

    assert explained["engine.park_after"].origin is Origin.FILE
    assert explained["engine.park_after"].where == f"{tmp_path / 'tildawn.toml'}:4"
    assert explained["engine.park_after"].value == "90s"
    assert explained["log.level"].where == "TILDAWN_LOG_LEVEL"
    assert explained["engine.threads"].origin is Origin.FLAG
    assert explained["engine.resident"].origin is Origin.DEFAULT
    assert len(explained) == len(SETTINGS)


@pytest.mark.parametrize(
    ("text", "line", "near"),
    [
        ("[engine]\nresidnet = 5\n", 2, "engine.resident"),
        ("\n[engin]\nresident = 5\n", 2, "engine"),
        ("engine = { residnet = 5 }\n", 1, "engine.resident"),
        ('[route."a b"]\ntimeoutt = "5s"\n', 2, "route.NAME.timeout"),
        ('[provider]\nname = "sim"\nbaseurl = ""\n', 3, "provider.base_url"),
    ],
)
def test_an_unknown_setting_is_refused_with_its_line_and_the_nearest_name(
    tmp_path: Path, text: str, line: int, near: str
) -> None:
    """A misspelt limit that is silently ignored is a limit that does not hold."""
    error = complaint(tmp_path, text)

    assert f"tildawn.toml:{line}: " in error.message
    assert f"did you mean {near}?" in error.message
    assert error.exit_code == 2


@pytest.mark.parametrize(
    ("text", "range_"),
    [
        ("[engine]\nresident = 0\n", "a whole number, 1 to 100000"),
        ("[engine]\nresident = true\n", "a whole number, 1 to 100000"),
        ('[engine]\nresident = "many"\n', "a whole number, 1 to 100000"),
        ('[engine]\npark_after = "2d"\n', "a duration such as 90s, 1s to 1d"),
        ("[engine]\npark_after = 60\n", "a duration such as 90s, 1s to 1d"),
        ("[engine]\nqueues = { images = 0 }\n", "a table of numbers by name, 1 to 100000"),
        ('[log]\nlevel = "loud"\n', "one of debug, info, warning, error"),
        ("[house]\ntasks = [1]\n", "a list of names"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(
    tmp_path: Path, text: str, range_: str
) -> None:
    """The message alone must be enough to correct it."""
    error = complaint(tmp_path, text)

    assert f"tildawn.toml:2: {text.splitlines()[0][1:-1]}." in error.message
    assert range_ in error.message


@pytest.mark.parametrize("text", ["engine = 5\n", "route = { a = 5 }\n", "[engine\n"])
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    """Whatever stands in the file, the answer is a sentence and no trace of Python."""
    assert "tildawn.toml" in complaint(tmp_path, text).message


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """An editor may have written UTF-16."""
    (tmp_path / "tildawn.toml").write_bytes("[engine]".encode("utf-16"))

    with pytest.raises(BadSetting, match="cannot be read"):
        load(tmp_path, environ={})


def test_a_misspelt_variable_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    """The environment has no line; the name must do."""
    with pytest.raises(BadSetting, match="did you mean TILDAWN_ENGINE_RESIDENT"):
        load(tmp_path, environ={"TILDAWN_ENGINE_RESIDNET": "3"})


def test_variables_of_others_are_left_alone(tmp_path: Path) -> None:
    """`TILDAWN_HOME` is no setting, and programs around us have variables of their own."""
    environ = {"TILDAWN_HOME": "here", "TILDAWN_DEPLOYED_BY": "x", "ENGINE_RESIDENT": "9"}

    assert load(tmp_path, environ=environ).settings == Settings()


def test_a_flag_for_no_setting_is_refused(tmp_path: Path) -> None:
    """`--set` is typed at midnight."""
    with pytest.raises(BadSetting, match=r"did you mean engine\.resident"):
        load(tmp_path, environ={}, flags={"engine.residents": "3"})


def test_settings_may_stand_in_the_file_of_the_project(tmp_path: Path) -> None:
    """A Python project has one file for tools already; our own wins where there are both."""
    text = "[project]\nname = 'x'\n[tool.tildawn.engine]\nresident = 7\n"

    assert said(tmp_path, text, "pyproject.toml").engine.resident == 7
    assert said(tmp_path, "[engine]\nresident = 8\n").engine.resident == 8
    assert settings_file(tmp_path) == tmp_path / "tildawn.toml"


def test_a_project_without_our_table_has_defaults(tmp_path: Path) -> None:
    """Somebody else's file is none of our business, broken or not."""
    assert said(tmp_path, "[tool.other]\na = 1\n", "pyproject.toml") == Settings()
    assert said(tmp_path, "[broken\n", "pyproject.toml") == Settings()


def test_routes_have_limits_by_their_own_names(tmp_path: Path) -> None:
    """A route's name holds colons and dots, which must not be taken for places."""
    settings = said(tmp_path, '[route."openai:gpt-4.1:1024"]\ntimeout = "2s"\n')

    assert settings.route["openai:gpt-4.1:1024"].timeout == 2_000_000
    assert settings.route["openai:gpt-4.1:1024"].deadline is None, "as the kind of its calls"


def test_limits_and_names_can_be_written_on_one_line(tmp_path: Path) -> None:
    """The environment knows text only."""
    environ = {"TILDAWN_ENGINE_QUEUES": "images=2, mail=1", "TILDAWN_HOUSE_TASKS": "a, b.c"}
    settings = load(tmp_path, environ=environ).settings

    assert settings.engine.queues == {"images": 2, "mail": 1}
    assert settings.house.tasks == ("a", "b.c")


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda one: one.name)
def test_every_default_is_a_value_that_its_setting_takes(setting: Any) -> None:
    """A default out of its own range would be refused as soon as somebody writes it down."""
    if setting.default is None:
        assert shown(setting.says.kind, None) == "as the kind of its calls"
        return
    if setting.says.kind in {Kind.NAMES, Kind.LIMITS}:
        raw = setting.default if setting.says.kind is Kind.LIMITS else list(setting.default)
    elif setting.says.kind is Kind.TEXT:
        raw = setting.default
    else:
        raw = shown(setting.says.kind, setting.default)

    assert value_of(setting, raw, where="here") == setting.default
    assert setting.help.endswith(".")
    assert "\n" not in setting.help


@given(st.integers(min_value=1_000, max_value=86_400_000_000))
def test_a_duration_is_shown_as_it_can_be_written(micros: int) -> None:
    """What `config` prints can be pasted into the file; whole milliseconds lose nothing."""
    [setting] = [one for one in SETTINGS if one.name == "route.NAME.deadline"]
    whole = max(micros // 1_000, 10) * 1_000

    assert value_of(setting, shown(Kind.DURATION, whole), where="here") == whole
