"""Makes projection tables, and makes them again when their folds or columns changed.

What it is not: a repair.  A table that differs from its facts is reported by verify.
"""

import hashlib
from collections.abc import Sequence

import apsw
import msgspec

from tildawn.errors import HouseTooNew, LedgerBroken
from tildawn.facts.fact import Fact, RawFact, Registry
from tildawn.ledger.archive import Archive
from tildawn.ledger.fold import Projection
from tildawn.ledger.sqlite.bodies import Bodies
from tildawn.ledger.sqlite.connection import Database
from tildawn.ledger.sqlite.projector import Conflict, Projector
from tildawn.ledger.sqlite.tables import Shape, shapes_of
from tildawn.units import Seq


FLUSH_FACTS = 4_096


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """How a projection was made: fold version, digest of its tables, their names."""

    version: int
    shape: str
    tables: tuple[str, ...]


def changed(database: Database, projections: Sequence[Projection]) -> list[Projection]:
    """The projections whose tables are missing or were made by other folds or columns.

    Raises:
        apsw.Error: the disk refuses.
    """
    return [one for one in projections if _made(database, one.name) != wanted(one)]


def rebuild(
    database: Database,
    projections: Sequence[Projection],
    registry: Registry,
    *,
    archive: Archive,
) -> list[str]:
    """Bring the tables of all projections to today's folds, in one commit.

    A crash leaves the old tables; readers see the old ones until the commit.

    Args:
        database: the writing connection, outside a transaction.
        projections: all of the house.
        registry: decodes the facts.
        archive: has the bodies that left the database.

    Returns:
        The names of the projections that had changed.

    Raises:
        LedgerBroken: the facts contradict a fold or a table.
        HouseTooNew: a fact is newer than this version.
        ArchiveMissing: a body has left for an archive that is not there.
    """
    stale = changed(database, projections)
    if not stale:
        return []
    # All of them, because a fold may look at rows of another projection as of its fact.
    with database:
        for projection in projections:
            _clear(database, projection)
        _refold(database, projections, registry, archive)
        for projection in projections:
            note = msgspec.json.encode(wanted(projection)).decode()
            sql = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
            database.execute(sql, (_meta_key(projection.name), note))
    return [projection.name for projection in stale]


def _clear(database: Database, projection: Projection) -> None:
    before = _made(database, projection.name)
    shapes = shapes_of([projection]).values()
    for name in {*(before.tables if before else ()), *(shape.name for shape in shapes)}:
        database.execute(f"DROP TABLE IF EXISTS {name}")
    for shape in shapes:
        for statement in shape.create:
            for _ in database.execute(statement):
                pass


def _refold(
    database: Database, projections: Sequence[Projection], registry: Registry, archive: Archive
) -> None:
    whole = Bodies(database, archive).whole
    projector = Projector(database, projections)
    projector.careful = True
    known = set(projector.folds)
    seq = -1
    for seq, body in database.execute("SELECT seq, body FROM fact ORDER BY seq"):
        fact = registry.decode(body or whole(seq, body))
        if isinstance(fact, RawFact):
            message = f"fact {seq} is a {fact.kind}, which this Tildawn does not know"
            raise HouseTooNew(message, hint="pip install --upgrade tildawn")
        if type(fact.data) in known:
            _fold_one(projector, Seq(seq), fact)
        if seq % FLUSH_FACTS == FLUSH_FACTS - 1:
            _flush(projector, Seq(seq))
    _flush(projector, Seq(seq))


def _fold_one(projector: Projector, seq: Seq, fact: Fact) -> None:
    refusal = projector.fold(seq, fact)
    if refusal is not None:
        message = f"fact {seq} adds a row that is there: {refusal.row}"
        raise LedgerBroken(message, seq=seq)


def _flush(projector: Projector, seq: Seq) -> None:
    try:
        projector.flush()
    except (apsw.ConstraintError, Conflict) as error:
        message = f"a table refuses what the facts up to {seq} say: {error}"
        raise LedgerBroken(message, seq=seq) from error
    projector.keep()


def _made(database: Database, name: str) -> Made | None:
    sql = "SELECT value FROM meta WHERE key = ?"
    for (note,) in database.execute(sql, (_meta_key(name),)):
        try:
            return msgspec.json.decode(note, type=Made)
        except msgspec.DecodeError:
            return None
    return None


def wanted(projection: Projection) -> Made:
    """How this version makes a projection.

    Raises:
        Nothing.
    """
    shapes: list[Shape] = list(shapes_of([projection]).values())
    text = "\n".join(statement for shape in shapes for statement in shape.create)
    return Made(
        version=projection.version,
        shape=hashlib.sha256(text.encode()).hexdigest(),
        tables=tuple(shape.name for shape in shapes),
    )


def _meta_key(name: str) -> str:
    return f"projection:{name}"
