"""The house's secret key, which makes digests of guessable values unguessable.

What it is not: a signing key.
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from tildawn.errors import HouseUnusable
from tildawn.ids import Ids
from tildawn.ledger.durable import sync_folder, write_durably


KEY_BYTES = 32

BLOCK_BYTES = 64
"""The block of SHA-256. Source: FIPS 180-4 figure 1."""


def make_key(path: Path, ids: Ids) -> None:
    """Make the key where there is none; a crash leaves none or a whole one.

    Raises:
        HouseUnusable: the disk refuses.
    """
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_durably(path, ids.random(KEY_BYTES), mode=0o600)
        sync_folder(path.parent.parent)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise HouseUnusable(message, hint="make the folder writable, or move it") from error


def read_key(path: Path) -> bytes:
    """The key of a house.

    Raises:
        HouseUnusable: it is missing or not whole; then no natural key would be known again.
    """
    try:
        key = path.read_bytes()
    except OSError as error:
        message = f"the key {path} cannot be read: {error.strerror}"
        raise HouseUnusable(message, hint="restore it from your backup of keys/") from error
    if len(key) != KEY_BYTES:
        message = f"the key {path} has {len(key)} bytes instead of {KEY_BYTES}"
        raise HouseUnusable(message, hint="restore it from your backup of keys/")
    return key


def digester(key: bytes) -> Callable[[bytes], str]:
    """A function that gives HMAC-SHA256 as 43 characters of unpadded base64url.

    The two keyed beginnings are hashed once.  `hmac.digest` looks up its algorithm and lets go
    of the interpreter's lock at every call; measured, that is three times as slow.
    Source: RFC 2104 section 4.

    Args:
        key: at most 64 bytes.

    Returns:
        The function; any thread may call it.

    Raises:
        ValueError: the key is longer than a block.
    """
    if len(key) > BLOCK_BYTES:
        message = f"a key of {len(key)} bytes would have to be hashed first"
        raise ValueError(message)
    padded = key.ljust(BLOCK_BYTES, b"\0")
    inner = sha256(bytes(byte ^ 0x36 for byte in padded))
    outer = sha256(bytes(byte ^ 0x5C for byte in padded))

    def digest(content: bytes) -> str:
        first, second = inner.copy(), outer.copy()
        first.update(content)
        second.update(first.digest())
        return urlsafe_b64encode(second.digest())[:43].decode("ascii")

    return digest
