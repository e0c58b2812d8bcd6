"""What somebody expects of a ledger of some size: a checkpoint, or twelve words.

What it is not: the ledger.  Everything here is pure; what it finds is said in words.
"""

from typing import Protocol

import msgspec

from tildawn.errors import ProofBroken
from tildawn.ledger.checkpoint import Checkpoint, check_checkpoint, origin_of, parse_checkpoint
from tildawn.ledger.keyring import Keyring
from tildawn.ledger.note import Note, Verifier
from tildawn.ledger.words import Kept


class Expectation(Protocol):
    """Something that a ledger of ``size`` facts can be held against."""

    @property
    def where(self) -> str:
        """Where it comes from, for the message."""
        ...

    @property
    def size(self) -> int:
        """How many facts it speaks of."""
        ...

    def differs(self, root: bytes, ring: Keyring) -> str:
        """What is wrong, in words; empty when it holds.

        Args:
            root: of the first ``size`` facts.
            ring: the keys that those facts name.

        Raises:
            Nothing.
        """
        ...


class Signed(msgspec.Struct, frozen=True):
    """A signed checkpoint; ``keys`` are trusted in place of those of the ledger."""

    where: str
    note: Note
    checkpoint: Checkpoint
    keys: tuple[Verifier, ...] = ()

    @property
    def size(self) -> int:
        """How many facts it was signed over."""
        return self.checkpoint.size

    def differs(self, root: bytes, ring: Keyring) -> str:
        """See `Expectation`.

        Raises:
            Nothing.
        """
        span = ring.at(self.size)
        if span is None and not self.keys:
            return f"{self.where} is signed, and the ledger names no key for its {self.size} facts"
        origin = origin_of(ring.name) if span is None else span.origin
        keys = self.keys if span is None else self.keys or (span.verifier,)
        try:
            check_checkpoint(self.note, origin, keys)
        except ProofBroken as error:
            return f"{self.where}: {error.message}"
        if root != self.checkpoint.root:
            return f"{self.where} was signed over {self.size} facts with another root"
        return ""


class Worded(msgspec.Struct, frozen=True):
    """Twelve words that somebody kept."""

    where: str
    kept: Kept

    @property
    def size(self) -> int:
        """How many facts there were."""
        return self.kept.size

    def differs(self, root: bytes, ring: Keyring) -> str:
        """See `Expectation`.

        Raises:
            Nothing.
        """
        span = ring.at(self.size)
        origin = origin_of(ring.name) if span is None else span.origin
        if self.kept.holds(Checkpoint(origin, self.size, root)):
            return ""
        return f"{self.where} were made of another ledger of {self.size} facts"


class Outside(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a ledger from outside; ``keys`` may sign it now, any when empty."""

    expected: tuple[Expectation, ...] = ()
    keys: tuple[Verifier, ...] = ()


NOTHING = Outside()


def signed_by(where: str, note: Note, keys: tuple[Verifier, ...] = ()) -> Signed:
    """A note as an expectation.

    Raises:
        ProofBroken: it is no checkpoint.
    """
    return Signed(where, note, parse_checkpoint(note.text), keys)
