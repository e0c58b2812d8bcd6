"""Segments: so many facts of the ledger as files of the archive, written once and checked.

What it is not: believed by itself.  A segment counts when a fact names its manifest; what a crash
left before that is written again over it.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import msgspec

from tildawn.errors import ArchiveMissing, LedgerBroken, ProofBroken
from tildawn.facts.segment import SegmentSealed
from tildawn.ledger.archive import BUNDLE_SUFFIX, FORMAT, Archive, File, Manifest, packed, unpacked
from tildawn.ledger.chain import Frontier, leaf_of, link
from tildawn.ledger.durable import sync_folder, write_durably
from tildawn.ledger.tile import (
    HASH_BYTES,
    Place,
    bundle_path,
    higher_tiles,
    pack,
    tile_path,
    tile_root,
    unpack,
)
from tildawn.ledger.verdict import State


READ_ONLY = 0o444


class Beginning(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the ledger before the first fact of a segment.

    ``earlier`` are the segments before it, in order; ``checkpoint`` is for its manifest.
    """

    chain: bytes
    frontier: bytes
    earlier: tuple[SegmentSealed, ...] = ()
    checkpoint: int = 0


class Hashes(msgspec.Struct, frozen=True):
    """Chain and root of the ledger after some number of facts."""

    chain: bytes
    root: bytes


class Finding(msgspec.Struct, frozen=True):
    """What is wrong with a segment: it contradicts the ledger, or something of it is missing."""

    number: int
    state: State
    what: str


class _Said(msgspec.Struct, frozen=True):
    """What a manifest counts of a body."""

    kind: str
    v: int
    at: int


_SAID = msgspec.json.Decoder(_Said)

Leafed = tuple[bytes, bytes]
"""A leaf and its body."""


