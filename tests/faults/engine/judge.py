"""Judges houses of the crash grid, and adds up what was seen.

What it is not: the killing; grid.py does that, in processes of its own.

Usage: judge.py FOLDER FIRST COUNT [PROCESSES].  Prints one JSON object; exit code 1 when a house
broke a promise.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any


GRID = Path(__file__).with_name("grid.py")
#: Branches of the twelve runs and their children that can be in flight at once.
BRANCHES = 4 * (1 + 4 + 2 + 1)


def campaign(folder: Path, first: int, count: int, processes: int) -> list[dict[str, Any]]:
    """Run houses through their kills, in so many processes at once."""
    share = -(-count // processes)
    starts = range(first, first + count, share)
    going: list[subprocess.Popen[str]] = []
    for number, start in enumerate(starts):
        place = folder / str(number)
        place.mkdir(parents=True, exist_ok=True)
        houses = min(share, first + count - start)
        going.append(
            subprocess.Popen(
                [sys.executable, str(GRID), str(place), str(start), str(houses)],
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    said = [one.communicate()[0] for one in going]
    assert [one.returncode for one in going] == [0] * len(going)
    return [json.loads(line) for text in said for line in text.splitlines()]


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


def summed(houses: list[dict[str, Any]]) -> dict[str, Any]:
    """What was seen, with its n."""
    whole = [house for house in houses if "error" not in house]
    held = Counter(why for house in whole for why in house["held"])
    lives = sorted(house["recovery_s"] for house in whole if house["kills"])
    return {
        "houses": len(houses),
        "kills": sum(house["kills"] for house in whole),
        "broken": {house["seed"]: what for house in houses if (what := wrong(house))},
        "interrupted": sum(house["interrupted"] for house in whole),
        "held": dict(held),
        "last_life_p50_s": _percentile(lives, 0.5),
        "last_life_p99_s": _percentile(lives, 0.99),
        "last_life_longest_s": _percentile(lives, 1),
    }


def _percentile(ordered: list[float], part: float) -> float:
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0


if __name__ == "__main__":
    place, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    at_once = int(sys.argv[4]) if sys.argv[4:] else 1
    sums = summed(campaign(place, first, count, at_once))
    print(json.dumps(sums, indent=1))  # noqa: T201  whoever started it reads it
    sys.exit(1 if sums["broken"] else 0)
