"""One measurement in a process of its own: prints what was measured as one line of JSON.

What it is not: called by hand; ``python -m benchmarks --only NAME`` does that.

Usage: python -m benchmarks.child PART ORDER
"""

import time


#: The first line of ours that runs: what is imported and opened counts from here.
BEGAN = time.perf_counter()

import importlib  # noqa: E402 - the clock first
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from dataclasses import asdict, dataclass  # noqa: E402
from pathlib import Path  # noqa: E402

from benchmarks.sizes import Sizes  # noqa: E402


ABSENT = 69
"""Exit code where the contender is not installed. Source: sysexits.h, EX_UNAVAILABLE."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to measure: whom, where, how much, and in which turn.

    ``houses`` is the folder of what `benchmarks.workloads.building` has made; ``began`` is when
    this process did.
    """

    workload: str
    contender: str
    folder: Path
    houses: Path
    sizes: Sizes
    turn: int = 0
    began: float = 0.0

    def command(self, part: str = "measure") -> list[str]:
        """The command that runs a part of this workload in a fresh process."""
        text = json.dumps(asdict(self), default=str)
        return [sys.executable, "-m", "benchmarks.child", part, text]


def _order(text: str) -> Order:
    said = json.loads(text)
    return Order(
        workload=said["workload"], contender=said["contender"], folder=Path(said["folder"]),
        houses=Path(said["houses"]), sizes=Sizes(**said["sizes"]), turn=said["turn"], began=BEGAN,
    )  # fmt: skip


def main() -> None:
    """Run one part of one workload."""
    part, text = sys.argv[1:]
    order = _order(text)
    module = importlib.import_module(f"benchmarks.workloads.{order.workload}")
    try:
        found = getattr(module, part)(order)
    except ModuleNotFoundError as error:
        if str(error.name).startswith(("benchmarks", "tildawn")):
            raise
        print(error.name, file=sys.stderr)
        os._exit(ABSENT)
    print(json.dumps(found), flush=True)
    # Threads of a contender that would rather go on are none of our business here.
    os._exit(0)


if __name__ == "__main__":
    main()
