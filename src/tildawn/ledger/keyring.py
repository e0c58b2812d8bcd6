"""Which key signs for which sizes of the ledger, as its own facts say.

What it is not: a private key; `tildawn.ledger.signing` has that.

A key is made or changed by a fact, and named anew by a restore; it signs for the trees that hold
this fact, up to those that hold the next one.  The ledger needs this for itself, so it declares the projection itself.
"""

from base64 import b64decode
from binascii import Error as BadBase64
from collections.abc import Iterable
from typing import cast

import msgspec

from tildawn.errors import LedgerBroken
from tildawn.facts.fact import Fact, FactData, Registry
from tildawn.facts.house import HouseFounded, HouseRestored
from tildawn.facts.signing import SigningKeyMade, SigningKeyRotated
from tildawn.ledger.checkpoint import origin_of
from tildawn.ledger.fold import Change, Get, Projection, Put, Row, Table
from tildawn.ledger.note import Signature, Verifier
from tildawn.units import Seq


class SigningRow(Row, frozen=True, kw_only=True):
    """What signs now; one row, key 0. ``public`` (hexadecimal) is empty before the first key."""

    one: int
    name: str
    public: str
    keys: int


class SigningKeyRow(Row, frozen=True, kw_only=True):
    """One key: it signs for trees of ``begin`` facts and more, until the next one does."""

    begin: int
    at: int
    name: str
    public: str


class Span(msgspec.Struct, frozen=True):
    """A key and an origin, and the smallest tree that they sign for."""

    begin: int
    name: str
    public: str

    @property
    def origin(self) -> str:
        """The origin of checkpoints of this span."""
        return origin_of(self.name)

    @property
    def verifier(self) -> Verifier:
        """The public key under its name."""
        return Verifier(self.origin, bytes.fromhex(self.public))


class Keyring:
    """The keys of a ledger, oldest first."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        """Begin with what is known."""
        self.spans = list(spans)
        self.name = self.spans[-1].name if self.spans else ""

    def at(self, size: int) -> Span | None:
        """The key that signs for trees of that size; None before the first key.

        Raises:
            Nothing.
        """
        found = [span for span in self.spans if span.begin <= size]
        return found[-1] if found and found[-1].public else None

    @property
    def newest(self) -> Span | None:
        """The key that signs now."""
        return self.spans[-1] if self.spans and self.spans[-1].public else None

    def take(self, seq: int, data: FactData) -> None:
        """Learn from a fact; other kinds are passed over.

        Raises:
            LedgerBroken: a key is changed without the word of both keys.
        """
        if isinstance(data, HouseFounded):
            self.name = data.name
        elif isinstance(data, HouseRestored):
            # Another log begins; it is signed by the key that its house has then, or by none yet.
            self.name = data.name
            self.spans.append(Span(seq + 1, data.name, data.public))
        elif isinstance(data, SigningKeyMade):
            if self.newest is not None:
                message = f"fact {seq} makes a first signing key, and there was one before"
                raise LedgerBroken(message, seq=seq)
            self._add(seq, data.public)
        elif isinstance(data, SigningKeyRotated):
            last = self.newest
            if last is None or last.public != data.old or not _agreed(last.origin, data, seq):
                message = f"fact {seq} changes the signing key without the word of both keys"
                raise LedgerBroken(message, seq=seq)
            self._add(seq, data.new)

    def _add(self, seq: int, public: str) -> None:
        if not _is_key(public):
            message = f"fact {seq} names no Ed25519 key"
            raise LedgerBroken(message, seq=seq)
        self.spans.append(Span(seq + 1, self.name, public))


def statement(origin: str, said: SigningKeyRotated) -> str:
    """What both keys sign when one takes over from the other; docs/spec/checkpoints.md.

    Raises:
        Nothing.
    """
    lines = ("tildawn/key-rotation/v1", origin, str(said.size), said.root, said.old, said.new)
    return "\n".join(lines) + "\n"


_SPEAKING = (b'"kind":"SigningKey', b'"kind":"HouseFounded"', b'"kind":"HouseRestored"')


def may_say_keys(body: bytes) -> bool:
    """Whether a body is worth a look for a keyring; quick, and never wrongly no.

    Raises:
        Nothing.
    """
    return any(kind in body for kind in _SPEAKING)


def said_of_keys(registry: Registry, body: bytes) -> FactData | None:
    """What a fact says, for `Keyring.take`; None where it cannot be read.

    Raises:
        HouseTooNew: it is newer than this version.
    """
    try:
        fact = registry.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None  # its form is judged elsewhere
    return fact.data if isinstance(fact, Fact) else None


def _agreed(origin: str, said: SigningKeyRotated, seq: int) -> bool:
    if said.size > seq or not _is_key(said.new):
        return False
    text = statement(origin, said)
    for public, encoded in ((said.old, said.by_old), (said.new, said.by_new)):
        key = Verifier(origin, bytes.fromhex(public))
        try:
            value = b64decode(encoded, validate=True)
        except (BadBase64, ValueError):
            return False
        if not key.holds(text, Signature(key.name, key.key_id, value)):
            return False
    return True


def _is_key(public: str) -> bool:
    try:
        return len(bytes.fromhex(public)) == 32 and public == public.lower()  # noqa: PLR2004 - RFC 8032
    except ValueError:
        return False


_NOBODY = SigningRow(one=0, name="", public="", keys=0)


def _found(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(SigningRow, 0) or _NOBODY
    yield Put(msgspec.structs.replace(row, name=cast("HouseFounded", fact.data).name))


def _restore(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said, row = cast("HouseRestored", fact.data), get(SigningRow, 0) or _NOBODY
    keys = row.keys + int(said.public not in {"", row.public})
    yield Put(msgspec.structs.replace(row, name=said.name, public=said.public, keys=keys))
    yield Put(SigningKeyRow(begin=seq + 1, at=fact.at, name=said.name, public=said.public))


def _make(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    return _next(seq, fact, get, cast("SigningKeyMade", fact.data).public)


def _rotate(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    return _next(seq, fact, get, cast("SigningKeyRotated", fact.data).new)


def _next(seq: Seq, fact: Fact, get: Get, public: str) -> Iterable[Change]:
    row = get(SigningRow, 0) or _NOBODY
    yield Put(msgspec.structs.replace(row, public=public, keys=row.keys + 1))
    yield Put(SigningKeyRow(begin=seq + 1, at=fact.at, name=row.name, public=public))


SIGNING = Projection(
    name="signing",
    version=1,
    tables=(
        Table(name="signing", row=SigningRow, key=("one",)),
        Table(name="signing_key", row=SigningKeyRow, key=("begin",)),
    ),
    folds={
        HouseFounded: _found,
        HouseRestored: _restore,
        SigningKeyMade: _make,
        SigningKeyRotated: _rotate,
    },
)
"""A ledger that folds this signs checkpoints; one that does not has no key and no seal."""
