"""A file in which a signed note is kept.

What it is not: a judgement; nothing of the note is verified.
"""

from pathlib import Path

from tildawn.errors import ProofBroken
from tildawn.ledger.note import NOTE_BYTES_MAX, Note, parse_note


def read_note(path: Path) -> Note | None:
    """The signed note in a file; None where there is no file.

    Raises:
        OSError: it cannot be read.
        ProofBroken: it is no signed note.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(NOTE_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    return note_in(content)


def note_in(content: bytes) -> Note:
    """The signed note that some bytes are.

    Raises:
        ProofBroken: they are none.
    """
    try:
        return parse_note(content.decode())
    except UnicodeDecodeError as error:
        message = "this is no signed note: it is no UTF-8"
        raise ProofBroken(message) from error
