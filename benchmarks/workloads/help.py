"""How long ``tildawn --help`` takes, beside an interpreter that does nothing.

What it is not: the help.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.child import Order


def measure(order: Order) -> dict[str, float]:
    """Seconds of each, the median of a few, in turns."""
    tildawn = str(Path(sys.executable).with_name("tildawn"))
    commands = {"help_s": [tildawn, "--help"], "python_s": [sys.executable, "-c", "pass"]}
    took: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(order.sizes.starts):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            took[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in took.items()}
