"""SIGKILL between mirror and commit, in both orders, and a database that then forgets.

What it is not: power loss; a killed process leaves what it wrote to the system.
"""

import os
import shutil
import signal
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import pytest

from tildawn.ledger.mirror import Wish
from tildawn.testing import bugs
from tildawn.testing.mirror import audit, notes
from tildawn.testing.notebook import open_notebook


KILLS = Path(__file__).with_name("mirror_kills.py")
#: The same numbers as in mirror_kills.py: what each append of the workload adds up to.
STEPS = list(accumulate((1, 3, 1, 40, 2, 1, 5)))


def _killed(house: Path, copy: Path, how: str, number: int, *, bug: str = "") -> int:
    """Let a process work until it is killed there; how many notes it had promised."""
    done = subprocess.run(
        [sys.executable, str(KILLS), str(house), str(copy), how, str(number)],
        capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | {bugs.VARIABLE: bug},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    lines = done.stdout.split()
    return int(lines[-1]) if lines else 0


def _opened(house: Path, copy: Path) -> tuple[list[int], list[str]]:
    """The notes after the owner opened the house again, and what the auditor says."""
    with open_notebook(house, mirror=Wish(mode="sync-degrade", folder=copy)):
        pass
    return notes(house), audit(house, copy)


@pytest.mark.parametrize("how", ["mirror-first", "commit-first", "torn", "answered"])
@pytest.mark.parametrize("number", [1, 4, 7])
def test_a_kill_between_mirror_and_commit_loses_nothing_promised(
    tmp_path: Path, how: str, number: int
) -> None:
    """Whichever copy is longer, both are the same afterwards, and no append is there by half."""
    house, copy = tmp_path / "house", tmp_path / "copy"
    copy.mkdir()
    promised = _killed(house, copy, how, number)
    stored, wrong = _opened(house, copy)
    more = [total for total in STEPS if total > promised]
    assert len(stored) in {promised, *more[:1]}
    assert stored == list(range(len(stored)))
    assert wrong == []
    if how in {"mirror-first", "commit-first"}:
        assert len(stored) == STEPS[number - 1]


def _forgotten(tmp_path: Path, *, bug: str = "") -> tuple[int, list[int], list[str]]:
    """A kill after an answer, and a database that is what it was long before."""
    house, copy = tmp_path / "house", tmp_path / "copy"
    copy.mkdir()
    wish = Wish(mode="sync-degrade", folder=copy)
    open_notebook(house, mirror=wish).close()
    shutil.copy(house / "ledger.db", tmp_path / "old.db")
    promised = _killed(house, copy, "answered", 6, bug=bug)
    for stray in house.glob("ledger.db*"):
        stray.unlink()
    shutil.copy(tmp_path / "old.db", house / "ledger.db")
    return promised, *_opened(house, copy)


def test_what_a_lying_disk_forgot_comes_back_from_the_mirror(tmp_path: Path) -> None:
    """It said that it had synced, and many batches later it knows of none of them."""
    promised, stored, wrong = _forgotten(tmp_path)
    assert stored == list(range(promised))
    assert wrong == []


@pytest.mark.parametrize("bug", ["answer-before-mirror", "nobody-joins-the-mirror"])
def test_the_checker_sees_an_answer_that_comes_before_the_mirror(tmp_path: Path, bug: str) -> None:
    """A checker that cannot fail proves nothing: here the promise is made too early."""
    promised, stored, _ = _forgotten(tmp_path, bug=bug)
    assert len(stored) < promised
