"""Anchors: other places that keep a checkpoint, so that no copy here can be cut or rewritten unseen.

What it is not: a place.  A file on a second disk is `tildawn.ledger.anchor_file`; a repository
of git and an HTTP witness are providers.  Nor when to anchor; that is `tildawn.runtime.anchors`.
"""

import re
from collections.abc import Callable
from typing import Protocol

import msgspec

from tildawn.errors import BadValue, ProofBroken
from tildawn.ledger.checkpoint import Checkpoint, check_checkpoint, parse_checkpoint
from tildawn.ledger.note import Note, Verifier, parse_note
from tildawn.ledger.proof import check_consistency


Prove = Callable[[int], tuple[bytes, ...]]
"""``prove(old)``: that the tree of the claim begins with the tree of ``old`` entries, at most its
own size; see `tildawn.ledger.proof.prove_consistency`."""

_PLAIN_ORIGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


class Claim(msgspec.Struct, frozen=True):
    """What a log says of itself: a checkpoint that it signed, and how to show how it grew.

    ``keys`` are all that ever signed for the log, for older checkpoints lie elsewhere.
    """

    note: Note
    keys: tuple[Verifier, ...]
    prove: Prove

    @property
    def checkpoint(self) -> Checkpoint:
        """What the note says.

        Raises:
            ProofBroken: it is no checkpoint.
        """
        return parse_checkpoint(self.note.text)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """That a place has a checkpoint of ``size`` facts with that root.

    ``text`` is what it gave for it, such as the path of a file, the id of a commit, or a
    cosignature; ``warning`` says in words what makes this place weaker than it looks.
    """

    size: int
    root: bytes
    text: str
    warning: str = ""


class Anchor(Protocol):
    """One other place.

    Durability: when `anchor` returns, the place has the checkpoint on its disk.  Repetition is
    harmless: the same checkpoint again is the same evidence.  Order: a place never goes from a
    larger tree to a smaller one, nor to one that did not grow from what it has.  After an error
    the place may have the checkpoint or not; doing it again finds out.
    """

    @property
    def name(self) -> str:
        """As the settings call it."""
        ...

    @property
    def kind(self) -> str:
        """``file``, ``git`` or ``witness``."""
        ...

    async def anchor(self, claim: Claim) -> Evidence:
        """Have the place keep a checkpoint.

        Raises:
            AnchorFailed: it did not answer, or did not take it.
            ProofBroken: it has a larger tree, or one that this one did not grow from.
        """
        ...

    async def check(self, claim: Claim) -> Evidence | None:
        """What the place has of that log now, if the claim has grown from it.

        Returns:
            Evidence of what it has; None when it has nothing of that log.

        Raises:
            AnchorFailed: it did not answer.
            ProofBroken: it has a larger tree, or one that this one did not grow from.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections.

        Raises:
            Nothing.
        """
        ...


def agree(claim: Claim, place: str, kept: str) -> Checkpoint:
    """The checkpoint that a place has, if the claim is the same tree or has grown from it.

    Args:
        claim: ours.
        place: in words, for the reason of a refusal.
        kept: the note as the place has it.

    Returns:
        What the place has.

    Raises:
        ProofBroken: it is no checkpoint of this log, or a larger or another tree.
    """
    ours = claim.checkpoint
    try:
        theirs = check_checkpoint(parse_note(kept), ours.origin, claim.keys)
    except ProofBroken as error:
        message = f"{place} holds what this log did not sign: {error.message}"
        raise ProofBroken(message, hint=HINT) from error
    if theirs.size > ours.size:
        raise larger(place, theirs.size, ours.size)
    try:
        check_consistency(
            theirs.size, theirs.root, ours.size, ours.root, claim.prove(theirs.size)
        )  # fmt: skip
    except ProofBroken as error:
        raise differs(place, theirs.size) from error
    return theirs


def larger(place: str, theirs: int, ours: int) -> ProofBroken:
    """The refusal when a place has seen more than is here.

    Raises:
        Nothing.
    """
    message = f"{place} has seen {theirs} facts of this ledger, and here are {ours}: it was cut"
    return ProofBroken(message, hint=HINT, theirs=theirs, ours=ours)


def differs(place: str, theirs: int) -> ProofBroken:
    """The refusal when a place has seen something else than is here.

    Raises:
        Nothing.
    """
    message = f"the first {theirs} facts of this ledger are not those that {place} has seen"
    return ProofBroken(message, hint=HINT, theirs=theirs)


def path_of(origin: str) -> str:
    """The origin as a relative path, such as ``tildawn/0192f0c4``.

    Raises:
        BadValue: it cannot be one.
    """
    if not _PLAIN_ORIGIN.fullmatch(origin):
        message = f"{origin!r} cannot be the name of a folder"
        raise BadValue(message)
    return origin


HINT = "copy the house away and keep it; compare it with your snapshots"
