"""What an error of SQLite says about the disk: no room, later, or nobody knows.

What it is not: what a table objects to; the store knows that by itself.
"""

import errno

import apsw

from tildawn.errors import CommitInDoubt, StoreFull
from tildawn.ledger.sqlite.connection import Database


_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""A full disk, a used-up quota, and the longest file that this process may have."""


def no_room(error: Exception, database: Database) -> StoreFull | None:
    """The refusal, where a write failed because there is no room.

    SQLite calls only a full disk by its name; a quota and a limit on files are plain errors of
    writing to it.  A write that was refused is no failed sync: nothing of the batch can come
    back, because a frame of the log that is not whole is none.

    Args:
        error: as SQLite raised it.
        database: the connection that it came from.

    Raises:
        Nothing.
    """
    if isinstance(error, apsw.FullError):
        return StoreFull(hint="free some space; work resumes by itself")
    # An error that a VFS of a test raises by itself carries no number.
    if getattr(error, "extendedresult", 0) != apsw.SQLITE_IOERR_WRITE:
        return None
    if database.system_errno not in _NO_ROOM:
        return None
    return StoreFull(hint="raise the quota or the limit (ulimit -f); work resumes by itself")


def later(error: apsw.Error, database: Database) -> bool:
    """Whether it may go away by itself, where nothing is lost by waiting.

    Raises:
        Nothing.
    """
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return True
    return no_room(error, database) is not None


def doubt(error: Exception) -> CommitInDoubt:
    """Any other failure: whether the batch is there shows after a restart.

    Raises:
        Nothing.
    """
    message = f"the disk failed while committing: {error}"
    return CommitInDoubt(message, hint="start again; the tail of the ledger is checked then")
