"""Whether a folder is on a disk that keeps its promises.

What it is not: a test of speed or of free space; the doctor does that.
"""

import ctypes
import os
import sys
from pathlib import Path

from tildawn.errors import HouseUnusable


NETWORK = frozenset(
    {
        "9p", "afpfs", "afs", "ceph", "cifs", "davfs", "fuse.glusterfs", "fuse.rclone",
        "fuse.s3fs", "fuse.sshfs", "gfs2", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2",
        "smb3", "smbfs", "webdav",
    }
)  # fmt: skip
"""File systems whose locks or shared memory SQLite cannot rely on. Source: sqlite.org/wal.html."""


def check_folder(folder: Path) -> None:
    """Refuse a folder where a ledger cannot be kept.

    Args:
        folder: an existing folder.

    Raises:
        HouseUnusable: a network file system, or nothing can be written there.
    """
    kind = file_system_of(folder)
    if kind in NETWORK:
        message = f"{folder} is on a network file system ({kind}), where locks do not hold"
        raise HouseUnusable(message, hint="keep the house on a local disk")
    if not os.access(folder, os.W_OK | os.X_OK) or _read_only(folder):
        message = f"{folder} cannot be written"
        raise HouseUnusable(message, hint="make it writable, or move the house to another disk")


def file_system_of(folder: Path) -> str:
    """The type of file system a folder is on; empty where the system does not tell.

    Raises:
        Nothing.
    """
    if sys.platform == "darwin":
        return _darwin(folder)
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return mounted_type(folder.resolve(), mounts)


def mounted_type(folder: Path, mounts: str) -> str:
    """The type of the mount that holds a folder.

    Args:
        folder: an absolute path without links.
        mounts: the text of Linux's mountinfo. Source: proc(5).

    Returns:
        Such as ``ext4``, or an empty text.

    Raises:
        Nothing.
    """
    best, kind = -1, ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields, types = left.split(), right.split()
        if len(fields) < 5 or not types:  # noqa: PLR2004 - the mount point is the fifth field
            continue
        point = Path(fields[4].replace("\\040", " "))
        # Of two mounts at one point the later one covers the earlier.
        if folder.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), types[0]
    return kind


def _read_only(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


# HOLE: run on Linux only so far; the offset is that of statfs64 in Apple's sys/mount.h.
def _darwin(folder: Path) -> str:
    buffer = ctypes.create_string_buffer(4_096)
    library = ctypes.CDLL(None, use_errno=True)
    if library.statfs(os.fsencode(folder), buffer) != 0:
        return ""
    return buffer.raw[72:88].split(b"\0", 1)[0].decode("ascii", "replace")
