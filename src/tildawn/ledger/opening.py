"""Opens a house: disk, pen, database, schema, tail, kinds, projections, in this order.

What it is not: repair.  What is wrong is said, and nothing is changed.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tildawn.clock import Clock
from tildawn.errors import HouseTooNew, HouseUnusable, LedgerBroken
from tildawn.facts.fact import FactData, Registry
from tildawn.facts.house import HouseFounded, HouseRestored, PenLaid
from tildawn.ids import Ids
from tildawn.ledger.archive import Archive
from tildawn.ledger.blobs import Blobs
from tildawn.ledger.disk import check_folder
from tildawn.ledger.durable import sync_folder, write_durably
from tildawn.ledger.fold import Projection
from tildawn.ledger.keys import make_key, read_key
from tildawn.ledger.layout import Layout
from tildawn.ledger.mirror import Mirror, Wish
from tildawn.ledger.pen import Pen
from tildawn.ledger.reunion import reunite
from tildawn.ledger.snapshot import Snapshot, take
from tildawn.ledger.sqlite.door import Door, open_to_read, open_to_write
from tildawn.ledger.sqlite.store import Store
from tildawn.ledger.sqlite.tail import ends
from tildawn.ledger.swap import decided, finish
from tildawn.units import Seq


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What a house is opened with."""

    registry: Registry
    projections: Sequence[Projection]
    clock: Clock
    ids: Ids
    build: str
    vfs: str = ""
    mirror: Wish | None = None


class Opened(msgspec.Struct, kw_only=True):
    """An opened house before anything was recorded.

    Without a pen it can only be read; ``refusal`` says why when it was to be written.
    ``checked_from`` is where the check of the tail began; ``first``
    and ``last`` are the bodies of those facts, empty in a new house.  ``kept`` is the snapshot
    that was taken before what an older version had made was changed.
    """

    layout: Layout
    key: bytes
    blobs: Blobs
    archive: Archive
    pen: Pen | None = None
    store: Store | None = None
    mirror: Mirror | None = None
    refusal: HouseTooNew | None = None
    checked_from: Seq = Seq(0)
    kept: Snapshot | None = None
    first: bytes = b""
    last: bytes = b""

    def close(self) -> None:
        """Let go of mirror, database and pen, in this order.

        Raises:
            Nothing.
        """
        if self.mirror is not None:
            self.mirror.close()
        if self.store is not None:
            self.store.close()
        if self.pen is not None:
            self.pen.lay()

    def speak(self, tell: Callable[[FactData], None]) -> None:
        """From now on put on record at once what the mirror has to say.

        Raises:
            Nothing.
        """
        if self.mirror is not None:
            self.mirror.speak(tell)

    def news(self) -> list[FactData]:
        """What the mirror has to say, taken out.

        Raises:
            Nothing.
        """
        if self.mirror is None:
            return []
        news, self.mirror.news = self.mirror.news, []
        return news


def open_house(folder: Path, setup: Setup, *, write: bool) -> Opened:
    """Open a house; made when there is none and it is to be written.

    Args:
        folder: the house.
        setup: kinds, folds, clock and names.
        write: take the pen.

    Returns:
        The house, its tail checked and its projections up to date.

    Raises:
        HouseLocked: another process holds the pen.
        HouseUnusable: the disk, the key or SQLite will not do, or there is no house to read.
        HouseTooNew: a newer version of Tildawn wrote it.
        LedgerBroken: the tail does not verify, or the file is damaged.
    """
    layout = Layout(folder)
    if not write:
        return _to_read(layout, setup)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        message = f"{folder} cannot be made: {error.strerror}"
        raise HouseUnusable(message, hint="choose a folder you may write to") from error
    check_folder(folder)
    pen = Pen.take(layout.pen, clock=setup.clock, build=setup.build)
    try:
        return _with_pen(layout, setup, pen)
    except BaseException:
        pen.lay()
        raise


def laid(body: bytes, registry: Registry) -> bool:
    """Whether a last fact says that the pen was laid down in order.

    A restore is no death: what was going on is put back, and counts against nobody.

    Raises:
        msgspec.DecodeError: it says nothing.
    """
    return isinstance(registry.decode(body).data, PenLaid | HouseRestored)


def name_in(body: bytes, registry: Registry) -> str:
    """The name that a fact gave a log: the first one, or the one of the last restore.

    Raises:
        LedgerBroken: the fact gives none.
    """
    data = registry.decode(body).data
    if not isinstance(data, HouseFounded | HouseRestored):
        message = "no fact says what the house is called"
        raise LedgerBroken(message, seq=0)
    return data.name


