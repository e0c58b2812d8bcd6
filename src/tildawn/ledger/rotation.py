"""Lets a new key take over from the one that signs checkpoints.

What it is not: the key's validity; that follows from the fact alone.

The old private key is destroyed: it can only do harm, since checkpoints that it signed are
verified with its public half, which is on record.
"""

from base64 import b64encode
from collections.abc import Callable

import msgspec

from tildawn.errors import HouseUnusable
from tildawn.facts.signing import SigningKeyRotated
from tildawn.ids import Ids
from tildawn.ledger.checkpoint import parse_checkpoint
from tildawn.ledger.durable import sync_folder
from tildawn.ledger.keyring import statement
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.notary import Notary
from tildawn.ledger.note import Signer, Verifier
from tildawn.ledger.signing import make_seed, next_key


Reached = Callable[[str], None]


def rotate_key(
    ledger: Ledger, reason: str, *, ids: Ids, reached: Reached = lambda _: None
) -> tuple[Verifier, Verifier]:
    """Change the key that signs checkpoints; blocks for some commits.

    Args:
        ledger: open to write.
        reason: why, for the record.
        ids: gives the new key.
        reached: told after each step, for tests that end the process there.

    Returns:
        The old key and the new one.

    Raises:
        HouseUnusable: the ledger is not open to write, or signs nothing; or the disk refuses.
        LedgerBroken: the ledger does not continue what was signed before.
        TildawnError: the fact could not be recorded; the old key goes on.
    """
    notary = ledger.notary
    if notary is None:
        message = "checkpoints are signed by whoever holds the pen"
        raise HouseUnusable(message, hint="open the house to write")
    # Nobody signs in between: behind the fact the old key has no word any more.
    with notary.lock:
        ledger.checkpoint()
        reached("sealed")
        old = notary.signer
        seed = make_seed(next_key(notary.layout), ids)
        # A crash from here on leaves a key that no fact names; the next start removes it.
        reached("made")
        new = Signer(old.verifier.name, seed)
        _record(ledger, notary, new, reason)
        # A crash from here on leaves the fact and both files; the next start moves the file.
        reached("recorded")
        _move(notary)
        notary.use(seed, ledger.name)
        reached("moved")
        ledger.checkpoint()
        return old.verifier, new.verifier


def _record(ledger: Ledger, notary: Notary, new: Signer, reason: str) -> None:
    old = notary.signer
    last = notary.note
    assert last is not None, "a checkpoint was signed just now"
    checkpoint = parse_checkpoint(last.text)
    payload = ledger.payload(_json(reason)) if reason else None
    said = SigningKeyRotated(
        old=old.verifier.public.hex(), new=new.verifier.public.hex(),
        size=checkpoint.size, root=checkpoint.root.hex(), by_old="", by_new="",
        reason="" if payload is None else payload.digest,
    )  # fmt: skip
    text = statement(old.verifier.name, said)
    by_old, by_new = (b64encode(one.sign(text).value).decode() for one in (old, new))
    said = msgspec.structs.replace(said, by_old=by_old, by_new=by_new)
    ledger.append_now([ledger.draft(said, payloads=[payload])])


def _json(text: str) -> bytes:
    return msgspec.json.encode(text)


def _move(notary: Notary) -> None:
    path = notary.layout.signing_key
    try:
        next_key(notary.layout).replace(path)
        sync_folder(path.parent)
    except OSError as error:
        message = f"{path} cannot be replaced: {error.strerror}; the new key waits beside it"
        raise HouseUnusable(
            message, hint="make the folder writable, then open the house"
        ) from error
