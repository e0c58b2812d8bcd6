"""How far the checkpoints of a ledger agree with facts whose hashes agree with each other.

What it is not: a whole check of signatures; `tildawn.ledger.sqlite.seal_audit` is.
"""

from pathlib import Path

import apsw
import msgspec

from tildawn.errors import LedgerBroken, ProofBroken
from tildawn.ledger.checkpoint import Checkpoint, check_checkpoint, parse_checkpoint
from tildawn.ledger.keyring import Keyring
from tildawn.ledger.note import Note, parse_note
from tildawn.ledger.sqlite.connection import Database, connect
from tildawn.ledger.sqlite.prefix import End
from tildawn.ledger.sqlite.seals import keyring_of
from tildawn.ledger.sqlite.tree import Tree


def as_signed(path: Path, end: End, beside: Note | None) -> End:
    """What no checkpoint contradicts: whoever changes a fact can make every hash anew.

    Args:
        path: of the database.
        end: what its hashes prove.
        beside: the checkpoint that stands beside it.

    Returns:
        The same end, or that of the last checkpoint that holds before the first that does not.

    Raises:
        HouseUnusable: it cannot be opened.
    """
    database, good = connect(path, write=False), 0
    try:
        sql = "SELECT note FROM checkpoint WHERE size <= ? ORDER BY size"
        notes = [parse_note(str(text)) for (text,) in database.execute(sql, (end.size,))]
        notes += [] if beside is None else [beside]
        ring = keyring_of(database) if notes else Keyring()
        for note in notes:
            if parse_checkpoint(note.text).size <= end.size:
                good = max(good, _held(database, note, ring).size)
    except (apsw.Error, LedgerBroken, ProofBroken) as error:
        why = f"what was signed behind it does not hold: {error}"
        return msgspec.structs.replace(end, size=good, wrong=why)
    finally:
        database.close()
    return end


def _held(database: Database, note: Note, ring: Keyring) -> Checkpoint:
    said = parse_checkpoint(note.text)
    span = ring.at(said.size)
    if span is None:
        message = f"no key is named for the checkpoint of {said.size} facts"
        raise ProofBroken(message)
    check_checkpoint(note, span.origin, [span.verifier])
    if Tree(database).root(said.size) != said.root:
        message = f"the checkpoint of {said.size} facts has another root"
        raise ProofBroken(message)
    return said
