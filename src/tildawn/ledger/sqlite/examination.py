"""What SQLite says of the file of a house, for the doctor.

What it is not: a proof; `tildawn.ledger.verify` derives everything again.
"""

from pathlib import Path

import apsw

from tildawn.errors import TildawnError
from tildawn.ledger.sqlite.connection import check_version, connect


def sqlite_state(path: Path) -> tuple[str, str]:
    """The version of SQLite with the journal of the file, and what is wrong; empty when nothing.

    Raises:
        Nothing.
    """
    version = apsw.sqlite_lib_version()
    try:
        check_version(version)
        if not path.is_file():
            return version, ""
        database = connect(path, write=False)
        try:
            journal = database.pragma("journal_mode")
            return f"{version}, {journal}", "" if journal == "wal" else "the journal is not wal"
        finally:
            database.close()
    except (TildawnError, apsw.Error) as error:
        return version, str(error)
