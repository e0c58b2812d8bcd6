"""Makes a lost database anew from its mirror, when somebody asks for it.

What it is not: automatic, nor a way to replace a database that is there.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tildawn.clock import Clock
from tildawn.errors import HouseUnusable, LedgerBroken
from tildawn.facts.fact import Registry
from tildawn.ledger.archive import Archive
from tildawn.ledger.blobs import Blobs
from tildawn.ledger.checkpoint import Checkpoint
from tildawn.ledger.disk import check_folder
from tildawn.ledger.durable import sync_folder, write_durably
from tildawn.ledger.fold import Projection
from tildawn.ledger.layout import Layout
from tildawn.ledger.note import Signer
from tildawn.ledger.opening import note_founded
from tildawn.ledger.pen import Pen
from tildawn.ledger.reunion import ASK, take_back
from tildawn.ledger.shelf import Shelf
from tildawn.ledger.signing import read_seed
from tildawn.ledger.sqlite.audit import Audit
from tildawn.ledger.sqlite.connection import connect
from tildawn.ledger.sqlite.door import open_to_write
from tildawn.ledger.sqlite.seals import keyring_of
from tildawn.ledger.sqlite.store import Store
from tildawn.ledger.verdict import State, Verdict


WORKSHOP = "recovering"
"""Folder of the house in which the new database is made; it is gone afterwards."""


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """What was made: the name of the house, how many facts, and their root in hexadecimal.

    ``missing`` says what else the house had and lacks now, such as its archive; empty when
    nothing does.
    """

    name: str
    facts: int
    root: str
    missing: str = ""


def recover(
    folder: Path,
    mirror: Path,
    *,
    registry: Registry,
    projections: Sequence[Projection],
    clock: Clock,
    build: str,
) -> Recovered:
    """Make the database of a house anew from its mirror, prove it, then put it in place.

    A crash before the last step leaves no database, as before, and a folder that the next try
    removes.

    Args:
        folder: the house; its database is gone.
        mirror: the folder of the mirror.
        registry: the kinds of facts.
        projections: what to fold.
        clock: stamps the pen.
        build: which build holds the pen.

    Returns:
        What was made.

    Raises:
        HouseLocked: another process holds the pen.
        HouseUnusable: there is a database, or no mirror.
        HouseTooNew: the mirror has kinds of facts that are unknown here.
        LedgerBroken: the mirror is damaged, or is that of another house.
    """
    layout = Layout(folder)
    if layout.database.exists() and layout.database.stat().st_size:
        message = f"{layout.database} is there, and nothing replaces it"
        raise HouseUnusable(message, hint="move it away first if it is not to be used any more")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        check_folder(folder)
        pen = Pen.take(layout.pen, clock=clock, build=build)
        try:
            return _recover(layout, Shelf(mirror), registry, tuple(projections), clock)
        finally:
            pen.lay()
    except OSError as error:
        message = f"the house cannot be made from {mirror}: {error}"
        raise HouseUnusable(message, hint="look whether both folders are there") from error


def _recover(
    layout: Layout,
    shelf: Shelf,
    registry: Registry,
    projections: Sequence[Projection],
    clock: Clock,
) -> Recovered:
    end, name = shelf.find_end(), shelf.name()
    if end.size == 0:
        message = f"there is no mirror in {shelf.folder}"
        raise HouseUnusable(message, hint="set ledger.mirror_folder to where it is")
    if layout.founded.exists() and layout.founded.read_text(encoding="ascii").strip() != name:
        message = f"the mirror in {shelf.folder} is that of another house"
        raise LedgerBroken(message, hint=ASK)
    if end.size < end.promised:
        message = f"the mirror once held {end.promised} facts and is damaged behind {end.size}"
        raise LedgerBroken(message, hint=ASK, seq=end.size)
    made = Layout(layout.folder / WORKSHOP)
    shutil.rmtree(made.folder, ignore_errors=True)
    made.folder.mkdir(mode=0o700)
    made.blobs, made.archive = layout.blobs, layout.archive
    facts = _build(made, shelf, registry, projections, Blobs(layout.blobs, clock))
    if facts != end.size:
        message = f"the mirror is damaged behind fact {facts}"
        raise LedgerBroken(message, hint=ASK, seq=facts)
    audit = Audit(made, registry, projections)
    try:
        verdict = audit.run(hashes_only=False)
    finally:
        audit.close()
    if verdict.state is State.BROKEN or verdict.chain != end.chain.hex():
        message = f"what the mirror holds does not verify: {verdict.what}"
        raise LedgerBroken(message, hint=ASK, seq=verdict.seq)
    _seal(layout, made, verdict)
    _put_in_place(layout, made)
    note_founded(layout, name)
    return Recovered(name=name, facts=verdict.size, root=verdict.root, missing=verdict.what)


def _seal(layout: Layout, made: Layout, verdict: Verdict) -> None:
    """Sign what was made where no checkpoint is left to compare it with: a mirror has none.

    A ledger that was signed and has no seal any more is not opened to write, as somebody may
    have changed it; this one was asked for, and was proven.  A crash behind this leaves a
    checkpoint of the same facts, which the next try finds in its place.
    """
    path = layout.signing_key
    if layout.checkpoint.exists() or not path.exists():
        return
    database = connect(made.database, write=False)
    try:
        span = keyring_of(database).newest
    finally:
        database.close()
    signer = Signer(span.origin, read_seed(path)) if span is not None else None
    if span is None or signer is None or signer.verifier != span.verifier:
        return
    layout.checkpoint.parent.mkdir(mode=0o700, exist_ok=True)
    note = Checkpoint(span.origin, verdict.size, bytes.fromhex(verdict.root)).sign([signer])
    write_durably(layout.checkpoint, note.dump().encode())


def _build(
    made: Layout,
    shelf: Shelf,
    registry: Registry,
    projections: Sequence[Projection],
    blobs: Blobs,
) -> int:
    archive = Archive(made.archive)
    door = open_to_write(made.database, projections, registry, archive=archive)
    store = Store(door.database, projections, blobs=blobs)
    try:
        return take_back(store, shelf, registry, blobs=blobs)
    finally:
        store.close()


def _put_in_place(layout: Layout, made: Layout) -> None:
    """The one step that counts; what is left of the lost database is put aside first."""
    for suffix in ("", "-wal", "-shm"):
        stray = layout.database.with_name(f"{layout.database.name}{suffix}")
        if stray.exists():
            # A log of the lost database would be applied to the new one.
            stray.rename(stray.with_name(f"lost-{stray.name}"))
    made.database.rename(layout.database)
    sync_folder(layout.folder)
    shutil.rmtree(made.folder, ignore_errors=True)
