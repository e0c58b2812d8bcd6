"""The archive of a house: a folder in the layout of tlog-tiles, and how to read it.

What it is not: trusted.  Whoever reads an entry compares it with the leaf that the ledger has.
"""

import gzip
import threading
import zlib
from collections import OrderedDict
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec

from tildawn.errors import ArchiveMissing, LedgerBroken, ProofBroken
from tildawn.facts.fact import BODY_BYTES_MAX
from tildawn.ledger import tile


CACHE_BYTES = 4 * 1024 * 1024
"""Unpacked bundles kept in memory. Source: the house's memory limit of 60 MB."""

BUNDLE_SUFFIX = ".gz"
"""Bundles are kept as they travel; servers of files know the suffix."""

GZIP_LEVEL = 6

FORMAT = 1
"""Of manifests; see docs/spec/segments.md."""


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a segment: its path below the archive, its length, its SHA-256."""

    path: str
    size_bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands in the archive about one segment, and what it was made from.

    Hashes are hexadecimal: ``before`` is the SHA-256 of the manifest before, empty for the first
    one; ``root`` is over the segment's own leaves, ``root_in`` and ``root_out`` over all leaves
    before and after it, and ``chain_in`` and ``chain_out`` likewise.  ``newest_at`` is the latest
    time of its facts; ``checkpoint`` the size of the smallest signed checkpoint that covered it
    when it was sealed, 0 when none did; ``kinds`` says how many facts of which kind there are.
    """

    format: int
    number: int
    first: int
    last: int
    before: str
    root: str
    root_in: str
    root_out: str
    chain_in: str
    chain_out: str
    newest_at: int
    checkpoint: int
    kinds: dict[str, int]
    files: tuple[File, ...]

    def dump(self) -> bytes:
        """The bytes of the file: one line of JSON with its keys in order.

        Raises:
            Nothing.
        """
        return msgspec.json.encode(self, order="sorted") + b"\n"


class Archive:
    """The folder, and the bundles read last; any thread may use it."""

    def __init__(self, folder: Path, *, width: int | None = None) -> None:
        """Use a folder, which is made with the first segment.

        Args:
            folder: of the archive.
            width: hashes of a tile, so that a segment has its square of facts; tests have
                smaller ones than `tildawn.ledger.tile.WIDTH`.
        """
        self.folder = folder
        self.width = width or tile.WIDTH
        self.facts = self.width * self.width
        self._lock = threading.Lock()
        self._bundles: OrderedDict[int, list[bytes]] = OrderedDict()
        self._held = 0

    def manifest_path(self, number: int) -> Path:
        """Where the manifest of a segment is."""
        return self.folder / "segment" / f"{number:06d}.json"

    def bundle_file(self, index: int) -> Path:
        """Where an entry bundle is."""
        return self.folder / f"{tile.bundle_path(index)}{BUNDLE_SUFFIX}"

    def manifest(self, number: int, *, digest: str) -> Manifest:
        """The manifest of a segment.

        Args:
            number: of the segment.
            digest: the SHA-256 that the ledger has of it, in hexadecimal.

        Raises:
            ArchiveMissing: it is not there, or it is not the one that was sealed.
        """
        path = self.manifest_path(number)
        content = _read(path)
        if content is None:
            message = f"segment {number} has no manifest: {path} is not there"
            raise ArchiveMissing(message, hint="put the archive back where it was", segment=number)
        if sha256(content).hexdigest() != digest:
            message = f"the manifest of segment {number} is not the one that was sealed"
            raise ArchiveMissing(message, hint="restore it from a copy", segment=number)
        try:
            return msgspec.json.decode(content, type=Manifest)
        except msgspec.DecodeError as error:
            message = f"the manifest of segment {number} cannot be read: {error}"
            raise ArchiveMissing(message, hint="tildawn verify", segment=number) from error

    def body(self, seq: int, leaf: bytes) -> bytes:
        """The body of a fact that has left the database.

        Args:
            seq: its position.
            leaf: its leaf; what does not hash to it is refused.

        Raises:
            ArchiveMissing: its bundle is not there.
            LedgerBroken: its bundle is damaged, or holds something else.
        """
        index, at = divmod(seq, self.width)
        try:
            entries = self._entries(index)
            body = entries[at]
        except (ProofBroken, IndexError) as error:
            message = f"{self._where(seq)} is damaged: {error}"
            raise LedgerBroken(message, hint="tildawn verify", seq=seq) from error
        if sha256(b"\x00" + body).digest() != leaf:
            message = f"{self._where(seq)} does not hold what fact {seq} said"
            raise LedgerBroken(message, hint="tildawn verify", seq=seq)
        return body

    def segment_of(self, seq: int) -> int:
        """The number of the segment that a fact is in.

        Raises:
            Nothing.
        """
        return seq // self.facts

    def _where(self, seq: int) -> str:
        path = self.bundle_file(seq // self.width).relative_to(self.folder)
        return f"segment {self.segment_of(seq)} ({path})"

    def _entries(self, index: int) -> list[bytes]:
        with self._lock:
            entries = self._bundles.get(index)
            if entries is not None:
                self._bundles.move_to_end(index)
                return entries
        content = _read(self.bundle_file(index))
        if content is None:
            seq = index * self.width
            message = f"{self._where(seq)} is not there, and fact {seq} is in it"
            hint = "put the archive back; what was dropped by keep_archive is gone"
            raise ArchiveMissing(message, hint=hint, segment=self.segment_of(seq), seq=seq)
        entries = tile.unpack(unpacked(content, self.width))
        self._keep(index, entries)
        return entries

    def _keep(self, index: int, entries: list[bytes]) -> None:
        with self._lock:
            if index not in self._bundles:
                self._bundles[index] = entries
                self._held += sum(map(len, entries))
            while self._held > CACHE_BYTES and len(self._bundles) > 1:
                _, oldest = self._bundles.popitem(last=False)
                self._held -= sum(map(len, oldest))

    def forget(self) -> None:
        """Let go of what is kept in memory.

        Raises:
            Nothing.
        """
        with self._lock:
            self._bundles.clear()
            self._held = 0


def packed(content: bytes) -> bytes:
    """A bundle as it stands in its file: gzip without a name and a time.

    Raises:
        Nothing.
    """
    buffer = BytesIO()
    # This class writes the same header in every version of Python; `gzip.compress` does not.
    with gzip.GzipFile(
        filename="", mode="wb", fileobj=buffer, mtime=0, compresslevel=GZIP_LEVEL
    ) as file:
        file.write(content)
    return buffer.getvalue()


def unpacked(content: bytes, width: int) -> bytes:
    """The bundle that a file holds, of at most ``width`` entries.

    Raises:
        ProofBroken: it is no gzip file, or holds more than a bundle can.
    """
    limit = width * (BODY_BYTES_MAX + 2)
    stream: Any = zlib.decompressobj(wbits=31)
    try:
        bundle = stream.decompress(content, limit + 1)
    except zlib.error as error:
        message = f"it cannot be unpacked: {error}"
        raise ProofBroken(message) from error
    if len(bundle) > limit or not stream.eof or stream.unused_data:
        message = "it is cut off, or something follows it"
        raise ProofBroken(message)
    return bundle


def _read(path: Path) -> bytes | None:
    """The content of a file, None when it is not there."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise LedgerBroken(message, hint="restore the file from a copy") from error