def note_founded(layout: Layout, name: str) -> None:
    """Remember outside the database that this house has facts; repeated, it does nothing.

    Raises:
        HouseUnusable: the disk refuses.
    """
    if layout.founded.exists():
        return
    try:
        layout.founded.parent.mkdir(exist_ok=True, mode=0o700)
        write_durably(layout.founded, f"{name}\n".encode())
        sync_folder(layout.folder)
    except OSError as error:
        message = f"{layout.founded} cannot be written: {error.strerror}"
        raise HouseUnusable(message, hint="free some space, or make it writable") from error


def _to_read(layout: Layout, setup: Setup) -> Opened:
    if decided(layout) is not None:
        message = f"a restore of {layout.folder} was cut off, and is finished by who writes next"
        raise HouseUnusable(message, hint="tildawn up")
    if not layout.database.exists():
        message = f"there is no house in {layout.folder}"
        raise HouseUnusable(message, hint="tildawn init")
    open_to_read(layout.database, setup.projections)
    blobs = Blobs(layout.blobs, setup.clock)
    archive = Archive(layout.archive)
    return Opened(layout=layout, key=read_key(layout.key), blobs=blobs, archive=archive)


def _with_pen(layout: Layout, setup: Setup, pen: Pen) -> Opened:
    _finish_restore(layout)
    _refuse_lost(layout, setup.mirror)
    # A crash between the key and the first fact leaves a key without a ledger; it is used then.
    if not layout.database.exists():
        make_key(layout.key, setup.ids)
    key = read_key(layout.key)
    blobs = Blobs(layout.blobs, setup.clock)
    archive = Archive(layout.archive)
    opened = Opened(layout=layout, key=key, blobs=blobs, archive=archive, pen=pen)

    def keep() -> None:
        # A crash after this leaves one more snapshot, and the house as it was.
        opened.kept = take(layout, clock=setup.clock, build=setup.build, why="upgrade")

    # Files written in Python have no shared memory, so nobody can read such a house beside us.
    beside = None if setup.vfs else keep
    door = open_to_write(
        layout.database, setup.projections, setup.registry,
        archive=archive, vfs=setup.vfs, keep=beside,
    )  # fmt: skip
    try:
        return _checked(opened, setup, door)
    except BaseException:
        door.close()
        raise


def _finish_restore(layout: Layout) -> None:
    try:
        finish(layout)
    except OSError as error:
        message = f"a restore cannot be finished: {error.filename}: {error.strerror}"
        raise HouseUnusable(message, hint="look at the disk, then try again") from error


def _checked(opened: Opened, setup: Setup, door: Door) -> Opened:
    opened.checked_from, opened.first, opened.last = door.checked_from, door.first, door.last
    if not opened.last and opened.layout.founded.exists():
        raise _lost(opened.layout, setup.mirror)
    if door.unknown:
        # Other versions' facts stay chained and readable, but nothing can be built on them.
        door.close()
        assert opened.pen is not None
        opened.pen.lay()
        opened.pen = None
        message = f"the house holds facts this Tildawn does not know: {', '.join(door.unknown)}"
        opened.refusal = HouseTooNew(message, hint="pip install --upgrade tildawn")
        return opened
    opened.store = Store(door.database, setup.projections, blobs=opened.blobs)
    if setup.mirror is not None:
        _with_mirror(opened, opened.store, setup, setup.mirror)
    return opened


def _with_mirror(opened: Opened, store: Store, setup: Setup, wish: Wish) -> None:
    """Compare both copies before anything is accepted, and go on with both."""
    mirror = opened.mirror = Mirror(wish, opened.layout)
    try:
        reunite(mirror, store, setup.registry, blobs=opened.blobs)
    except BaseException:
        mirror.close()
        raise
    opened.first, opened.last = ends(store.database, opened.archive)
    store.twin = mirror if wish.mode == "sync-degrade" else None


def _refuse_lost(layout: Layout, mirror: Wish | None) -> None:
    database = layout.database
    if layout.founded.exists() and (not database.exists() or database.stat().st_size == 0):
        # Without its log an empty file is a lost ledger; with one SQLite recovers it.
        log = database.with_name(f"{database.name}-wal")
        if not database.exists() or not log.exists() or log.stat().st_size == 0:
            raise _lost(layout, mirror)


def _lost(layout: Layout, mirror: Wish | None) -> LedgerBroken:
    message = f"{layout.database} is empty, but this house had a ledger"
    hint = "copy the house away and keep it; nothing was changed"
    if mirror is not None:
        hint += "; tildawn mirror recover makes the ledger anew from its mirror"
    return LedgerBroken(message, hint=hint)
