"""``python -m tildawn.faces.local HOUSE``: the worker as a process.

What it is not: for people; ``tildawn up`` and ``tildawn night`` start it.
"""

import os
import sys
from pathlib import Path

from tildawn.faces.local.worker import say, work


def main(arguments: list[str]) -> int:
    """Work in a house.

    Args:
        arguments: the house, then settings as NAME=VALUE.

    Returns:
        The exit code.

    Raises:
        Nothing.
    """
    folder, *settings = arguments
    flags = dict(one.split("=", 1) for one in settings)
    return work(Path(folder), flags=flags, announce=say)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of steps that will not end must not keep the process; the ledger is closed.
    os._exit(code)
