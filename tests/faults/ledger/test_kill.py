"""SIGKILL at operations on the disk, in real processes: nothing promised is lost.

What it is not: power loss; a killed process leaves what it wrote to the system.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tildawn.testing import bugs
from tildawn.testing.notebook import Note, open_notebook, verify_notebook


KILLS = Path(__file__).with_name("kills.py")


def _campaign(
    folder: Path, *, step: int, offset: int, seed: int = 0, bug: str = ""
) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(KILLS), str(folder), str(step), str(offset), str(seed)],
        capture_output=True, text=True, check=True, timeout=3_000,
        env=os.environ | {bugs.VARIABLE: bug},
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def _wrong(found: dict[str, Any]) -> str:
    """What a kill broke, in words; empty when the promises held."""
    if "error" in found:
        return str(found["error"])
    if found["stored"] < found["promised"]:
        return "a promised fact is gone"
    if not found["contiguous"] or found["verdict"] != "proven":
        return f"the ledger does not hold together: {found['what']}"
    # At most the one append that was under way is there beyond what was promised, and whole.
    more = [total for total in found["totals"] if total > found["promised"]]
    if found["stored"] not in {found["promised"], *more[:1]}:
        return "half an append, or one that nobody made"
    return ""


def _judge(campaign: list[dict[str, Any]]) -> int:
    """Judge all of it; how many were killed."""
    wrong = {found["at"]: why for found in campaign if (why := _wrong(found))}
    assert wrong == {}
    assert campaign[-1]["stored"] == campaign[-1]["totals"][-1]
    return sum(found["dead"] for found in campaign)


def test_a_kill_at_operations_on_the_disk_loses_nothing_promised(tmp_path: Path) -> None:
    """From the founding of the house to its closing: before, in the middle of, and after writes."""
    assert _judge(_campaign(tmp_path, step=3, offset=1)) >= 100


@pytest.mark.chaos
@pytest.mark.timeout(0)
def test_ten_thousand_kills_lose_nothing_promised(tmp_path: Path) -> None:
    """The same without gaps, in each of the three ways, over one workload after another."""
    kills = seed = 0
    while kills < 10_000:
        for offset in (1, 2, 3):
            kills += _judge(_campaign(tmp_path, step=1, offset=offset, seed=seed))
        seed += 1


def test_the_checker_sees_an_answer_that_comes_before_the_commit(tmp_path: Path) -> None:
    """A checker that cannot fail proves nothing: here the promise is made too early."""
    campaign = _campaign(tmp_path, step=9, offset=1, bug="answer-before-commit")

    assert any(_wrong(found) == "a promised fact is gone" for found in campaign)


_LIVE = """
import asyncio, sys
from pathlib import Path
from tildawn.testing.notebook import note, open_notebook

async def main():
    ledger = open_notebook(Path(sys.argv[1]))
    async def caller(number):
        for at in range(10_000):
            await ledger.append([note(ledger, at, run=f"{number:032x}", text='"x"')])
            print(number, at, flush=True)
    await asyncio.gather(*(caller(number) for number in range(20)))

asyncio.run(main())
"""


@pytest.mark.parametrize("after", [1, 50, 333, 1_000])
def test_a_kill_among_many_callers_loses_nothing_promised(tmp_path: Path, after: int) -> None:
    """With SQLite's own disk, shared memory and batches of twenty callers."""
    folder = tmp_path / "house"
    child = subprocess.Popen(
        [sys.executable, "-c", _LIVE, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    lines = [child.stdout.readline() for _ in range(after)]
    child.send_signal(signal.SIGKILL)
    # What was still in the pipe was promised too; a line that was cut was not.
    lines += child.stdout.read().splitlines(keepends=True)
    child.stdout.close()
    assert child.wait(30) == -signal.SIGKILL
    promised = {tuple(map(int, line.split())) for line in lines if line.endswith("\n")}

    with open_notebook(folder) as ledger, ledger.read() as reader:
        stored = {(int(row.run, 16), row.key) for row in reader.rows(Note)}
    assert len(promised) >= after
    assert promised <= stored
    assert len(stored - promised) <= 20
    assert verify_notebook(folder).what == ""
