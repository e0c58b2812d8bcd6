"""The command line in this process: words in, exit code and text out.

What it is not: a fake house; each is real, in a folder of its own.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tildawn.faces.cli.main import run


class Said(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Its JSON."""
        return json.loads(self.out)


class Shell:
    """A folder in which commands are typed."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Take the folder."""
        self.folder = folder
        self._capsys = capsys

    @property
    def house(self) -> Path:
        """Its house."""
        return self.folder / ".tildawn"

    def __call__(self, *words: str, code: int = 0) -> Said:
        """Type a command."""
        self._capsys.readouterr()
        got = run(list(words))
        text = self._capsys.readouterr()
        assert got == code, f"{words}: {got}\n{text.out}{text.err}"
        return Said(got, text.out, text.err)

    def ask(self, *words: str) -> Any:
        """Type a command with --json."""
        return self(*words, "--json").data


JOBS = """
from tildawn import Context, task


@task
async def total(ctx: Context, shops: int, name: str = "x") -> str:
    return f"{name}={shops}"


def words() -> str:
    return "text"
"""


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    """A project with a house and a module of tasks of its own name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TILDAWN_HOME", raising=False)
    # Modules stay loaded for the whole test run, so each project has one of its own name.
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / f"{module_of(tmp_path)}.py").write_text(JOBS)
    made = Shell(tmp_path, capsys)
    made("init", "--bare")
    return made


def module_of(folder: Path) -> str:
    """The module of tasks in a project."""
    return f"jobs_{abs(hash(str(folder)))}"


@pytest.fixture
def total(shell: Shell) -> str:
    """The reference of the task in this project."""
    return f"{module_of(shell.folder)}:total"
