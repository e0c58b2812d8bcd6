"""A real ``kill -9`` in the middle of many runs, and a second process that goes on with them.

What it is not: a power cut; the tests of the ledger play that.
"""

import json
import subprocess
import time
from collections import Counter
from pathlib import Path

from benchmarks.child import Order
from benchmarks.contenders.contender import Hits, contender


PATIENCE = 60.0
"""Seconds after which a contender that does not end is ended."""


def measure(order: Order) -> dict[str, float]:
    """What was lost, what ran again, and how long until everything was done."""
    log = order.folder / "hits"
    total = order.sizes.runs * order.sizes.steps_a_run
    first = subprocess.Popen(order.command("life"), stdout=subprocess.DEVNULL)
    _wait(first, log, total // 2)
    first.kill()
    first.wait()
    before = _count(log)
    began = time.perf_counter()
    second = subprocess.Popen(order.command("life"), stdout=subprocess.PIPE, text=True)
    last = began
    try:
        seen = before
        while second.poll() is None and time.perf_counter() - began < PATIENCE:
            if (count := _count(log)) > seen:
                seen, last = count, time.perf_counter()
            time.sleep(0.001)
    finally:
        second.kill()
    said, _ = second.communicate()
    hits = Counter(log.read_text().split())
    return {
        "killed_after_steps": before, "done_s": last - began,
        "lost": total - len(hits), "ran_again": sum(hits.values()) - len(hits),
        "most_times": max(hits.values()), "ended": len(json.loads(said or "[]")),
    }  # fmt: skip


def life(order: Order) -> list[int]:
    """One life: start the runs, or go on with them."""
    engine = contender(order.contender, order.folder)
    engine.start()
    engine.carry_on(order.sizes.runs, order.sizes.steps_a_run, Hits(order.folder / "hits"))
    return [1]


def _wait(process: "subprocess.Popen[bytes]", log: Path, hits: int) -> None:
    began = time.perf_counter()
    while _count(log) < hits:
        if process.poll() is not None or time.perf_counter() - began > PATIENCE:
            message = f"it ended or hung before step {hits}"
            raise RuntimeError(message)
        time.sleep(0.0005)


def _count(log: Path) -> int:
    try:
        return log.stat().st_size // Hits.LINE_BYTES
    except FileNotFoundError:
        return 0
