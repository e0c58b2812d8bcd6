"""A witness as its owner runs it: two commands, without a house."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tildawn
from tildawn.testing.log import GrowingLog


LOG = GrowingLog(0).signer.verifier.dump()
ENV = os.environ | {"PYTHONPATH": str(Path(tildawn.__file__).parents[1])}


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tildawn", "witness", *words], cwd=folder, env=ENV, text=True,
        capture_output=True, check=False, timeout=40,
    )  # fmt: skip


def test_a_witness_is_made_and_served_until_it_is_told_to_end(tmp_path: Path) -> None:
    """It says where it is and under which key, which is what the other side's settings need."""
    made = command(tmp_path, "init", "--folder", "w", "--name", "nas.example/w1")
    assert made.returncode == 0, made.stderr
    key = (tmp_path / "w" / "witness.vkey").read_text().strip()
    assert f"Its public part: {key}" in made.stdout
    assert (tmp_path / "w" / "witness.key").stat().st_mode & 0o777 == 0o600

    words = ("witness", "serve", "--folder", "w", "--port", "0", "--log", LOG)
    served = subprocess.Popen(
        [sys.executable, "-m", "tildawn", *words], cwd=tmp_path, env=ENV, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert served.stdout is not None
        said = served.stdout.readline().split()
        assert said[0] == "witness"
        assert said[1].startswith("http://127.0.0.1:")
        assert said[2] == key
    finally:
        served.send_signal(signal.SIGTERM)
        _, told = served.communicate(timeout=30)
    assert served.returncode == 0
    assert "it proves nothing to those who do not trust you" in told


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """Whoever has it can cosign a fork; the message has the command that mends it."""
    command(tmp_path, "init", "--folder", "w", "--name", "nas.example/w1")
    (tmp_path / "w" / "witness.key").chmod(0o644)

    got = command(tmp_path, "serve", "--folder", "w", "--log", LOG)
    assert got.returncode == 2
    assert "chmod 600 w/witness.key" in got.stderr


@pytest.mark.parametrize("again", ["init", "serve"])
def test_a_folder_keeps_its_one_key(tmp_path: Path, again: str) -> None:
    """Made over, it would forget what it saw; served without a key, it is no witness."""
    if again == "init":
        command(tmp_path, "init", "--folder", "w", "--name", "nas.example/w1")
        got = command(tmp_path, "init", "--folder", "w", "--name", "nas.example/w2")
        assert "there is a key already" in got.stderr
    else:
        got = command(tmp_path, "serve", "--folder", "w", "--log", LOG)
        assert "holds no key of a witness" in got.stderr
    assert got.returncode == 2


def test_the_key_of_a_witness_is_no_key_of_a_ledger(tmp_path: Path) -> None:
    """The two are easily mixed up, and would fail at every submission."""
    command(tmp_path, "init", "--folder", "w", "--name", "nas.example/w1")
    key = (tmp_path / "w" / "witness.vkey").read_text().strip()

    got = command(tmp_path, "serve", "--folder", "w", "--log", key)
    assert got.returncode == 2
    assert "is the key of a witness" in got.stderr
