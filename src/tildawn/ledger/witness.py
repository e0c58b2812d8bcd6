"""A witness: remembers the newest checkpoint of each log it knows, and cosigns only what grew from it.

What it is not: the server, which is `tildawn.faces.witness`, or the client, which is
`tildawn.providers.witness`.  It needs no house.

Source: C2SP tlog-witness 1.0.0 and tlog-cosignature 1.0.1.  The outcomes of a submission are
numbers of HTTP there, so they are here.
"""

import fcntl
import os
import re
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path

import msgspec

from tildawn.errors import BadValue, LedgerBroken, ProofBroken
from tildawn.ledger.chain import EMPTY_ROOT
from tildawn.ledger.checkpoint import Checkpoint, check_checkpoint, parse_checkpoint
from tildawn.ledger.durable import write_durably
from tildawn.ledger.note import COSIGNED, Note, Signature, Signer, Verifier, parse_note, verify_note
from tildawn.ledger.proof import check_consistency
from tildawn.units import SECOND, Micros


PROOF_LINES_MAX = 63
"""Source: C2SP tlog-witness, add-checkpoint."""

SUBMISSION_BYTES_MAX = 256 * 1024
"""A checkpoint with a proof and some dozens of signatures of any kind stays below it."""

SIZE_TYPE = "text/x.tlog.size"
"""The media type of the answer that tells a size. Source: C2SP tlog-witness, add-checkpoint."""

_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")
_HASH_BYTES = 32


class Submission(msgspec.Struct, frozen=True):
    """A checkpoint, and the proof that it has grown from the one of ``old`` entries."""

    old: int
    proof: tuple[bytes, ...]
    note: Note

    def dump(self) -> str:
        """As it is sent.

        Raises:
            Nothing.
        """
        proof = "".join(f"{b64encode(one).decode()}\n" for one in self.proof)
        return f"old {self.old}\n{proof}\n{self.note.dump()}"


def parse_submission(text: str) -> Submission:
    """Read a submission.

    Raises:
        ProofBroken: it is none.
    """
    head, found, note = text.partition("\n\n")
    first, *lines = head.split("\n")
    old = _OLD.fullmatch(first)
    if not found or old is None or len(lines) > PROOF_LINES_MAX:
        message = "a submission is 'old SIZE', at most 63 hashes, an empty line, and a checkpoint"
        raise ProofBroken(message)
    return Submission(int(old[1]), tuple(_hash(line) for line in lines), parse_note(note))


class Answer(msgspec.Struct, frozen=True):
    """What came of a request, in the words of HTTP."""

    status: HTTPStatus
    text: str
    media_type: str = "text/plain; charset=utf-8"


