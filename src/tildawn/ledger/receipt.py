"""A receipt: one text that shows, away from the house, that a fact is in its ledger.

What it is not: the fact.  Its body travels beside, and is compared by its hash.

Source: C2SP tlog-proof: the first line, an optional line of extra data, the index, the hashes
of the proof of inclusion in base64, nearest first, an empty line, and the checkpoint as it is.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Iterable

import msgspec

from tildawn.errors import ProofBroken
from tildawn.ledger.checkpoint import Checkpoint, check_checkpoint, parse_checkpoint
from tildawn.ledger.note import Note, Verifier, parse_note
from tildawn.ledger.proof import check_inclusion


HEADER = "c2sp.org/tlog-proof@v1"
HASHES_MAX = 63
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """As it was made or read; nothing of it is verified.  ``extra`` is never trusted."""

    index: int
    path: tuple[bytes, ...]
    note: Note
    extra: bytes = b""

    @property
    def checkpoint(self) -> Checkpoint:
        """What the checkpoint says.

        Raises:
            ProofBroken: the note is no checkpoint.
        """
        return parse_checkpoint(self.note.text)

    def dump(self) -> str:
        """The receipt as it is exchanged.

        Raises:
            Nothing.
        """
        extra = [f"extra {b64encode(self.extra).decode()}"] if self.extra else []
        hashes = [b64encode(one).decode() for one in self.path]
        return "\n".join([HEADER, *extra, f"index {self.index}", *hashes, "", self.note.dump()])

    def check(self, leaf: bytes, origin: str, keys: Iterable[Verifier]) -> Checkpoint:
        """Whether the fact with that leaf is in the ledger, at that place.

        Args:
            leaf: of the body of the fact, 32 bytes.
            origin: of the log that is meant.
            keys: those that may sign for it.

        Returns:
            The checkpoint that covers it.

        Raises:
            ProofBroken: it is not shown; says which part does not hold.
        """
        found = check_checkpoint(self.note, origin, keys)
        check_inclusion(leaf, self.index, found.size, found.root, self.path)
        return found


def parse_receipt(content: str) -> Receipt:
    """Read a receipt.

    Raises:
        ProofBroken: it is none.
    """
    head, found, below = content.partition("\n\n")
    lines = head.split("\n")
    if not found or lines[0] != HEADER:
        message = f"this is no receipt: it does not begin with {HEADER}"
        raise ProofBroken(message)
    at = 1
    extra = b""
    if lines[at : at + 1] and lines[at].startswith("extra "):
        extra = _decoded(lines[at].removeprefix("extra "))
        at += 1
    index = _INDEX.fullmatch(lines[at]) if at < len(lines) else None
    if index is None:
        message = "this is no receipt: it has no index"
        raise ProofBroken(message)
    hashes = tuple(_decoded(line) for line in lines[at + 1 :])
    if len(hashes) > HASHES_MAX or any(len(one) != 32 for one in hashes):  # noqa: PLR2004 - SHA-256
        message = "this is no receipt: its hashes are not those of a proof"
        raise ProofBroken(message)
    return Receipt(index=int(index[1]), path=hashes, note=parse_note(below), extra=extra)


def _decoded(text: str) -> bytes:
    try:
        content = b64decode(text, validate=True)
    except (BadBase64, ValueError):
        content = b""
    if not content or b64encode(content).decode() != text:
        message = "this is no receipt: a line of it is no base64"
        raise ProofBroken(message)
    return content
