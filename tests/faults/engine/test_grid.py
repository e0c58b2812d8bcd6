"""The crash grid: real SIGKILL at commits and around requests, over several task shapes.

What it is not: power loss or single disk operations; those are in ``tests/faults/ledger``.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tildawn.testing import bugs


GRID = Path(__file__).with_name("grid.py")
HOUSES = 150
"""At two to three kills each: more than 300 in every run of the tests."""
HOUSES_IN_CHAOS = 2_200
#: Branches of the twelve runs and their children that can be in flight at once.
BRANCHES = 4 * (1 + 4 + 2 + 1)


def campaign(folder: Path, first: int, count: int, bug: str = "") -> list[dict[str, Any]]:
    """Run houses through their kills in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(GRID), str(folder), str(first), str(count)],
        capture_output=True, text=True, check=False, timeout=3_000,
        env=os.environ | {bugs.VARIABLE: bug},
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode:
        rows.append({"error": done.stderr[-2_000:], "seed": first + len(rows)})
    return rows


def wrong(house: dict[str, Any]) -> str:
    """Which promise a house broke, in words; empty when all held."""
    if "error" in house:
        return str(house["error"])
    applied = Counter(row["item"] for row in house["effects"] if row["applied"])
    ran = Counter(house["steps"])
    reruns = sum(ran.values()) - len(ran)
    problems = {
        "the ledger does not verify": house["verdict"] != "proven",
        "a run did not end well": house["states"] != ["done"],
        "an accepted run is gone": house["missing"] > 0 or house["runs"] != 16,
        "an effect is missing": len(applied) != 20,
        "an effect happened twice": max(applied.values()) > 1,
        "a call that may not be repeated was dispatched again": any(
            # An owner who has looked may say that it did not happen.
            attempt > 1 + house["kills"]
            for _, attempt in house["never"]
        ),
        "a step is missing": len(ran) != 4 * 5 * 2 + 4 + 4 * 2,
        "a recorded step ran again": max(ran.values()) > 1 + house["kills"]
        or reruns > house["kills"] * BRANCHES,
    }
    return "; ".join(words for words, broken in problems.items() if broken)


def judged(folder: Path, first: int, count: int, *, kills: int) -> None:
    """Run houses and hold them to the promises; says what was seen, with n."""
    houses = campaign(folder, first, count)
    broken = {house["seed"]: what for house in houses if (what := wrong(house))}
    assert broken == {}
    killed = sum(house["kills"] for house in houses)
    slow = sorted(house["recovery_s"] for house in houses)
    p99 = slow[int(len(slow) * 0.99)]
    print(  # noqa: T201 - a promise about recovery is reported with its n
        f"{killed} kills in {len(houses)} houses from seed {first}: all recovered by themselves,"
        f" the life after the last kill took {p99} s at p99"
    )
    assert killed >= kills


@pytest.mark.timeout(600)
def test_no_kill_loses_or_doubles_anything(tmp_path: Path) -> None:
    """0 lost, 0 second effects, 0 blind repeats of ``never``, at most one rerun a branch."""
    judged(tmp_path, 0, HOUSES, kills=300)


@pytest.mark.chaos
@pytest.mark.timeout(7_200)
def test_five_thousand_kills_lose_or_double_nothing(tmp_path: Path) -> None:
    """The same, with other seeds, for a night of its own."""
    judged(tmp_path, 10_000, HOUSES_IN_CHAOS, kills=5_000)


@pytest.mark.parametrize("bug", ["key-per-attempt", "never-means-again", "steps-are-forgotten"])
def test_the_judge_sees_a_planted_bug(tmp_path: Path, bug: str) -> None:
    """A checker that finds nothing in a broken product proves nothing."""
    found = [what for house in campaign(tmp_path, 0, 12, bug) if (what := wrong(house))]
    assert found != []
