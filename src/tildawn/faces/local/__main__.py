"""``python -m tildawn.faces.local JOB``: the worker as a process.

What it is not: for people; ``tildawn up`` and ``tildawn night`` start it.
"""

import os
import sys

from tildawn.faces.local.worker import work
from tildawn.runtime.job import BROKE, RESTARTED, job_of


if __name__ == "__main__":
    more = sys.argv[2:]
    code = work(job_of(sys.argv[1]), restarted=RESTARTED in more, broke=BROKE in more)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of steps that will not end must not keep the process; the ledger is closed.
    os._exit(code)
