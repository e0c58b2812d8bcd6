"""Appends what it is told to, line by line, and says what became of it; run as a process.

What it is not: a test; test_system.py starts it and judges.

Usage: appends.py FOLDER.  Each line of the standard input is ``append FIRST COUNT BYTES``, for
one append of so many notes with payloads of that length, or ``limit BYTES`` for the longest file
that this process may write from now on (0: none).  The answer is one line of JSON.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any

from tildawn.errors import TildawnError
from tildawn.ledger.ledger import Ledger
from tildawn.testing.bugs import planted
from tildawn.testing.notebook import note, open_notebook


def append(ledger: Ledger, first: int, count: int, size: int) -> dict[str, Any]:
    """One append; what was promised, or why it was refused."""
    keys = list(range(first, first + count))
    text = '"' + "x" * size + '"'
    try:
        ledger.append_now([note(ledger, key, run="r", text=text) for key in keys])
    except TildawnError as error:
        return {"refused": error.code, "keys": keys, "hint": error.hint}
    return {"kept": keys}


def main() -> None:
    """See the top of the file."""
    with planted():
        ledger = open_notebook(Path(sys.argv[1]))
        print(json.dumps({"epoch": ledger.epoch}), flush=True)  # noqa: T201 - it speaks to a test
        for line in sys.stdin:
            word, *numbers = line.split()
            if word == "limit":
                most = int(numbers[0]) or resource.RLIM_INFINITY
                hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
                resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
                said: dict[str, Any] = {"limit": most}
            else:
                said = append(ledger, *map(int, numbers))
            print(json.dumps(said), flush=True)  # noqa: T201 - it speaks to a test
        ledger.close()


main()
