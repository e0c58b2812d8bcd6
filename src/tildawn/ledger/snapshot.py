"""Snapshots: whole copies of a house's ledger and blobs, opened and verified before they count.

What it is not: a copy of the keys.  Whoever keeps snapshots elsewhere keeps ``keys/`` too.
"""

import errno
import fcntl
import os
import shutil
import zlib
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import msgspec

from tildawn.clock import Clock
from tildawn.errors import Busy, HouseUnusable, LedgerBroken, StoreFull, UnknownName
from tildawn.facts.fact import Registry
from tildawn.facts.house import SnapshotTaken
from tildawn.ledger.blobs import read_blob
from tildawn.ledger.durable import sync_file, sync_folder, write_durably
from tildawn.ledger.layout import Layout
from tildawn.ledger.manifest import FORMAT, MANIFEST, File, Manifest, read_manifest, sealed
from tildawn.ledger.sqlite.audit import Audit
from tildawn.ledger.sqlite.copy import copy_database
from tildawn.ledger.verdict import State, Verdict
from tildawn.units import SECOND


DATABASE, PACKED = "ledger.db", "ledger.db.gz"

TAKING = ".taking"
"""Folder of the snapshot that is being taken; what a crash leaves there counts for nothing."""

_CHUNK = 1 << 20
_GZIP = 31
"""Window bits that make zlib write and read gzip. Source: zlib.h, deflateInit2."""
_FASTEST = 1
"""Of gzip: the copy must not take longer than its proof, which the other core makes."""

_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}
"""What systems say that cannot give this file a second name."""


class Snapshot(msgspec.Struct, frozen=True):
    """A snapshot in its folder, with the SHA-256 of its manifest."""

    folder: Path
    manifest: Manifest
    digest: str

    @property
    def name(self) -> str:
        """The name of its folder, such as ``20261120T033000Z``."""
        return self.folder.name

    @property
    def size_bytes(self) -> int:
        """How long its database is, compressed; blobs share their space with the house."""
        return self.manifest.packed.size_bytes


def take(layout: Layout, *, clock: Clock, build: str, why: str) -> Snapshot:
    """Take a snapshot, from any thread, while the house works; blocks.

    A crash leaves no snapshot or a whole one.  It is durable when this returns.

    Args:
        layout: of the house.
        clock: says when.
        build: of the program, for the record.
        why: night, asked, upgrade, erasure or restore.

    Returns:
        The snapshot, verified.

    Raises:
        Busy: one is being taken.
        LedgerBroken: what was copied does not verify; nothing is left of it.
        HouseUnusable: the house cannot be read, or the disk refuses.
        StoreFull: there is no space.
    """
    with _refusals(layout.snapshots), _alone(layout.snapshots):
        making = layout.snapshots / TAKING
        _remove(making)
        making.mkdir(mode=0o700)
        try:
            return _take(layout, making, clock, build, why)
        except BaseException:
            _remove(making)
            raise


def snapshots(layout: Layout) -> list[Snapshot]:
    """The snapshots of a house, oldest first; what has no sound manifest is none.

    Raises:
        Nothing.
    """
    found: list[Snapshot] = []
    for folder in sorted(layout.snapshots.glob("[0-9]*T[0-9]*Z*")):
        try:
            found.append(read_snapshot(folder))
        except LedgerBroken:
            continue
    return found


def read_snapshot(folder: Path) -> Snapshot:
    """The snapshot in a folder, as its manifest says; the files are not looked at.

    Raises:
        LedgerBroken: there is no sound manifest.
    """
    manifest, digest = read_manifest(folder)
    return Snapshot(folder, manifest, digest)


def newest_snapshot(layout: Layout) -> Snapshot | None:
    """The newest snapshot of a house, or None.

    Raises:
        Nothing.
    """
    return max(snapshots(layout), key=lambda one: one.manifest.taken_at, default=None)


def snapshots_holding(layout: Layout, seq: int) -> list[Snapshot]:
    """The snapshots that have the fact at a position, oldest first.

    Raises:
        Nothing.
    """
    return [one for one in snapshots(layout) if one.manifest.size > seq]


