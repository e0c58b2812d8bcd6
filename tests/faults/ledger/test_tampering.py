"""An attacker with every file of a house, and with the key too: both verifiers find all of it.

What it is not: bits that flip by themselves; test_flips.py has those.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest


TAMPER = Path(__file__).with_name("tamper.py")
PROCESSES = 2

#: Nothing in the house can show these: it is an honest house, only another one.
NEEDS_A_WITNESS = {
    "old copy", "made anew", "signed with the real key", "cut, and signed with the real key",
}  # fmt: skip


def _campaign(folder: Path, first: int, count: int) -> tuple[Counter[str], Counter[str], list[str]]:
    """What was tried, what was not seen without a checkpoint from outside, and what was missed."""
    share = count // PROCESSES
    running: list[subprocess.Popen[str]] = []
    for at in range(PROCESSES):
        own = folder / str(at)
        own.mkdir()
        command = [sys.executable, str(TAMPER), str(own), str(first + at * share), str(share)]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    tried, unseen, missed = Counter[str](), Counter[str](), list[str]()
    for process in running:
        out, _ = process.communicate()
        assert process.returncode == 0
        said = json.loads(out)
        tried += Counter(said["tried"])
        unseen += Counter(said["unseen"])
        missed += said["missed"]
    return tried, unseen, missed


def _judge(tried: Counter[str], unseen: Counter[str], missed: list[str], count: int) -> None:
    assert missed == []
    assert tried.total() == count
    assert set(unseen) == NEEDS_A_WITNESS


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_2000_changes_are_found_with_a_checkpoint_from_outside(tmp_path: Path) -> None:
    """Every one, by both; and the four that nothing else can show are not found without it.

    Slow because each of 2,000 changed houses is proven twice, from its first byte.
    """
    _judge(*_campaign(tmp_path, 0, 2_000), 2_000)


@pytest.mark.chaos
def test_100000_changes_are_found_with_a_checkpoint_from_outside(tmp_path: Path) -> None:
    """The same for an hour."""
    _judge(*_campaign(tmp_path, 1_000_000, 100_000), 100_000)
