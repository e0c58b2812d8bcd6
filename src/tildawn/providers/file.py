"""Files inside one folder: read, write, append, delete.

What it is not: a file system.  Nothing outside the root can be named, through ``..`` or through
a symbolic link, not even one that is put there while we look.

A path is walked folder by folder from an open root, and no link is followed on the way; a link
inside the root is therefore refused even if it leads to a place inside.
"""

import asyncio
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import msgspec

from tildawn.providers.fault import Fault, FaultKind


FILE_BYTES = 64 * 1024 * 1024
"""The largest file read unless the caller says otherwise."""


class FileAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the file is after the call (before it, for a deletion); ``data`` only from `read`."""

    path: str
    size: int
    sha256: str
    data: bytes | None = None


class Files:
    """The files below one folder."""

    def __init__(self, root: Path) -> None:
        """Take the folder, which must exist when a call is made."""
        self._root = root

    async def read(self, path: str, *, limit: int = FILE_BYTES) -> FileAnswer:
        """Read a file of at most ``limit`` bytes.

        Args:
            path: relative to the root, with ``/`` between the parts.
            limit: in bytes.

        Returns:
            The content and its digest.

        Raises:
            Fault: no such file, no permission, outside the root, not a file, or too large.
        """
        return await self._in_thread(lambda: self._read(path, limit))

    async def write(self, path: str, data: bytes) -> FileAnswer:
        """Put a file there as a whole; missing folders are made.

        A crash leaves the old file or the new one and never a mixture; after the return the new
        one survives a power cut.

        Raises:
            Fault: no permission, outside the root, not a file, or the disk is full.
        """
        return await self._in_thread(lambda: self._write(path, data))

    async def append(self, path: str, data: bytes) -> FileAnswer:
        """Add to the end of a file, which is made if it is missing.

        A crash may leave a beginning of ``data``; after the return all of it survives.

        Raises:
            Fault: no permission, outside the root, not a file, or the disk is full.
        """
        return await self._in_thread(lambda: self._append(path, data))

    async def delete(self, path: str) -> FileAnswer:
        """Remove a file.

        Returns:
            The digest of what was removed.

        Raises:
            Fault: no such file, no permission, outside the root, or not a file.
        """
        return await self._in_thread(lambda: self._delete(path))

    async def _in_thread(self, work: Callable[[], FileAnswer]) -> FileAnswer:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise _fault(error) from error

    def _read(self, path: str, limit: int) -> FileAnswer:
        with self._folder(path) as (folder, name), _open(folder, name, os.O_RDONLY) as fd:
            size = os.fstat(fd).st_size
            if size > limit:
                detail = f"{path} has {size} bytes, {limit} are allowed"
                raise Fault(FaultKind.BAD_REQUEST, detail, sent=False)
            data = _all(fd, limit)
        return FileAnswer(path=path, size=len(data), sha256=_sha256(data), data=data)

    def _write(self, path: str, data: bytes) -> FileAnswer:
        with self._folder(path, make=True) as (folder, name):
            mode = _mode(folder, name)
            # One temporary name for each target: a crash leaves at most one, and the next write
            # of the same file takes it over.
            draft = f".{_sha256(name.encode())[:16]}.tildawn-draft"
            with suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=folder)
            with _open(folder, draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fd:
                _put(fd, data)
                if mode is not None:
                    os.fchmod(fd, mode)
                os.fsync(fd)
            os.replace(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        return FileAnswer(path=path, size=len(data), sha256=_sha256(data))

    def _append(self, path: str, data: bytes) -> FileAnswer:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        with self._folder(path, make=True) as (folder, name), _open(folder, name, flags) as fd:
            _put(fd, data)
            os.fsync(fd)
            os.fsync(folder)
            return _described(path, fd)

    def _delete(self, path: str) -> FileAnswer:
        with self._folder(path) as (folder, name):
            with _open(folder, name, os.O_RDONLY) as fd:
                was = _described(path, fd)
            os.unlink(name, dir_fd=folder)
            os.fsync(folder)
        return was

    @contextmanager
    def _folder(self, path: str, *, make: bool = False) -> Generator[tuple[int, str]]:
        """The folder of a path, open, and the last part of the path."""
        *parts, name = _parts(path)
        fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in parts:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=fd)
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                os.close(fd)
                fd = inner
            yield fd, name
        finally:
            os.close(fd)


def _parts(path: str) -> tuple[str, ...]:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\0" in path:
        detail = f"{path!r} does not name a file inside the folder"
        raise Fault(FaultKind.BAD_REQUEST, detail, sent=False)
    return pure.parts


@contextmanager
def _open(folder: int, name: str, flags: int) -> Generator[int]:
    # NONBLOCK: opening a pipe that somebody put there must not wait for its other end.
    fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise IsADirectoryError(errno.EISDIR, "not a file", name)
        yield fd
    finally:
        os.close(fd)


def _mode(folder: int, name: str) -> int | None:
    """The permissions of the file in place; a link or a folder in its place is refused."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "is a symbolic link", name)
    if not stat.S_ISREG(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "not a file", name)
    return stat.S_IMODE(found.st_mode)


def _put(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _all(fd: int, limit: int) -> bytes:
    pieces, total = list[bytes](), 0
    while piece := os.read(fd, 1024 * 1024):
        total += len(piece)
        if total > limit:
            detail = f"the file grew beyond {limit} bytes while it was read"
            raise Fault(FaultKind.BAD_REQUEST, detail, sent=False)
        pieces.append(piece)
    return b"".join(pieces)


def _described(path: str, fd: int) -> FileAnswer:
    digest, size = hashlib.sha256(), 0
    os.lseek(fd, 0, os.SEEK_SET)
    while piece := os.read(fd, 1024 * 1024):
        digest.update(piece)
        size += len(piece)
    return FileAnswer(path=path, size=size, sha256=digest.hexdigest())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _fault(error: OSError) -> Fault:
    kind = _KINDS.get(error.errno or 0, FaultKind.UNKNOWN)
    # A failing write or sync may have left something; a failing walk or open has not.
    sent = kind in {FaultKind.QUOTA, FaultKind.UNKNOWN}
    return Fault(kind, f"{error.strerror}: {error.filename}", sent=sent)


_KINDS = {
    errno.ENOENT: FaultKind.NOT_FOUND,
    errno.EACCES: FaultKind.AUTH,
    errno.EPERM: FaultKind.AUTH,
    errno.EROFS: FaultKind.AUTH,
    errno.ELOOP: FaultKind.BAD_REQUEST,
    errno.ENOTDIR: FaultKind.BAD_REQUEST,
    errno.EISDIR: FaultKind.BAD_REQUEST,
    errno.ENAMETOOLONG: FaultKind.BAD_REQUEST,
    errno.ENXIO: FaultKind.BAD_REQUEST,
    errno.ENOSPC: FaultKind.QUOTA,
    errno.EDQUOT: FaultKind.QUOTA,
}
