"""The crash grid: real SIGKILL at commits and around requests, over several task shapes.

What it is not: power loss or single disk operations; those are in ``tests/faults/ledger``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tildawn.testing import bugs


JUDGE = Path(__file__).with_name("judge.py")
HOUSES = 150
"""At two to three kills each: more than 300 in every run of the tests."""
HOUSES_IN_CHAOS = 2_200


def judged(folder: Path, first: int, count: int, *, bug: str = "", processes: int = 1) -> Any:
    """Run houses through their kills in processes of their own; the sums of what was seen."""
    done = subprocess.run(
        [sys.executable, str(JUDGE), str(folder), str(first), str(count), str(processes)],
        capture_output=True, text=True, check=False,
        env=os.environ | {bugs.VARIABLE: bug},
    )  # fmt: skip
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def hold_to_the_promises(sums: Any, *, kills: int) -> None:
    """Nothing is lost or doubled, nearly all goes on by itself, and soon."""
    assert {} == sums["broken"]
    assert sums["kills"] >= kills
    # Whether a call that may not be repeated took place, only its owner can know.
    stuck = sum(sums["held"].values()) - sums["held"].get("call-in-doubt", 0)
    assert stuck <= 0.1 * sums["interrupted"], sums
    assert sums["last_life_p99_s"] < 10


def in_words(sums: Any, first: int) -> str:
    """The sums of a campaign: a promise about recovery is reported with its n."""
    doubted = sums["held"].get("call-in-doubt", 0)
    able = sums["interrupted"] - doubted
    alone = sums["interrupted"] - sum(sums["held"].values())
    held = ", ".join(f"{number} {why}" for why, number in sums["held"].items()) or "none"
    return (
        f"\n{sums['kills']} kills in {sums['houses']} houses from seed {first},"
        f" {len(sums['broken'])} of them broken."
        f" {sums['interrupted']} runs interrupted, {doubted} of them in a call that only their"
        f" owner can settle; of the others {alone} ({alone / max(able, 1):.1%}) went on by"
        f" themselves. Held in all: {held}."
        f" The life after the last kill took {sums['last_life_p50_s']} s at p50,"
        f" {sums['last_life_p99_s']} s at p99, {sums['last_life_longest_s']} s at most."
    )


@pytest.mark.timeout(600)
def test_no_kill_loses_or_doubles_anything(tmp_path: Path, capsys: Any) -> None:
    """0 lost, 0 second effects, 0 blind repeats of ``never``, at most one rerun a branch."""
    sums = judged(tmp_path, 0, HOUSES)
    with capsys.disabled():
        print(in_words(sums, 0))  # noqa: T201  a promise is told with its n
    hold_to_the_promises(sums, kills=300)


@pytest.mark.chaos
@pytest.mark.timeout(10_000)
def test_five_thousand_kills_lose_or_double_nothing(tmp_path: Path, capsys: Any) -> None:
    """The same, with other seeds, for a night of its own."""
    sums = judged(tmp_path, 10_000, HOUSES_IN_CHAOS, processes=os.cpu_count() or 1)
    with capsys.disabled():
        print(in_words(sums, 10_000))  # noqa: T201  a promise is told with its n
    hold_to_the_promises(sums, kills=5_000)


@pytest.mark.parametrize("bug", ["key-per-attempt", "never-means-again", "steps-are-forgotten"])
def test_the_judge_sees_a_planted_bug(tmp_path: Path, bug: str) -> None:
    """A checker that finds nothing in a broken product proves nothing."""
    assert {} != judged(tmp_path, 0, 12, bug=bug)["broken"]
