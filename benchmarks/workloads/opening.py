"""Import and open what is there already: seconds until it is ready, and resident memory.

What it is not: the first opening, which also makes the file, nor the start of Python itself.
"""

import json
import subprocess
import time

from benchmarks.child import Order
from benchmarks.contenders.contender import contender
from benchmarks.figures import resident_mb


def measure(order: Order) -> dict[str, float]:
    """Open it once, then again in a fresh process, which is measured."""
    found: dict[str, float] = {}
    for _ in range(2):
        began = time.perf_counter()
        done = subprocess.run(order.command("opened"), check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        found["process_s"] = time.perf_counter() - began
    return found


def opened(order: Order) -> dict[str, float]:
    """Import, open, be ready."""
    engine = contender(order.contender, order.folder)
    engine.start()
    found = {"open_s": time.perf_counter() - order.began, "resident_mb": resident_mb()}
    engine.stop()
    return found
