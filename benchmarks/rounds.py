"""The order of things: rounds, in each every workload, in each every contender, in turns.

What it is not: a measurement.  Each one runs in a process of its own and prints its figures.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.bars import Workload
from benchmarks.child import ABSENT, Order
from benchmarks.sizes import Sizes


PATIENCE = 900
"""Seconds after which a measurement is ended and noted as failed."""

Key = tuple[str, str]


@dataclass
class Found:
    """Samples by (workload, contender); who was not there, and what failed."""

    samples: dict[Key, list[dict[str, float]]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    built: dict[str, float] = field(default_factory=dict)


def measure_all(
    workloads: Sequence[Workload], sizes: Sizes, base: Path | None, say: Callable[[str], None]
) -> Found:
    """Interleave everything.

    Args:
        workloads: what to do.
        sizes: how much.
        base: where to work, on the disk that is measured; the temporary folder when absent.
        say: told what is going on.
    """
    found = Found()
    with tempfile.TemporaryDirectory(prefix="tildawn-bench-", dir=base) as folder:
        houses = Path(folder) / "houses"
        houses.mkdir()
        if any(workload.houses for workload in workloads):
            say("building the long houses")
            order = Order(
                workload="building", contender="tildawn", folder=houses, houses=houses, sizes=sizes
            )
            found.built = _child(order, found) or {}
        for turn in range(sizes.rounds):
            for workload in workloads:
                if turn < workload.rounds:
                    say(f"round {turn + 1} of {sizes.rounds}: {workload.title}")
                    _one(workload, sizes, Path(folder), (turn, found))
    return found


def _one(workload: Workload, sizes: Sizes, base: Path, now: tuple[int, Found]) -> None:
    turn, found = now
    # Who comes first sees another disk than who comes last; so everybody is first once.
    shift = turn % len(workload.contenders)
    for contender in workload.contenders[shift:] + workload.contenders[:shift]:
        if contender in found.absent:
            continue
        with tempfile.TemporaryDirectory(dir=base) as folder:
            order = Order(
                workload=workload.name, contender=contender, folder=Path(folder),
                houses=base / "houses", sizes=sizes, turn=turn,
            )  # fmt: skip
            sample = _child(order, found)
        if sample:
            found.samples.setdefault((workload.name, contender), []).append(sample)


def _child(order: Order, found: Found) -> dict[str, float] | None:
    try:
        done = subprocess.run(
            order.command(), capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        said, code = f"no end after {PATIENCE} s", -1
    else:
        said, code = done.stderr.strip(), done.returncode
        if code == 0:
            sample: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
            return sample
    if code == ABSENT:
        found.absent[order.contender] = said.splitlines()[-1]
    else:
        failure = {"workload": order.workload, "contender": order.contender, "said": said[-2_000:]}
        found.failures.append(failure)
        print(f"FAILED {order.workload} {order.contender}: {said[-500:]}", file=sys.stderr)
    return None
