"""``python -m tildawn.faces.local JOB``: the worker as a process.

What it is not: for people; ``tildawn up`` and ``tildawn night`` start it.
"""

import os
import sys

from tildawn.faces.local.worker import work
from tildawn.runtime.job import RESTARTED, job_of


if __name__ == "__main__":
    code = work(job_of(sys.argv[1]), restarted=RESTARTED in sys.argv[2:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of steps that will not end must not keep the process; the ledger is closed.
    os._exit(code)
