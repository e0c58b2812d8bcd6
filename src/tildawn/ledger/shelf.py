"""The folder of a mirror: its files of frames, its blobs, and how far they are known to be good.

What it is not: a decision about which copy is right; `tildawn.ledger.reunion` has that.
"""

import fcntl
import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from tildawn.errors import LedgerBroken, UnknownName
from tildawn.ledger.blobs import read_blob
from tildawn.ledger.chain import GENESIS
from tildawn.ledger.durable import sync_folder, write_durably
from tildawn.ledger.frame import (
    SEAL_BYTES,
    Header,
    Held,
    Kept,
    encode,
    encode_held,
    header_in,
    read_batch,
    seal_in,
)
from tildawn.ledger.twin import Batch


FILE_FACTS = 65_536
"""Facts of one file at most. Source: the segments of the archive."""

FILE_BYTES = 64 * 1024 * 1024
"""After so many bytes a file ends too, so that an erasure rewrites little."""

MARK_FACTS = 16_384
"""Facts between two notes of how far the files are good: what is read again at opening."""

_SUFFIX = ".frames"


class End(msgspec.Struct, frozen=True, kw_only=True):
    """Where the good frames end: size and chain, the file and the place in it.

    ``promised`` is the size that was once known to be on the disk; beyond ``size`` it means
    damage.  ``torn`` bytes stand behind the end; they are no batch.
    """

    size: int = 0
    chain: bytes = GENESIS
    file: int = -1
    offset: int = 0
    torn: int = 0
    promised: int = 0


