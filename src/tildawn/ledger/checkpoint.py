"""A checkpoint: how long the ledger was and what its root was, as a text that gets signed.

What it is not: the signing or the keeping.  Everything here is pure.

Source: C2SP tlog-checkpoint 1.0.0: the origin, the size, the root in base64, each on a line of
its own.  We write no extension lines.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Iterable, Sequence

import msgspec

from tildawn.errors import ProofBroken
from tildawn.ledger.note import Note, Signer, Verifier, signed, verify_note


_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
ROOT_BYTES = 32


class Checkpoint(msgspec.Struct, frozen=True):
    """That the log ``origin`` had ``size`` entries with that root of 32 bytes."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    def sign(self, signers: Sequence[Signer]) -> Note:
        """The checkpoint as a signed note.

        Raises:
            Nothing.
        """
        return signed(self.text, signers)


def origin_of(name: str) -> str:
    """The origin of a house's log, which is the name of its key too.

    Raises:
        Nothing.
    """
    return f"tildawn/{name}"


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a note as a checkpoint; further lines, of other logs, are passed over.

    Raises:
        ProofBroken: it is none.
    """
    lines = text.split("\n")
    origin, size, root = lines[:3] if len(lines) > 3 else ("", "", "")  # noqa: PLR2004 - three lines and their end
    try:
        decoded = b64decode(root, validate=True)
    except (BadBase64, ValueError):
        decoded = b""
    whole = origin and _SIZE.fullmatch(size) and len(decoded) == ROOT_BYTES
    if not whole or b64encode(decoded).decode() != root or "" in lines[3:-1]:
        message = "this note is no checkpoint: origin, size and root are not on its first lines"
        raise ProofBroken(message)
    return Checkpoint(origin, int(size), decoded)


def check_checkpoint(note: Note, origin: str, keys: Iterable[Verifier]) -> Checkpoint:
    """The checkpoint of a note, if one of the keys signed it and it is of that log.

    Args:
        note: as it was read.
        origin: of the log that is meant.
        keys: those that may sign for it.

    Returns:
        The checkpoint.

    Raises:
        ProofBroken: it is no checkpoint or that of another log; or none of the keys signed it.
    """
    found = parse_checkpoint(note.text)
    if found.origin != origin:
        message = f"this is a checkpoint of another log: {found.origin}, not {origin}"
        raise ProofBroken(message)
    if not verify_note(note, keys):
        names = ", ".join(f"{one.name}+{one.key_id.hex()}" for one in note.signatures)
        message = f"no key of {origin} signed this checkpoint; it is signed by {names or 'nobody'}"
        raise ProofBroken(message)
    return found
