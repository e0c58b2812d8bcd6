"""What a process of ours says about errors, without the secrets that they quote.

What it is not: the record or the log; those have their own look, in front of the disk.
"""

import os
import sys
import threading
import traceback
from types import TracebackType

from tildawn.ledger.secret import Secrets, secrets_in


def hushed(text: str) -> str:
    """The text with secrets of this environment, and whatever looks like one, blacked out.

    Raises:
        Nothing.
    """
    return Secrets(secrets_in(os.environ)).without(text)


def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show a traceback as Python does, with secrets blacked out.

    Raises:
        Nothing.
    """
    sys.stderr.write(hushed("".join(traceback.format_exception(kind, error, trace))))


def hush_tracebacks() -> None:
    """From now on no traceback of this process shows a secret, whichever thread it ends.

    Raises:
        Nothing.
    """
    sys.excepthook = show
    threading.excepthook = _thread_ended


def _thread_ended(said: threading.ExceptHookArgs) -> None:
    if said.exc_type is SystemExit:
        return  # as Python itself keeps silent about it
    name = said.thread.name if said.thread is not None else "a thread"
    trace = traceback.format_exception(said.exc_type, said.exc_value, said.exc_traceback)
    sys.stderr.write(hushed(f"Exception in {name}:\n{''.join(trace)}"))