def strays(layout: Layout) -> list[Path]:
    """Folders among the snapshots that count for nothing, and may still hold what was erased.

    Raises:
        Nothing.
    """
    sound = {one.folder for one in snapshots(layout)}
    return sorted(
        path for path in layout.snapshots.glob("*") if path.is_dir() and path not in sound
    )


def asides(layout: Layout) -> list[Path]:
    """The houses that restores have put aside, oldest first.

    Raises:
        Nothing.
    """
    return sorted(path for path in layout.aside.glob("*") if path.is_dir())


def snapshot_taken(snapshot: Snapshot, *, reason: str = "") -> SnapshotTaken:
    """The fact about a snapshot.

    Args:
        snapshot: just taken.
        reason: the digest of a payload, or empty.

    Raises:
        Nothing.
    """
    said = snapshot.manifest
    return SnapshotTaken(
        name=snapshot.name, size=said.size, root=said.root, manifest=snapshot.digest,
        size_bytes=snapshot.size_bytes, why=said.why, damaged=len(said.damaged), reason=reason,
    )  # fmt: skip


def drop(snapshot: Snapshot) -> None:
    """Remove a snapshot; the caller records it.

    The manifest goes first, so that a crash leaves a folder that counts for nothing.

    Raises:
        OSError: the disk refuses.
    """
    (snapshot.folder / MANIFEST).unlink(missing_ok=True)
    sync_folder(snapshot.folder)
    _remove(snapshot.folder)
    sync_folder(snapshot.folder.parent)


def unpack(snapshot: Snapshot, folder: Path) -> Verdict:
    """Unpack the database of a snapshot into a folder, and prove it.

    Args:
        snapshot: as it was read.
        folder: is there; a file of the same name is replaced.

    Returns:
        The verdict over its chain and tree: proven.

    Raises:
        LedgerBroken: a file is damaged, or the ledger in it is not what the manifest says.
        OSError: the disk refuses.
    """
    packed, wanted = snapshot.folder / PACKED, snapshot.manifest
    if _unpack(packed, folder / DATABASE, wanted) != (wanted.packed, wanted.database):
        message = f"{packed} is damaged: it does not hash to what the manifest says"
        raise LedgerBroken(message)
    said = _proven(folder)
    if (said.size, said.chain, said.root) != (wanted.size, wanted.chain, wanted.root):
        message = f"{packed} holds another ledger than the manifest says"
        raise LedgerBroken(message)
    return said


def check_blobs(snapshot: Snapshot) -> None:
    """Read every blob of a snapshot.

    Raises:
        LedgerBroken: one is missing or damaged.
    """
    for name in snapshot.manifest.blobs:
        try:
            read_blob(snapshot.folder / "blobs", name)
        except UnknownName as error:
            message = f"{snapshot.folder}: {error.message}"
            raise LedgerBroken(message) from error