class Shelf:
    """One folder; one process at a time may write to it, and its house's pen says which."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is touched."""
        self.folder = folder
        self.blobs = folder / "blobs"
        self.end = End()
        self._tail = folder / "tail"
        self._handle = -1
        self._begun = 0
        self._marked = 0

    # -- reading -----------------------------------------------------------------------------

    def files(self) -> list[int]:
        """The first positions of the files, in order.

        Raises:
            OSError: the folder cannot be read.
        """
        found = [path for path in self.folder.iterdir() if path.suffix == _SUFFIX]
        return sorted(int(path.stem) for path in found if path.stem.isdigit())

    def name(self) -> str:
        """The name of the house whose facts stand here; empty where there are none.

        Raises:
            OSError: the folder cannot be read.
        """
        for first in self.files():
            with self.path(first).open("rb") as stream:
                header = header_in(stream)
                return header.name if header is not None else ""
        return ""

    def path(self, first: int) -> Path:
        """The file that begins with that position.

        Raises:
            Nothing.
        """
        return self.folder / f"{first:012d}{_SUFFIX}"

    def find_end(self) -> End:
        """Where the good frames end: from the last note on, every batch is read.

        Raises:
            OSError: the disk refuses.
        """
        files = self.files()
        noted = self._noted()
        promised = noted.size if noted is not None else 0
        if not files:
            return End(promised=promised)
        if noted is not None and noted.file == files[-1] and self._sealed_at(noted):
            return self._walk(noted, promised)
        for first in reversed(files):
            with self.path(first).open("rb") as stream:
                header = header_in(stream)
                start = stream.tell()
            if header is not None and header.first == first:
                begin = End(size=first, chain=header.chain, file=first, offset=start)
                return self._walk(begin, promised)
        return End(promised=promised, torn=1)

    def batches(self, size: int) -> Iterator[Held]:
        """The batches that hold facts from position ``size`` on, in order, across the files.

        Raises:
            OSError: the disk refuses.
        """
        files = self.files()
        begin = max((first for first in files if first <= size), default=0)
        chain: bytes | None = None
        at, name = begin, self.name()
        for first in files[files.index(begin) :] if begin in files else []:
            with self.path(first).open("rb") as stream:
                header = header_in(stream)
                if header is None or header.name != name or first != at:
                    return
                if chain not in {None, header.chain}:
                    return
                chain = header.chain
                while held := read_batch(stream, first=at, chain=chain):
                    at, chain = held.size, held.chain
                    if at > size:
                        yield held

    def end_before(self, file: int, size: int) -> End:
        """The last end of a file whose size is at most this.

        Raises:
            OSError: the disk refuses.
        """
        with self.path(file).open("rb") as stream:
            header = header_in(stream)
            if header is None:
                return End()
            begin = End(size=file, chain=header.chain, file=file, offset=stream.tell())
        return self._walk(begin, 0, limit=size)

    def _noted(self) -> End | None:
        try:
            file, offset, size, chain = self._tail.read_text(encoding="ascii").split()
            return End(
                file=int(file), offset=int(offset), size=int(size), chain=bytes.fromhex(chain)
            )
        except (FileNotFoundError, ValueError):
            return None

    def _sealed_at(self, noted: End) -> bool:
        with self.path(noted.file).open("rb") as stream:
            if noted.offset < SEAL_BYTES:
                return False
            stream.seek(noted.offset - SEAL_BYTES)
            return seal_in(stream.read(SEAL_BYTES)) == (noted.size, noted.chain)

    def _walk(self, begin: End, promised: int, *, limit: int = sys.maxsize) -> End:
        size, chain, offset = begin.size, begin.chain, begin.offset
        with self.path(begin.file).open("rb") as stream:
            stream.seek(offset)
            while held := read_batch(stream, first=size, chain=chain):
                if held.size > limit:
                    break
                size, chain, offset = held.size, held.chain, stream.tell()
            torn = stream.seek(0, os.SEEK_END) - offset
        return End(
            size=size, chain=chain, file=begin.file, offset=offset, torn=torn, promised=promised
        )

    # -- writing -----------------------------------------------------------------------------

    def open(self, end: End, *, keep: bool = False) -> None:
        """Go on writing at an end; what stands behind it goes.

        A crash in between leaves the old tail, or none; the next opening does it again.

        Args:
            end: as `find_end` gave it, or before it.
            keep: put what stands behind the end aside first, because nobody else may have it.

        Raises:
            OSError: the disk refuses.
        """
        self.close()
        for first in self.files():
            if first > end.file:
                self.path(first).unlink()
        if end.file >= 0:
            if keep and end.torn:
                with self.path(end.file).open("rb") as stream:
                    stream.seek(end.offset)
                    write_durably(self.folder / f"torn-{end.size}", stream.read())
            self._handle = os.open(self.path(end.file), os.O_WRONLY | os.O_CLOEXEC)
            os.ftruncate(self._handle, end.offset)
            os.lseek(self._handle, end.offset, os.SEEK_SET)
            sync(self._handle)
            self._begun = end.file
        self.end = End(size=end.size, chain=end.chain, file=end.file, offset=end.offset)
        self._note()

    def append(self, batch: Batch, *, name: str, blobs: Path) -> None:
        """Write a batch; durable when this returns, unless it is relaxed.

        Args:
            batch: it begins where the frames end.
            name: of the house.
            blobs: the folder from which blobs are copied.

        Raises:
            OSError: the disk refuses; nothing is known of the batch then.
        """
        assert batch.first == self.end.size, "a mirror has no gaps"
        self._copy_blobs(batch, blobs)
        if self._handle < 0 or self._full(batch):
            self._turn_over(name)
        content = encode(batch)
        view = memoryview(content)
        while view:
            view = view[os.write(self._handle, view) :]
        if not batch.relaxed:
            sync(self._handle)
        before = self.end
        self.end = End(
            size=batch.size, chain=batch.chain, file=before.file,
            offset=before.offset + len(content),
        )  # fmt: skip
        if batch.size - self._marked >= MARK_FACTS and not batch.relaxed:
            self._note()

    def cut(self, end: End) -> None:
        """Go back to an earlier end of this same opening, durably.

        Raises:
            OSError: the disk refuses.
        """
        if end.file < 0:
            self.open(end)
            return
        if end.file != self.end.file:
            self.open(end)
            return
        os.ftruncate(self._handle, end.offset)
        os.lseek(self._handle, end.offset, os.SEEK_SET)
        sync(self._handle)
        self.end = end
        self._note()

    def note_tail(self) -> None:
        """Note that all until here is good, after a sync.

        Raises:
            OSError: the disk refuses.
        """
        if self._handle >= 0:
            sync(self._handle)
            self._note()

    def close(self) -> None:
        """Let go of the file.

        Raises:
            Nothing.
        """
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def forgotten(self) -> str:
        """How far erasures were followed, as `note_forgotten` was told; empty for never.

        Raises:
            OSError: the disk refuses.
        """
        path = self.folder / "forgotten"
        return path.read_text(encoding="ascii") if path.exists() else ""

    def note_forgotten(self, word: str) -> None:
        """Remember how far erasures were followed.

        Raises:
            OSError: the disk refuses.
        """
        write_durably(self.folder / "forgotten", word.encode("ascii"))

    def blob_names(self) -> list[str]:
        """The blobs that stand here.

        Raises:
            OSError: the disk refuses.
        """
        return [path.name for path in self.blobs.glob("??/*") if not path.suffix]

    def forget(self, ids: Collection[int], names: Collection[str], *, erased: int) -> int:
        """Write the files anew that hold these payloads, without them; see `Mirror.forget`.

        Raises:
            OSError: the disk refuses.
            LedgerBroken: a file that was written anew does not hold what it should.
        """
        wanted, gone = frozenset(ids), frozenset(names)
        count = 0
        files = self.files()
        for place, first in enumerate(files):
            last = files[place + 1] if place + 1 < len(files) else sys.maxsize
            if gone or any(first <= one // 8 < last for one in wanted):
                count += self._rewrite(first, wanted, gone, erased)
        for name in gone:
            (self.blobs / name[:2] / name).unlink(missing_ok=True)
        for stray in self.folder.glob("torn-*"):
            stray.unlink()
        sync_folder(self.folder)
        return count

    def _rewrite(self, first: int, ids: frozenset[int], names: frozenset[str], erased: int) -> int:
        """One file without some payloads: a crash leaves the old file or the new one."""
        path, ours = self.path(first), first == self.end.file
        out = bytearray()
        count = dropped = 0
        with path.open("rb") as stream:
            header = header_in(stream)
            if header is None:
                return 0
            out += header.dump()
            at, chain = first, header.chain
            while held := read_batch(stream, first=at, chain=chain):
                at, chain = held.size, held.chain
                left = [
                    Kept(id=one.id, erased=erased) if one.id in ids and one.erased < 0 else one
                    for one in held.payloads
                ]
                count += sum(a is not b for a, b in zip(left, held.payloads, strict=True))
                uses = [use for use in held.uses if use[0] not in names]
                dropped += len(held.uses) - len(uses)
                out += encode_held(msgspec.structs.replace(held, payloads=left, uses=uses))
        if not count and not dropped:
            return 0
        # The place that the tail names is another one afterwards.
        self._tail.unlink(missing_ok=True)
        write_durably(path, bytes(out))
        if self._holds(path, ids) or (ours and at != self.end.size):
            message = f"{path} was written anew and does not hold what it should"
            raise LedgerBroken(message, hint="tildawn mirror verify")
        if ours:
            self.open(End(size=at, chain=chain, file=first, offset=len(out)))
        return count

    def _holds(self, path: Path, ids: frozenset[int]) -> bool:
        with path.open("rb") as stream:
            header = header_in(stream)
            if header is None:
                return True
            at, chain = header.first, header.chain
            while held := read_batch(stream, first=at, chain=chain):
                at, chain = held.size, held.chain
                if any(one.id in ids and one.erased < 0 for one in held.payloads):
                    return True
        return False

    def _full(self, batch: Batch) -> bool:
        facts = batch.size - self._begun
        return facts > FILE_FACTS or self.end.offset >= FILE_BYTES

    def _turn_over(self, name: str) -> None:
        """Begin the next file; a crash leaves one without batches, which is used then."""
        if self._handle >= 0:
            sync(self._handle)
        self.close()
        end = self.end
        header = Header(name, end.size, end.chain).dump()
        path = self.path(end.size)
        write_durably(path, header)
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._begun = end.size
        self.end = End(size=end.size, chain=end.chain, file=end.size, offset=len(header))
        self._note()

    def _note(self) -> None:
        end = self.end
        self._marked = end.size
        text = f"{end.file} {end.offset} {end.size} {end.chain.hex()}\n"
        write_durably(self._tail, text.encode("ascii"))

    def _copy_blobs(self, batch: Batch, source: Path) -> None:
        for _, payloads, uses in batch.parts:
            for name in {blob for _, _, _, blob in payloads if blob} | {blob for blob, _ in uses}:
                self._copy_blob(name, source)

    def _copy_blob(self, name: str, source: Path) -> None:
        path = self.blobs / name[:2] / name
        if path.exists():
            return
        try:
            content = read_blob(source, name)
        except (UnknownName, LedgerBroken):
            return  # the house has lost it; verify says so of both copies
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        sync_folder(self.blobs)
        sync_folder(self.folder)
        write_durably(path, content)


def sync(handle: int) -> None:
    """Make what was written to a file durable, with its length.

    Raises:
        OSError: the disk refuses.
    """
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        fcntl.fcntl(handle, full)
    else:
        os.fdatasync(handle)