def write_segment(archive: Archive, begin: Beginning, facts: Iterable[Leafed]) -> SegmentSealed:
    """Write the next segment; the manifest last.

    A crash leaves files that no manifest names, or a manifest that no fact names; repeated, all
    of it is written again with the same content.

    Args:
        archive: where to.
        begin: the state before.
        facts: leaf and body of as many facts as a segment has, in order; read as they are needed.

    Returns:
        The fact to append, which makes it count.

    Raises:
        LedgerBroken: a body does not hash to its leaf, or there are too few of them.
        OSError: the disk refuses.
    """
    number = len(begin.earlier)
    first = number * archive.facts
    writer = _Files(archive.folder)
    state = _Hashing(begin, first)
    rows, roots = iter(facts), list[bytes]()
    for at in range(archive.width):
        bodies = state.take(rows, archive.width)
        tile = b"".join(map(leaf_of, bodies))
        index = first // archive.width + at
        roots.append(tile_root(tile))
        writer.write(tile_path(Place(0, index)), tile)
        writer.write(f"{bundle_path(index)}{BUNDLE_SUFFIX}", packed(pack(bodies)))
    top = b"".join(roots)
    writer.write(tile_path(Place(1, number)), top)
    root = tile_root(top)
    before = [bytes.fromhex(one.root) for one in begin.earlier]
    for place, content in higher_tiles([*before, root], 2, width=archive.width):
        writer.write(tile_path(place), content)
    # From here on every file that the manifest names is on the disk under its name.
    writer.sync()
    manifest = Manifest(
        format=FORMAT, number=number, first=first, last=first + archive.facts - 1,
        before=begin.earlier[-1].manifest if begin.earlier else "",
        root=root.hex(), root_in=Frontier.load(first, begin.frontier).root().hex(),
        root_out=state.frontier.root().hex(), chain_in=begin.chain.hex(),
        chain_out=state.chain.hex(), newest_at=state.counted.newest_at, checkpoint=begin.checkpoint,
        kinds=state.counted.kinds, files=tuple(writer.written),
    )  # fmt: skip
    content = manifest.dump()
    _put_manifest(archive.manifest_path(number), content)
    return SegmentSealed(
        number=number, first=first, count=archive.facts, root=manifest.root,
        manifest=sha256(content).hexdigest(),
    )  # fmt: skip


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger says of a segment that is to be checked.

    ``sealed`` are all segments up to this one, ``leaves`` those of its facts one after the other,
    ``before`` and ``after`` the hashes at its borders; of a ``pruned`` one entries may be missing.
    """

    sealed: tuple[SegmentSealed, ...]
    leaves: bytes
    before: Hashes
    after: Hashes
    pruned: bool = False

    @property
    def number(self) -> int:
        """Its number."""
        return len(self.sealed) - 1


def check_segment(archive: Archive, segment: Segment) -> Finding | None:
    """Read a segment again, all of it: entries, tiles, root, manifest.

    Args:
        archive: where it should be.
        segment: what the ledger says of it.

    Returns:
        None when it is what was sealed; otherwise the first thing that is not.

    Raises:
        Nothing.
    """
    try:
        _check(archive, segment)
    except ArchiveMissing as error:
        return Finding(segment.number, State.NOT_PROVABLE, error.message)
    except (LedgerBroken, ProofBroken) as error:
        return Finding(segment.number, State.BROKEN, error.message)
    return None


def _check(archive: Archive, segment: Segment) -> None:
    number, fact = segment.number, segment.sealed[-1]
    manifest = archive.manifest(number, digest=fact.manifest)
    files = {file.path: file for file in manifest.files}
    _check_manifest(archive, segment, manifest)
    counted, whole = _Counted(), True
    roots: list[bytes] = []
    for at in range(archive.width):
        index = number * archive.width + at
        tile = _content(archive, number, files[tile_path(Place(0, index))])
        begin = at * archive.width * HASH_BYTES
        if tile != segment.leaves[begin : begin + archive.width * HASH_BYTES]:
            raise _broken(number, tile_path(Place(0, index)), "is not what the ledger has")
        roots.append(tile_root(tile))
        path = f"{bundle_path(index)}{BUNDLE_SUFFIX}"
        if segment.pruned and not (archive.folder / path).exists():
            whole = False
            continue
        bodies = _bodies(archive, number, path, _content(archive, number, files[path]))
        if b"".join(map(leaf_of, bodies)) != tile:
            raise _broken(number, path, "contradicts the ledger")
        counted.take(bodies)
    _check_tops(archive, segment, files, roots)
    if whole and (counted.kinds, counted.newest_at) != (manifest.kinds, manifest.newest_at):
        raise _lies(number, "its kinds or its newest fact")


def _check_manifest(archive: Archive, segment: Segment, manifest: Manifest) -> None:
    """Whether it says what the ledger says, and names the files that a segment has."""
    number, fact = segment.number, segment.sealed[-1]
    said = {
        "number": number, "first": fact.first, "last": fact.first + fact.count - 1,
        "root": fact.root,
        "before": segment.sealed[-2].manifest if number else "",
        "chain_in": segment.before.chain.hex(), "chain_out": segment.after.chain.hex(),
        "root_in": segment.before.root.hex(), "root_out": segment.after.root.hex(),
    }  # fmt: skip
    for name, value in said.items():
        if getattr(manifest, name) != value:
            raise _lies(number, f"its {name}")
    if (fact.number, fact.first, fact.count) != (number, number * archive.facts, archive.facts):
        raise _lies(number, "its place")
    if [file.path for file in manifest.files] != _paths(archive, number):
        raise _lies(number, "its files")


def _check_tops(
    archive: Archive, segment: Segment, files: Mapping[str, File], roots: Sequence[bytes]
) -> None:
    """The tiles above the lowest ones."""
    number = segment.number
    top = b"".join(roots)
    if _content(archive, number, files[tile_path(Place(1, number))]) != top:
        raise _broken(number, tile_path(Place(1, number)), "is not over the tiles below it")
    if tile_root(top).hex() != segment.sealed[-1].root:
        raise _broken(number, "its root", "is not the one that was sealed")
    all_roots = [bytes.fromhex(one.root) for one in segment.sealed]
    for place, content in higher_tiles(all_roots, 2, width=archive.width):
        if _content(archive, number, files[tile_path(place)]) != content:
            raise _broken(number, tile_path(place), "is not over the tiles below it")


def _paths(archive: Archive, number: int) -> list[str]:
    """The files of a segment, in the order of its manifest."""
    paths: list[str] = []
    for index in range(number * archive.width, (number + 1) * archive.width):
        paths += (tile_path(Place(0, index)), f"{bundle_path(index)}{BUNDLE_SUFFIX}")
    paths.append(tile_path(Place(1, number)))
    blank = [bytes(HASH_BYTES)] * (number + 1)
    paths += (tile_path(place) for place, _ in higher_tiles(blank, 2, width=archive.width))
    return paths


def _content(archive: Archive, number: int, said: File) -> bytes:
    """A file of a segment, as its manifest has it."""
    file, path = archive.folder / said.path, said.path
    try:
        content = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        message = f"segment {number}: {path} is not there"
        raise ArchiveMissing(message, hint="put the archive back where it was") from None
    except OSError as error:
        raise _broken(number, path, f"cannot be read: {error.strerror}") from error
    if (len(content), sha256(content).hexdigest()) != (said.size_bytes, said.sha256):
        raise _broken(number, path, "is not what was sealed")
    return content


def _bodies(archive: Archive, number: int, path: str, content: bytes) -> list[bytes]:
    try:
        return unpack(unpacked(content, archive.width))
    except ProofBroken as error:
        raise _broken(number, path, f"is damaged: {error.message}") from error


def _broken(number: int, path: str, what: str) -> LedgerBroken:
    return LedgerBroken(f"segment {number}: {path} {what}")


def _lies(number: int, what: str) -> ArchiveMissing:
    message = f"segment {number}: the manifest lies about {what}"
    return ArchiveMissing(message, hint="restore it from a copy", segment=number)


class _Counted:
    """What a manifest says of bodies."""

    def __init__(self) -> None:
        self.newest_at = 0
        self._kinds: Counter[tuple[str, int]] = Counter()

    @property
    def kinds(self) -> dict[str, int]:
        return dict(sorted((f"{kind} v{v}", count) for (kind, v), count in self._kinds.items()))

    def take(self, bodies: Iterable[bytes]) -> None:
        # A body has no line feed: canonical form writes it as two characters.
        try:
            said = _SAID.decode_lines(b"\n".join(bodies))
        except msgspec.DecodeError as error:
            message = f"a fact is not in canonical form: {error}"
            raise LedgerBroken(message, hint="tildawn verify") from error
        self._kinds.update([(one.kind, one.v) for one in said])
        self.newest_at = max(self.newest_at, *[one.at for one in said])


class _Hashing:
    """The hashes of the ledger while facts are taken into a segment."""

    def __init__(self, begin: Beginning, first: int) -> None:
        self.chain = begin.chain
        self.frontier = Frontier.load(first, begin.frontier)
        self.counted = _Counted()

    def take(self, rows: Iterator[Leafed], count: int) -> list[bytes]:
        """The next bodies, each checked against its leaf."""
        bodies: list[bytes] = []
        for leaf, body in (next(rows, (b"", b"")) for _ in range(count)):
            seq = self.frontier.size
            if leaf_of(body) != leaf:
                message = f"fact {seq} does not hash to its leaf, or is not there"
                raise LedgerBroken(message, hint="tildawn verify", seq=seq)
            self.chain = link(self.chain, leaf)
            self.frontier.add(leaf)
            bodies.append(body)
        self.counted.take(bodies)
        return bodies


class _Files:
    """Writes files of a segment, each synced; folders are synced once, at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._touched: dict[Path, None] = {}
        self.written: list[File] = []

    def write(self, path: str, content: bytes) -> None:
        target = self._folder / path
        self._make(target.parent)
        fresh = target.with_name(f"{target.name}.new")
        # What a crash left there may be read-only.
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(handle, view) :]
            os.fchmod(handle, READ_ONLY)
            os.fsync(handle)
        finally:
            os.close(handle)
        fresh.replace(target)
        self.written.append(File(path, len(content), sha256(content).hexdigest()))

    def sync(self) -> None:
        """Make all names durable, deepest folders first."""
        for folder in sorted(self._touched, key=lambda one: len(one.parts), reverse=True):
            sync_folder(folder)

    def _make(self, folder: Path) -> None:
        if folder in self._touched:
            return
        # A folder that was made now is a name in the one above it, up to that of the house.
        above = [one for one in folder.parents if one.is_relative_to(self._folder.parent)]
        for one in (*reversed(above), folder):
            self._touched[one] = None
            one.mkdir(mode=0o700, exist_ok=True)


def _put_manifest(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    sync_folder(path.parent.parent)
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    write_durably(path, content, mode=READ_ONLY)
