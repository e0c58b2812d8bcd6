"""Puts a restored database in the place of the old one, which is put aside whole.

What it is not: the making of it.  Nothing here looks into a database.

Everything before the mark only adds names; from the mark on the restore is decided, and each
step can be done again.  Whoever opens the house to write does what is left.
"""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tildawn.errors import LedgerBroken
from tildawn.ledger.durable import sync_folder, write_durably
from tildawn.ledger.layout import Layout
from tildawn.ledger.snapshot import link_tree, second_name
from tildawn.units import SECOND, Micros


MOVING = ".moving"
"""Below ``aside``: the old house while it is put aside; without a mark it counts for nothing."""

_OLD = ("ledger.db", "ledger.db-wal")


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """That a restore is decided: where the old house goes, and what the log is called now.

    ``signed`` says that the new log has a checkpoint.
    """

    aside: str
    name: str
    signed: bool


Step = Callable[[Layout, Mark], None]


def decide(layout: Layout, *, name: str, at: Micros) -> Mark:
    """Give the files of the old house second names, then mark that it is left.

    A crash before the mark leaves the old house, after it the new one.

    Args:
        layout: of the house, with the new database in ``restoring``.
        name: of the log from now on.
        at: when, for the name of the folder.

    Returns:
        What was decided.

    Raises:
        OSError: the disk refuses; nothing was decided.
    """
    moving = layout.aside / MOVING
    clear_undecided(layout, keep_new=True)
    moving.mkdir(parents=True, mode=0o700)
    for name_of_file in _OLD:
        source = layout.folder / name_of_file
        if source.exists():
            second_name(source, moving / name_of_file)
    if layout.checkpoint.exists():
        second_name(layout.checkpoint, moving / layout.checkpoint.name)
    # Segments beyond the point count for nothing from then on, and are written anew in time.
    for source in (layout.blobs, layout.archive):
        link_tree(source, moving / source.name)
    for folder in (moving, layout.aside, layout.folder):
        sync_folder(folder)
    signed = (layout.restoring / layout.checkpoint.name).exists()
    mark = Mark(aside=_free(layout.aside, at).name, name=name, signed=signed)
    layout.restore_mark.parent.mkdir(exist_ok=True, mode=0o700)
    write_durably(layout.restore_mark, msgspec.json.encode(mark))
    return mark


def clear_undecided(layout: Layout, *, keep_new: bool = False) -> None:
    """Remove what a restore left that was never decided.

    Raises:
        OSError: the disk refuses.
    """
    assert not layout.restore_mark.exists(), "a restore that was decided is finished first"
    shutil.rmtree(layout.aside / MOVING, ignore_errors=True)
    if not keep_new:
        shutil.rmtree(layout.restoring, ignore_errors=True)


def decided(layout: Layout) -> Mark | None:
    """The restore that was decided and is not finished, or None.

    Raises:
        LedgerBroken: the mark cannot be read.
    """
    try:
        return msgspec.json.decode(layout.restore_mark.read_bytes(), type=Mark)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        message = f"{layout.restore_mark} cannot be read: {error}"
        raise LedgerBroken(message, hint="copy the house away and keep it") from error


def finish(layout: Layout) -> Path | None:
    """Do what is left of a restore that was decided; without one, nothing.

    The caller holds the pen.

    Returns:
        Where the old house is, or None.

    Raises:
        LedgerBroken: the mark cannot be read, or what it needs is gone.
        OSError: the disk refuses; the next opening goes on with it.
    """
    mark = decided(layout)
    if mark is None:
        return None
    for step in STEPS:
        step(layout, mark)
    return layout.aside / mark.aside


def _drop_log(layout: Layout, _: Mark) -> None:
    """The log of the old database must never be applied to the new one; it has a second name."""
    if not (layout.restoring / "ledger.db").exists():
        return  # the new one is in place, and a log beside it is its own
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (layout.folder / name).unlink(missing_ok=True)
    sync_folder(layout.folder)


def _put_in_place(layout: Layout, _: Mark) -> None:
    fresh = layout.restoring / "ledger.db"
    if fresh.exists():
        fresh.replace(layout.database)
        sync_folder(layout.folder)
    elif not layout.database.exists():
        message = f"{fresh} is gone, and so is {layout.database}"
        raise LedgerBroken(message, hint="tildawn restore --to latest")


def _drop_marks(layout: Layout, mark: Mark) -> None:
    """What speaks of the old log must not be held against the new one, which has its own."""
    fresh = layout.restoring / layout.checkpoint.name
    if fresh.exists():
        fresh.replace(layout.checkpoint)
    elif not mark.signed:
        layout.checkpoint.unlink(missing_ok=True)
    layout.verified.unlink(missing_ok=True)
    for path in layout.folder.glob(f"{layout.shadow.name}*"):
        path.unlink()
    write_durably(layout.founded, f"{mark.name}\n".encode())


def _put_aside(layout: Layout, mark: Mark) -> None:
    moving = layout.aside / MOVING
    if moving.exists():
        moving.rename(layout.aside / mark.aside)
        sync_folder(layout.aside)


def _forget_mark(layout: Layout, _: Mark) -> None:
    shutil.rmtree(layout.restoring, ignore_errors=True)
    layout.restore_mark.unlink(missing_ok=True)
    sync_folder(layout.restore_mark.parent)


STEPS: tuple[Step, ...] = (
    _drop_log, _put_in_place, _drop_marks, _put_aside, _forget_mark,
)  # fmt: skip
"""In this order; a crash between two of them leaves the mark, and the next opening begins anew."""


def _free(folder: Path, at: Micros) -> Path:
    name = datetime.fromtimestamp(at // SECOND, UTC).strftime("%Y%m%dT%H%M%SZ")
    path, number = folder / name, 1
    while path.exists():
        number += 1
        path = folder / f"{name}-{number}"
    return path
