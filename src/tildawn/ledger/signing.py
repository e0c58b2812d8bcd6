"""The private key that signs checkpoints, as a file of the house.

What it is not: the word which key is valid; the facts say that (`tildawn.ledger.keyring`).

The file holds the 32 bytes of an Ed25519 seed as 64 hexadecimal digits and a line feed, and only
its owner may read it.  The name of the key comes from the ledger.
"""

import re
import stat
from pathlib import Path

from tildawn.errors import HouseUnusable
from tildawn.ids import Ids
from tildawn.ledger.durable import sync_folder, write_durably
from tildawn.ledger.layout import Layout


SEED_BYTES = 32
_FORM = re.compile(rb"([0-9a-f]{64})\n")
_RESTORE = "restore it from your backup of keys/; a house whose key is lost can only be read"


def next_key(layout: Layout) -> Path:
    """Where a new key waits until the ledger has accepted it.

    Raises:
        Nothing.
    """
    return layout.signing_key.with_name("signing.key.next")


def make_seed(path: Path, ids: Ids) -> bytes:
    """Write a new key; a crash leaves none or a whole one.

    Raises:
        HouseUnusable: the disk refuses.
    """
    seed = ids.random(SEED_BYTES)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_durably(path, seed.hex().encode() + b"\n", mode=0o600)
        sync_folder(path.parent.parent)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise HouseUnusable(message, hint="make the folder writable, or move it") from error
    return seed


def read_seed(path: Path) -> bytes:
    """The key in a file that only its owner can read.

    Raises:
        HouseUnusable: it is missing, damaged, or can be read or changed by others.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        content = path.read_bytes()
    except OSError as error:
        message = f"the signing key {path} cannot be read: {error.strerror}"
        raise HouseUnusable(message, hint=_RESTORE) from error
    if mode & 0o077:
        message = f"the signing key {path} can be used by others: its mode is {mode:04o}"
        raise HouseUnusable(message, hint=f"chmod 600 {path}")
    match = _FORM.fullmatch(content)
    if match is None:
        message = f"the signing key {path} is not 64 hexadecimal digits"
        raise HouseUnusable(message, hint=_RESTORE)
    return bytes.fromhex(match[1].decode())


def not_ours(path: Path, public: str) -> HouseUnusable:
    """What to say when the key in the file is not the one that the ledger names.

    Raises:
        Nothing.
    """
    message = f"the signing key {path} is not the one that the ledger names ({public[:16]}…)"
    return HouseUnusable(message, hint=_RESTORE)
