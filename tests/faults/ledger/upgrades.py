"""Opens copies of an old house, and is killed while it upgrades them; run as a process.

What it is not: a test; test_migration.py starts it and judges.  It forks, so it must have one
thread and be a process of its own.

Usage: upgrades.py OLD FOLDER STEP.  It kills at every STEP-th operation on the disk, in each copy
at a later one, until one opens alive, and prints one line of JSON for each.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from tildawn.testing.bugs import planted
from tildawn.testing.disk import Fault, FaultyDisk
from tildawn.testing.notebook import open_notebook


HOW = ("kill", "tear", "kill-after")


def killed(folder: Path, fault: Fault) -> bool:
    """Whether a child was killed that opened a house and closed it again."""
    child = os.fork()
    if child == 0:
        try:
            with planted(), FaultyDisk("upgrades", [fault]):
                open_notebook(folder, vfs="upgrades").close()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def main() -> None:
    """See the top of the file."""
    old, base, step = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    number, dead = 1, True
    while dead:
        folder = Path(shutil.copytree(old, base / str(number)))
        dead = killed(folder, Fault(at=number, what=HOW[number // step % 3]))
        sys.stdout.write(json.dumps({"at": number, "dead": dead}) + "\n")
        number += step


main()
