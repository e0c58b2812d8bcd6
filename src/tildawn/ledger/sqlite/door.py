"""Opens the database of a house and says in which state it is.

What it is not: the pen; whoever opens to write holds it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import apsw

from tildawn.errors import HouseUnusable
from tildawn.facts.fact import Registry
from tildawn.ledger.archive import Archive
from tildawn.ledger.fold import Projection
from tildawn.ledger.sqlite.connection import Database, connect, opening_error
from tildawn.ledger.sqlite.migrate import migrate, schema_of, scripts
from tildawn.ledger.sqlite.rebuild import changed, rebuild
from tildawn.ledger.sqlite.tail import check_tail, ends
from tildawn.units import Seq


class Door:
    """A migrated database with a checked tail.

    ``unknown`` names the kinds of facts that the registry does not know, with versions; where
    there are some, the projections were not touched.
    """

    def __init__(self, database: Database) -> None:
        """Hold a connection."""
        self.database = database
        self.checked_from = Seq(0)
        self.first = b""
        self.last = b""
        self.unknown: list[str] = []

    def close(self) -> None:
        """Close the connection.

        Raises:
            Nothing.
        """
        self.database.close()


def open_to_write(
    path: Path,
    projections: Sequence[Projection],
    registry: Registry,
    *,
    archive: Archive,
    vfs: str = "",
    keep: Callable[[], None] | None = None,
) -> Door:
    """Open, migrate, check the tail, bring the projections up to date.

    Args:
        path: the file.
        projections: all of the house.
        registry: the kinds of facts.
        archive: has the bodies that left the database.
        vfs: name of an apsw VFS, for tests.
        keep: called before the schema or the projections of an older version are changed.

    Returns:
        The open database.

    Raises:
        HouseUnusable: SQLite cannot open the file.
        HouseTooNew: a newer version migrated it.
        LedgerBroken: the file is damaged or the tail does not verify.
        ArchiveMissing: the tables must be made again, and bodies are in an archive that is away.
    """
    door = Door(connect(path, vfs=vfs, write=True))
    try:
        if keep is not None and _older(door.database, projections, registry):
            keep()
        migrate(door.database)
        door.checked_from = check_tail(door.database)
        door.first, door.last = ends(door.database, archive)
        door.unknown = _unknown(door.database, registry)
        if not door.unknown:
            rebuild(door.database, projections, registry, archive=archive)
    except apsw.Error as error:
        door.close()
        raise opening_error(path, error) from error
    except BaseException:
        door.close()
        raise
    return door


def open_to_read(path: Path, projections: Sequence[Projection]) -> None:
    """Look whether a house can be read as it is; nothing is changed.

    Raises:
        HouseUnusable: SQLite cannot open the file, or its projections are of another version.
        HouseTooNew: a newer version migrated it.
        LedgerBroken: the file is damaged.
    """
    database = connect(path, write=False)
    try:
        if schema_of(database) == 0:
            message = f"{path} holds no ledger yet"
            raise HouseUnusable(message, hint="tildawn init")
        stale = [projection.name for projection in changed(database, projections)]
    except apsw.Error as error:
        raise opening_error(path, error) from error
    finally:
        database.close()
    if stale:
        message = f"projections were made by another version: {', '.join(stale)}"
        raise HouseUnusable(message, hint="open the house once with this version: tildawn up")


def _older(database: Database, projections: Sequence[Projection], registry: Registry) -> bool:
    """Whether opening will change what another version has made."""
    have = schema_of(database)
    if have == 0 or database.execute("SELECT size FROM head").fetchall() == [(0,)]:
        return False  # there is nothing yet
    if have < scripts()[-1][0]:
        return True
    return bool(changed(database, projections)) and not _unknown(database, registry)


def _unknown(database: Database, registry: Registry) -> list[str]:
    kinds = registry.kinds()
    found = database.execute("SELECT name, v FROM kind ORDER BY first").fetchall()
    return [
        f"{name} v{version}"
        for name, version in found
        if name not in kinds or version > kinds[name].VERSION
    ]
