"""The manifest of a snapshot: what is in it, with the hashes of every file and of itself.

What it is not: a signature.  It shows damage; whoever can write the folder can write it too.
"""

from hashlib import sha256
from pathlib import Path

import msgspec

from tildawn.errors import LedgerBroken
from tildawn.units import Micros


MANIFEST = "manifest.json"
FORMAT = 1


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file: its path below the snapshot, its length, and its SHA-256 in hexadecimal."""

    path: str
    size_bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot holds.

    ``packed`` is the compressed database as it lies there, ``database`` what it unpacks to;
    ``blobs`` are names, which are the hashes of their contents.  ``checkpoint`` is the newest
    signed note that the house had, empty where it had none.
    """

    format: int
    #: The name of the house, which is the name of its log.
    house: str
    #: Microseconds since 1970.
    taken_at: Micros
    why: str
    build: str
    #: Of the tables; see docs/spec/ledger.md.
    schema: int
    epoch: int
    size: int
    chain: str
    root: str
    checkpoint: str
    packed: File
    database: File
    blobs: tuple[str, ...] = ()
    #: Blobs that the facts name and that the house did not have whole.
    damaged: tuple[str, ...] = ()


class _Sealed(msgspec.Struct, frozen=True):
    manifest: msgspec.Raw
    sha256: str


def sealed(manifest: Manifest) -> bytes:
    """The manifest as it is written: an object of it and the SHA-256 of its bytes.

    Raises:
        Nothing.
    """
    text = msgspec.json.encode(manifest)
    return msgspec.json.encode(_Sealed(msgspec.Raw(text), sha256(text).hexdigest())) + b"\n"


def read_manifest(folder: Path) -> tuple[Manifest, str]:
    """The manifest of a snapshot and its SHA-256 in hexadecimal.

    Raises:
        LedgerBroken: it is missing, damaged, or of another format.
    """
    path = folder / MANIFEST
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_Sealed)
        text = bytes(found.manifest)
        manifest = msgspec.json.decode(text, type=Manifest)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise LedgerBroken(message) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = f"{path} is damaged: {error}"
        raise LedgerBroken(message) from error
    if sha256(text).hexdigest() != found.sha256:
        message = f"{path} is damaged: it does not hash to what it says"
        raise LedgerBroken(message)
    if manifest.format != FORMAT:
        message = f"{path} has format {manifest.format}; this Tildawn knows {FORMAT}"
        raise LedgerBroken(message, hint="pip install --upgrade tildawn")
    return manifest, found.sha256
