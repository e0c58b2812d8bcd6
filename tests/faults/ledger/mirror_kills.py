"""Works in a house with a mirror until it is killed at a chosen moment; run as a process.

What it is not: a test; test_mirror_kill.py starts it and judges.

Usage: mirror_kills.py HOUSE MIRROR HOW NUMBER.  HOW is where the batch NUMBER dies: after
the mirror's sync and before the commit, after the commit and before the mirror, with half of
its frames written, or right after its answer.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tildawn.ledger import shelf
from tildawn.ledger.mirror import Mirror, Wish
from tildawn.testing.bugs import planted
from tildawn.testing.notebook import note, open_notebook


SIZES = (1, 3, 1, 40, 2, 1, 5)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _plant(how: str, number: int) -> None:
    """Die in the batch with that number, counted from the first one of the workload."""
    count = 0
    begin, join, write = Mirror.begin, Mirror.join, os.write

    def dying_begin(self: Any, batch: Any) -> None:
        nonlocal count
        count += 1
        if count == number and how == "commit-first":
            return
        begin(self, batch)
        if count == number and how == "mirror-first":
            self._await()
            _die()

    def dying_join(self: Any) -> None:
        if count == number and how == "commit-first":
            _die()
        join(self)

    def torn_write(handle: int, content: Any) -> int:
        if count == number and how == "torn":
            write(handle, bytes(content)[: len(content) // 2])
            _die()
        return write(handle, content)

    patch.multiple(Mirror, begin=dying_begin, join=dying_join).start()
    patch.object(shelf.os, "write", torn_write).start()


def main() -> None:
    """See the top of the file."""
    house, copy, how, number = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    with planted():
        ledger = open_notebook(house, mirror=Wish(mode="sync-degrade", folder=copy))
        _plant(how, number)
        done = 0
        for at, size in enumerate(SIZES, 1):
            ledger.append_now(
                [note(ledger, done + key, run="r", text=f'"{done + key}"') for key in range(size)]
            )
            done += size
            sys.stdout.write(f"{done}\n")
            sys.stdout.flush()
            if at == number and how == "answered":
                _die()


main()