def _take(layout: Layout, making: Path, clock: Clock, build: str, why: str) -> Snapshot:
    taken_at = clock.wall()
    copied = copy_database(layout.database, making / DATABASE)
    with ThreadPoolExecutor(1, thread_name_prefix="tildawn-snapshot") as pool:
        # One core compresses while the other hashes: zlib lets go of the interpreter's lock.
        packing = pool.submit(_pack, making / DATABASE, making / PACKED)
        said = _proven(making)
        packed, database = packing.result()
    if (said.size, said.chain, said.root) != (copied.size, copied.chain, copied.root):
        message = "the copy does not verify to the head that the ledger had"
        raise LedgerBroken(message, seq=said.size)
    (making / DATABASE).unlink()
    # What left the database; who reads it compares it with the leaf that the database has.
    link_tree(layout.archive, making / layout.archive.name)
    damaged = _keep_blobs(layout.blobs, making / "blobs", copied.blobs)
    manifest = Manifest(
        format=FORMAT, house=_text(layout.founded).strip(), taken_at=taken_at, why=why,
        build=build, schema=copied.schema, epoch=copied.epoch, size=copied.size,
        chain=copied.chain, root=copied.root, checkpoint=_text(layout.checkpoint),
        packed=packed, database=database,
        blobs=tuple(sorted(set(copied.blobs) - set(damaged))), damaged=damaged,
    )  # fmt: skip
    write_durably(making / MANIFEST, sealed(manifest))
    # A crash before this leaves a folder that counts for nothing, after it a whole snapshot.
    final = making.rename(_free(layout.snapshots, taken_at // SECOND))
    sync_folder(layout.snapshots)
    return read_snapshot(final)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _free(folder: Path, second: int) -> Path:
    """A name that nobody has: the second, and a number where there is one of this second."""
    name = datetime.fromtimestamp(second, UTC).strftime("%Y%m%dT%H%M%SZ")
    path, number = folder / name, 1
    while path.exists():
        number += 1
        path = folder / f"{name}-{number}"
    return path


def _proven(folder: Path) -> Verdict:
    """The verdict over chain and tree of an unpacked database, with SQLite's own check."""
    audit = Audit(Layout(folder), Registry(()), ())
    try:
        said = audit.run(hashes_only=True)
    finally:
        audit.close()
    if said.state is not State.PROVEN:
        raise LedgerBroken(said.what, seq=said.seq)
    return said


def _pack(source: Path, target: Path) -> tuple[File, File]:
    """Compress a file durably; what lies there and what it unpacks to."""
    engine = zlib.compressobj(_FASTEST, wbits=_GZIP)
    plain, packed = sha256(), sha256()
    with source.open("rb") as reading, target.open("wb") as writing:
        while chunk := reading.read(_CHUNK):
            plain.update(chunk)
            piece = engine.compress(chunk)
            packed.update(piece)
            writing.write(piece)
        piece = engine.flush()
        packed.update(piece)
        writing.write(piece)
    sync_file(target)
    return _file(target, packed.hexdigest()), _file(source, plain.hexdigest())


def _unpack(source: Path, target: Path, wanted: Manifest) -> tuple[File, File]:
    engine = zlib.decompressobj(wbits=_GZIP)
    plain, packed = sha256(), sha256()
    left = wanted.database.size_bytes
    try:
        with source.open("rb") as reading, target.open("wb") as writing:
            while chunk := reading.read(_CHUNK):
                packed.update(chunk)
                # Never more than it should be: a damaged file must not fill the disk.
                piece = engine.decompress(chunk, left + 1)
                left -= len(piece)
                plain.update(piece)
                writing.write(piece)
                if left < 0:
                    break
    except (zlib.error, FileNotFoundError) as error:
        message = f"{source} is damaged: {error}"
        raise LedgerBroken(message) from error
    return _file(source, packed.hexdigest()), _file(target, plain.hexdigest())


def _file(path: Path, digest: str) -> File:
    return File(path=path.name, size_bytes=path.stat().st_size, sha256=digest)


def _keep_blobs(source: Path, target: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Give every whole blob a second name in the snapshot; those that are not whole."""
    damaged: list[str] = []
    folders: set[Path] = set()
    for name in names:
        try:
            read_blob(source, name)
        except (UnknownName, LedgerBroken):
            damaged.append(name)
            continue
        place = target / name[:2] / name
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        second_name(source / name[:2] / name, place)
        folders |= {place.parent, target, target.parent}
    for folder in folders:
        sync_folder(folder)
    return tuple(damaged)


def second_name(source: Path, target: Path) -> None:
    """Link a file, or copy it where the system cannot; blobs never change, so both are alike.

    Raises:
        OSError: the disk refuses.
    """
    try:
        target.hardlink_to(source)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copyfile(source, target)
        sync_file(target)


def link_tree(source: Path, target: Path) -> None:
    """Give every file below a folder a second name below another one; durable.

    Raises:
        OSError: the disk refuses.
    """
    for folder, _, names in os.walk(source):
        place = target / Path(folder).relative_to(source)
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in names:
            second_name(Path(folder) / name, place / name)
        sync_folder(place)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """One at a time; the lock ends with the process."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        message = "a snapshot is being taken already"
        raise Busy(message, hint="try again when it is done") from None
    finally:
        os.close(handle)


@contextmanager
def _refusals(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StoreFull(hint="free some space; nothing was changed") from error
        message = f"{folder} cannot be written: {error.strerror}"
        raise HouseUnusable(message, hint="look at the disk; nothing was changed") from error
