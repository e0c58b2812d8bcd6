"""Kills a writer again and again, and prints what was found afterwards; run as a process.

What it is not: a test; test_kill.py starts it and judges.  It forks, so it must have one thread
and be a process of its own.

Usage: kills.py FOLDER STEP OFFSET SEED.  It kills at the operations OFFSET, OFFSET + STEP, … of one
workload, until the workload ends alive, and prints one line of JSON for each.  Seed 0 is the
workload of old, any other makes one.
"""

import json
import os
import shutil
import signal
import sys
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

from tildawn.errors import TildawnError
from tildawn.ledger import writer
from tildawn.testing.bugs import planted
from tildawn.testing.disk import Fault, FaultyDisk
from tildawn.testing.notebook import Note, note, open_notebook, verify_notebook


SIZES = (1, 1, 2, 5, 1, 9, 1, 3, 1, 1, 40, 1)
HOW = ("kill", "tear", "kill-after")


def sizes(seed: int) -> tuple[int, ...]:
    """How many facts each append has."""
    rng = Random(seed)
    return tuple(rng.choice((1, 1, 1, 2, 5, 40)) for _ in SIZES) if seed else SIZES


def work(folder: Path, fault: Fault, acks: int, seed: int) -> None:
    """Append in the order of keys, and say after each append what is acknowledged."""
    writer.CHECKPOINT_PAGES = 30
    with planted(), FaultyDisk("kills", [fault]):
        ledger = open_notebook(folder, vfs="kills")
        done = 0
        for size in sizes(seed):
            ledger.append_now(
                [note(ledger, done + at, run="r", text=f'"{done + at}"') for at in range(size)]
            )
            done += size
            os.write(acks, b"%d\n" % done)
        ledger.close()


def killed(folder: Path, fault: Fault, seed: int) -> tuple[bool, int]:
    """Run the workload in a child; whether it was killed, and how many notes it had promised."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work(folder, fault, writing, seed)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        lines = pipe.read().split()
    _, status = os.waitpid(child, 0)
    dead = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    return dead, int(lines[-1]) if lines else 0


def examine(folder: Path, promised: int) -> dict[str, Any]:
    """What is there after the kill; the house is opened again, as its owner would."""
    try:
        with open_notebook(folder) as ledger, ledger.read() as reader:
            keys = sorted(row.key for row in reader.rows(Note))
            history = len(reader.history("r"))
        verdict = verify_notebook(folder)
    except TildawnError as error:
        return {"error": f"{error.code}: {error.message}", "promised": promised}
    return {
        "promised": promised,
        "stored": len(keys),
        "contiguous": keys == list(range(len(keys))) and history == len(keys),
        "verdict": verdict.state.value,
        "what": verdict.what,
    }


def main() -> None:
    """See the top of the file."""
    base, step, number, seed = Path(sys.argv[1]), *map(int, sys.argv[2:])
    totals = list(accumulate(sizes(seed)))
    while True:
        folder = base / str(number)
        fault = Fault(at=number, what=HOW[number // step % 3])
        dead, promised = killed(folder, fault, seed)
        found = {"at": number, "how": fault.what, "dead": dead, "totals": totals}
        found |= examine(folder, promised)
        shutil.rmtree(folder, ignore_errors=True)
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
        if not dead:
            return
        number += step


main()
