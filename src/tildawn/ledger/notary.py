"""Signs how long the ledger is and what its root is, and keeps the newest of that in two places.

What it is not: the judge of the facts.  It signs only what continues what it signed before, and
refuses to begin where a kept checkpoint and the ledger contradict each other.

The order is: a row of the database, durable; then ``marks/checkpoint``; then the folder on
another disk.  So a crash leaves the places behind the row, never before it, and a place that is
before the ledger means that the ledger went back.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tildawn.errors import HouseUnusable, LedgerBroken, NotProvable, ProofBroken, TildawnError
from tildawn.facts.fact import FactData
from tildawn.facts.signing import SigningKeyMade
from tildawn.ids import Ids
from tildawn.ledger.checkpoint import (
    Checkpoint,
    check_checkpoint,
    origin_of,
    parse_checkpoint,
)
from tildawn.ledger.durable import sync_folder, write_durably
from tildawn.ledger.keyring import Keyring, Span
from tildawn.ledger.layout import Layout
from tildawn.ledger.note import Note, Signer
from tildawn.ledger.place import read_note
from tildawn.ledger.request import Done, Request
from tildawn.ledger.signing import make_seed, next_key, not_ours, read_seed
from tildawn.ledger.sqlite.connection import Database
from tildawn.ledger.sqlite.reader import Reader
from tildawn.ledger.sqlite.seals import keyring_of, newest_seal
from tildawn.ledger.sqlite.store import Store
from tildawn.ledger.sqlite.tree import Tree


KEEP = (
    "copy the house away and keep it, then put back the newest copy of the whole house that you"
    " have; tildawn verify says more"
)
UNSEALED = (
    "put back marks/checkpoint from where you keep one; or compare the ledger with what you know,"
    " then tildawn restore --to latest begins another log from it, and says so on record"
)
_log = logging.getLogger(__name__)


class Notary:
    """The signer of an open house, and what it signed last.

    One thread at a time signs; ``lock`` is held from reading the tree until it is settled.
    """

    def __init__(self, layout: Layout, ids: Ids, *, folder: Path | None = None) -> None:
        """Take the house; nothing is read yet.

        Args:
            layout: its paths.
            ids: makes its key.
            folder: on another disk, where one more copy of the newest checkpoint goes.
        """
        self.lock = threading.RLock()
        self.layout = layout
        self.newest: Checkpoint | None = None
        self.note: Note | None = None
        #: Places whose copy is behind, and why.
        self.behind: dict[Path, str] = {}
        self._ids = ids
        self._folder = folder
        self._seed = b""
        self._signer: Signer | None = None
        self._read: dict[Path, Note | None] = {}

    def prepare(self, database: Database) -> Sequence[FactData]:
        """Compare the places with the ledger, and see to the key; before the pen is on record.

        A crash behind it leaves a key that nothing names yet; the next start takes that one.

        Args:
            database: migrated, its tail checked, its projections up to date.

        Returns:
            What is to be recorded with the pen.

        Raises:
            LedgerBroken: a kept checkpoint contradicts the ledger; says which and how.
            NotProvable: its key has signed it, and no checkpoint is left anywhere.
            HouseUnusable: the key is missing, is another one, or can be used by others.
        """
        ring, tree = keyring_of(database), Tree(database)
        self.note = newest_seal(database)
        if self.note is not None:
            self.newest = _held("the newest checkpoint of the database", self.note, ring, tree)
        for path in self._places(ring.name):
            self._compare(path, ring, tree)
        if self.note is None:
            _refuse_unsealed(ring.newest, tree.size)
        return self._see_to_key(ring.newest)

    def begin(self, name: str, store: Store) -> None:
        """Sign under the name of the house from now on; bring the places up to date.

        A house whose key was just named gets its first one.

        Args:
            name: of the house.
            store: its pen is on record, and no thread uses it yet.

        Raises:
            TildawnError: the first checkpoint cannot be kept.
        """
        self.use(self._seed, name)
        for path in self._places(name):
            self._read.setdefault(path, None)
        if self.note is None:
            self._seal_over(store)
        else:
            stale = [path for path, note in self._read.items() if note != self.note]
            self._publish(self.note, stale)

    def seal(
        self,
        reading: Callable[[], AbstractContextManager[Reader]],
        submit: Callable[[Request], None],
    ) -> Note:
        """Sign the ledger as it is now, through its writer; blocks until it is durable.

        Raises:
            LedgerBroken: the ledger does not continue what was signed before.
            TildawnError: it could not be kept.
        """
        with self.lock:
            with reading() as reader:
                note = self.draft(reader.tree())
            if note is None:
                self.mend()
                assert self.note is not None
                return self.note
            answered = threading.Event()
            request = _request(note, lambda _: answered.set())
            submit(request)
            answered.wait()
            return self._settled(note, request)

    def seal_last(self, store: Store) -> None:
        """Sign what the last holder of the pen leaves, over the store itself; its thread ended.

        Raises:
            Nothing; what was signed before stands, and the next holder signs the rest.
        """
        if store.broken:
            return
        try:
            with self.lock:
                self._seal_over(store)
        except TildawnError:
            _log.exception("the last checkpoint could not be signed")

    def use(self, seed: bytes, name: str) -> None:
        """Sign with another key from now on.

        Raises:
            BadValue: the name cannot be that of a key.
        """
        self._signer = Signer(origin_of(name), seed)

    @property
    def signer(self) -> Signer:
        """The key that signs now."""
        assert self._signer is not None, "notary has begun"
        return self._signer

    def draft(self, tree: Tree) -> Note | None:
        """Sign a tree; nothing is kept yet.

        Args:
            tree: as it is now.

        Returns:
            The note, or None when the newest one is of this size already.

        Raises:
            LedgerBroken: the tree is smaller than what was signed, or another one.
        """
        before, size = self.newest, tree.size
        if before is not None:
            if size == before.size and tree.root(size) == before.root:
                return None
            if size <= before.size or tree.root(before.size) != before.root:
                message = (
                    f"nothing is signed: the ledger of {size} facts does not continue the"
                    f" checkpoint of {before.size}"
                )
                raise LedgerBroken(message, hint=KEEP, seq=min(size, before.size))
        root = tree.root(size)
        if root != tree.head_root:
            message = f"nothing is signed: the head of {size} facts is not what their leaves make"
            raise LedgerBroken(message, hint=KEEP, seq=size)
        return Checkpoint(self.signer.verifier.name, size, root).sign([self.signer])

    def _seal_over(self, store: Store) -> None:
        note = self.draft(Tree(store.database))
        if note is not None:
            request = _request(note)
            store.commit([request])
            self._settled(note, request)

    def _settled(self, note: Note, request: Request) -> Note:
        """Put a note into the other places, once its row is durable in the database.

        A crash before the end leaves places that are behind; the next start brings them up.
        One that refuses is named in ``behind``, and tried again with the next checkpoint.
        """
        if isinstance(request.outcome, TildawnError):
            raise request.outcome
        self.newest, self.note = parse_checkpoint(note.text), note
        self._publish(note, list(self._read))
        return note

    def mend(self) -> None:
        """Try again to bring up places that are behind.

        Raises:
            Nothing.
        """
        if self.note is not None and self.behind:
            self._publish(self.note, list(self.behind))

    def _places(self, name: str) -> tuple[Path, ...]:
        if self._folder is None or not name:
            return (self.layout.checkpoint,)
        return (self.layout.checkpoint, self._folder / name / "checkpoint")

    def _compare(self, path: Path, ring: Keyring, tree: Tree) -> None:
        try:
            note = read_note(path)
        except OSError as error:
            if path == self.layout.checkpoint:
                message = f"{path} cannot be read: {error.strerror}"
                raise HouseUnusable(message, hint="make it readable") from error
            _log.warning("the checkpoint on another disk cannot be read: %s", error)
            note = None
        except ProofBroken as error:
            message = f"{path} is no checkpoint of this house: {error.message}"
            raise LedgerBroken(message, hint=KEEP) from error
        self._read[path] = note
        if note is None:
            return
        found = _held(str(path), note, ring, tree)
        if self.newest is None or found.size > self.newest.size:
            # Its row is gone, and it holds: what was signed is never forgotten.
            self.newest, self.note = found, note

    def _see_to_key(self, span: Span | None) -> Sequence[FactData]:
        path, fresh = self.layout.signing_key, next_key(self.layout)
        if span is None:
            self._seed = read_seed(path) if path.exists() else make_seed(path, self._ids)
            return (SigningKeyMade(public=_public(self._seed)),)
        if fresh.exists() and _public(read_seed(fresh)) == span.public:
            # A rotation that was recorded and did not come to its end.
            fresh.replace(path)
            sync_folder(path.parent)
        fresh.unlink(missing_ok=True)
        self._seed = read_seed(path)
        if _public(self._seed) != span.public:
            raise not_ours(path, span.public)
        return ()

    def _publish(self, note: Note, places: Sequence[Path]) -> None:
        content = note.dump().encode()
        for path in places:
            try:
                # Only the folder of the house: a disk that is not there is not made.
                path.parent.mkdir(exist_ok=True, mode=0o700)
                write_durably(path, content)
            except OSError as error:
                self.behind[path] = str(error.strerror)
                _log.warning("the checkpoint could not be kept in %s: %s", path, error)
            else:
                self.behind.pop(path, None)
                self._read[path] = note


def _refuse_unsealed(span: Span | None, size: int) -> None:
    """Sign nothing for the first time twice: whoever takes all seals away may have changed facts.

    A key is named by the last fact of its commit, and its first checkpoint follows at once; so a
    crash between the two leaves no fact behind it.
    """
    if span is None or size <= span.begin:
        return
    message = (
        f"nothing seals the {size} facts of this ledger any more: its key signed from fact"
        f" {span.begin} on, and no checkpoint of it is left"
    )
    raise NotProvable(message, hint=UNSEALED)


def _held(where: str, note: Note, ring: Keyring, tree: Tree) -> Checkpoint:
    """The checkpoint of a kept note, if the ledger continues it."""
    try:
        found = parse_checkpoint(note.text)
        span = ring.at(min(found.size, tree.size))
        if span is not None:
            check_checkpoint(note, span.origin, [span.verifier])
    except ProofBroken as error:
        message = f"{where} is none of this house: {error.message}"
        raise LedgerBroken(message, hint=KEEP) from error
    if found.size > tree.size:
        message = (
            f"the ledger has {tree.size} facts, and {where} was signed over {found.size}:"
            " it was rolled back or cut off"
        )
        raise LedgerBroken(message, hint=KEEP, seq=tree.size)
    if span is None:
        message = f"{where} was signed, and the ledger names no key for its {found.size} facts"
        raise LedgerBroken(message, hint=KEEP, seq=found.size)
    if tree.root(found.size) != found.root:
        message = f"{where} was signed over {found.size} facts with another root"
        raise LedgerBroken(message, hint=KEEP, seq=found.size)
    return found


def _request(note: Note, done: Done | None = None) -> Request:
    return Request((), done=done, seal=(parse_checkpoint(note.text).size, note.dump()))


def _public(seed: bytes) -> str:
    return Signer("key", seed).verifier.public.hex()
