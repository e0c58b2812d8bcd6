"""Proving a long ledger: hashes and form alone, everything, and with the verifier of docs/spec.

What it is not: opening; that checks only the tail.
"""

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.child import Order
from tildawn.ledger.verdict import State
from tildawn.ledger.verify import verify
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY


ALONE = Path(__file__).parents[2] / "docs/spec/verify_ledger.py"


def measure(order: Order) -> dict[str, float]:
    """Seconds of each."""
    found: dict[str, float] = {}
    house = order.houses / "long"
    for name, hashes_only in (("hashes_s", True), ("whole_s", False)):
        began = time.perf_counter()
        verdict = verify(house, registry=REGISTRY, projections=PROJECTIONS, hashes_only=hashes_only)
        found[name] = time.perf_counter() - began
        if verdict.state is not State.PROVEN:
            message = f"the house is not proven: {verdict}"
            raise RuntimeError(message)
        found["facts"] = verdict.size
    began = time.perf_counter()
    command = [sys.executable, "-I", "-S", str(ALONE), "ledger", str(house)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return found | {"alone_s": time.perf_counter() - began}