class Witness:
    """The memory of a witness in a folder, and its key.

    Durability: a cosignature is given only for what is on the disk.  Order: between the look at
    what is kept and the writing nobody else writes, in this process or another one, so that of
    two submissions that fork a log at most one is cosigned.
    """

    def __init__(
        self,
        folder: Path,
        signer: Signer,
        logs: Sequence[Verifier],
        *,
        wall: Callable[[], Micros],
    ) -> None:
        """Take the folder, which must be there, the key, and the logs that it witnesses.

        Args:
            folder: where the newest checkpoint of each log is kept.
            signer: its own key.
            logs: their keys; the name of a key is the origin of its log, and a log that changed
                its key has several.
            wall: says the time of a cosignature.

        Raises:
            Nothing.
        """
        self._folder = folder
        self._signer = signer
        self._logs: dict[str, list[Verifier]] = {}
        for key in logs:
            self._logs.setdefault(key.name, []).append(key)
        self._origins = {_digest(origin): origin for origin in self._logs}
        self._wall = wall

    @property
    def verifier(self) -> Verifier:
        """The key that its cosignatures hold under."""
        return msgspec.structs.replace(self._signer.verifier, kind=COSIGNED)

    def add(self, body: bytes) -> Answer:
        """Judge a submission, and cosign it if it has grown from what is kept; blocks.

        Args:
            body: as it was sent.

        Returns:
            200 with the cosignature; 400 no submission; 403 nobody we trust signed it; 404 an
            unknown log; 409 with the size that is kept; 422 it has not grown from that.

        Raises:
            LedgerBroken: what is kept is damaged; nothing is cosigned then.
            OSError: the disk refuses; nothing was cosigned.
        """
        try:
            asked = parse_submission(body.decode())
            checkpoint = parse_checkpoint(asked.note.text)
        except (ProofBroken, UnicodeDecodeError) as error:
            return Answer(HTTPStatus.BAD_REQUEST, f"{error}\n")
        keys = self._logs.get(checkpoint.origin)
        if keys is None:
            return Answer(HTTPStatus.NOT_FOUND, "this log is not known here\n")
        try:
            check_checkpoint(asked.note, checkpoint.origin, keys)
        except ProofBroken as error:
            return Answer(HTTPStatus.FORBIDDEN, f"{error.message}\n")
        if asked.old > checkpoint.size:
            return Answer(HTTPStatus.BAD_REQUEST, "the old size is above that of the checkpoint\n")
        return self._judge(asked, checkpoint, keys)

    def newest(self, digest: str) -> str | None:
        """The newest checkpoint that was cosigned for a log, with our cosignature; blocks.

        Args:
            digest: SHA-256 of its origin in lower-case hexadecimal.

        Returns:
            The note; None for a log that is not known or never sent one.

        Raises:
            LedgerBroken: it is damaged.
            OSError: the disk refuses.
        """
        origin = self._origins.get(digest)
        kept = None if origin is None else self._read(origin, self._logs[origin])
        return None if kept is None else kept.dump()

    def _judge(self, asked: Submission, new: Checkpoint, keys: Sequence[Verifier]) -> Answer:
        with self._locked(new.origin):
            kept = self._read(new.origin, keys)
            old = (
                Checkpoint(new.origin, 0, EMPTY_ROOT)
                if kept is None
                else parse_checkpoint(kept.text)
            )
            if asked.old != old.size:
                return Answer(HTTPStatus.CONFLICT, f"{old.size}\n", SIZE_TYPE)
            try:
                _refuse_empty(new)
                check_consistency(old.size, old.root, new.size, new.root, asked.proof)
            except ProofBroken as error:
                return Answer(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error.message}\n")
            cosignature = self._signer.cosign(asked.note.text, self._wall() // SECOND)
            self._keep(new.origin, asked.note, keys, cosignature)
        return Answer(HTTPStatus.OK, lines_of([cosignature]))

    def _keep(
        self, origin: str, note: Note, keys: Sequence[Verifier], cosignature: Signature
    ) -> None:
        """A crash leaves the old checkpoint or the new one; the asker does not know which."""
        held = {(key.name, key.key_id) for key in verify_note(note, keys)}
        signatures = [one for one in note.signatures if (one.name, one.key_id) in held]
        content = Note(note.text, (*signatures, cosignature)).dump().encode()
        write_durably(self._path(origin), content, mode=0o644)

    def _read(self, origin: str, keys: Sequence[Verifier]) -> Note | None:
        """What is kept, only if we cosigned it: whoever alters the file makes us no liar."""
        try:
            content = self._path(origin).read_text("utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            content = ""
        try:
            note = parse_note(content)
            parse_checkpoint(note.text)
            if origin == note.text.partition("\n")[0] and verify_note(note, [self.verifier]):
                return note
        except ProofBroken:
            pass
        message = f"{self._path(origin)} is not what this witness cosigned; it cosigns no more"
        raise LedgerBroken(message, hint="retire this witness: make another one with another key")

    def _path(self, origin: str) -> Path:
        return self._folder / f"{_digest(origin)}.checkpoint"

    @contextmanager
    def _locked(self, origin: str) -> Generator[None]:
        handle = os.open(self._folder / f"{_digest(origin)}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


# HOLE: a witness whose folder is put back to an older copy forgets what it saw since; nothing
# here can know.  docs/how-to/run-a-witness.md says to retire it then.


def lines_of(signatures: Sequence[Signature]) -> str:
    """Signature lines as a witness answers them.

    Raises:
        Nothing.
    """
    return Note("", tuple(signatures)).dump().removeprefix("\n")


def make_witness(folder: Path, name: str, seed: bytes) -> Verifier:
    """Make the key of a witness, in a folder of its own.

    Args:
        folder: made where it is missing.
        name: of the key, such as ``nas.example/w1``; no white space and no plus sign.
        seed: 32 random bytes.

    Returns:
        The key under which its cosignatures hold.

    Raises:
        BadValue: the name cannot be one, or there is a key already.
        OSError: the disk refuses.
    """
    key = msgspec.structs.replace(Signer(name, seed).verifier, kind=COSIGNED)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / KEY).exists():
        message = f"there is a key already: {folder / KEY}"
        raise BadValue(message, hint="serve it, or choose another folder")
    # A crash in between leaves a key without a name, which is found and named.
    write_durably(folder / KEY, f"{seed.hex()}\n".encode(), mode=0o600)
    write_durably(folder / PUBLIC, f"{key.dump()}\n".encode(), mode=0o644)
    return key


def read_witness(folder: Path) -> Signer:
    """The key of a witness.

    Raises:
        BadValue: there is none, others may read it, or it does not fit its public part.
    """
    path, public = folder / KEY, folder / PUBLIC
    try:
        mode = path.stat().st_mode & 0o777
        seed = bytes.fromhex(path.read_text("ascii"))
        key = Verifier.parse(public.read_text("utf-8"))
    except (OSError, ValueError) as error:
        message = f"{folder} holds no key of a witness: {error}"
        raise BadValue(message, hint="tildawn witness init") from error
    if mode & 0o077:
        message = f"others may read {path}"
        raise BadValue(message, hint=f"chmod 600 {path}")
    signer = Signer(key.name, seed)
    if signer.verifier.public != key.public:
        message = f"{path} is not the key of {public}"
        raise BadValue(message, hint="put back the one that belongs there")
    return signer


KEY, PUBLIC = "witness.key", "witness.vkey"


def _refuse_empty(new: Checkpoint) -> None:
    if new.size == 0 and new.root != EMPTY_ROOT:
        message = "the root of an empty tree is another one"
        raise ProofBroken(message)


def _digest(origin: str) -> str:
    return sha256(origin.encode()).hexdigest()


def _hash(line: str) -> bytes:
    try:
        found = b64decode(line, validate=True)
    except (BadBase64, ValueError):
        found = b""
    if len(found) != _HASH_BYTES:
        message = f"this is no hash: {line[:80]!r}"
        raise ProofBroken(message)
    return found
