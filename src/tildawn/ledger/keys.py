"""The house's secret key, which makes digests of guessable values unguessable.

What it is not: a signing key.
"""

import hmac
from base64 import urlsafe_b64encode
from pathlib import Path

from tildawn.errors import HouseUnusable
from tildawn.ids import Ids
from tildawn.ledger.durable import sync_folder, write_durably


KEY_BYTES = 32


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


def keyed_digest(key: bytes, content: bytes) -> str:
    """HMAC-SHA256 as 43 characters of unpadded base64url.

    Raises:
        Nothing.
    """
    return urlsafe_b64encode(hmac.digest(key, content, "sha256"))[:43].decode("ascii")
