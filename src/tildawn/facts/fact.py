"""The envelope of a fact: its canonical bytes, its registry, its payloads.

What it is not: behaviour.  What a fact *means* is in the folds of `tildawn.projections`.

The body of a fact is RFC 8785 JSON in a narrow profile: ASCII keys in code-point order,
integers within ±(2^53 - 1), no floats, at most 65,535 bytes.  Absent fields are left out.
The format is frozen by ``docs/spec/ledger.md`` and the golden ledgers of the tests.
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

import msgspec

from tildawn.errors import BadValue, HouseTooNew
from tildawn.units import Micros


BODY_BYTES_MAX = 65_535
"""Longest body of a fact. Source: C2SP tlog-tiles entry bundles have a 16-bit length."""

INTEGER_MAX = 2**53 - 1
"""Largest integer of a body. Source: RFC 8785 section 3.2.2.3 (I-JSON)."""


class FactData(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What one kind of fact says; the class name is the kind.

    Fields are integers, booleans, ASCII-keyed mappings, tuples and short strings of our own;
    a user's value never is one: it is a payload, and the field holds its salted digest.
    """

    #: The version written now; older ones are upcast on reading.
    VERSION: ClassVar[int] = 1
    #: Fields that hold payload digests; slot i of the fact's payloads belongs to name i.
    PAYLOADS: ClassVar[tuple[str, ...]] = ()


class Fact(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One past-tense entry of the ledger, before or after it has a position.

    ``at`` and ``mono`` are microseconds; ``run`` is the run it belongs to and ``path`` the
    place inside that run; ``epoch`` is absent where the last ``PenTaken`` says it.
    """

    at: Micros
    data: FactData
    kind: str
    v: int
    actor: str = ""
    cause: int = -1
    epoch: int = 0
    id: str = ""
    mono: int = 0
    path: str = ""
    run: str = ""
    trace: str = ""


class RawFact(msgspec.Struct, frozen=True, kw_only=True):
    """A fact whose kind this version does not know: chained, shown, not understood."""

    at: int = 0
    data: msgspec.Raw = msgspec.Raw(b"{}")
    kind: str = ""
    v: int = 0
    actor: str = ""
    cause: int = -1
    epoch: int = 0
    id: str = ""
    mono: int = 0
    path: str = ""
    run: str = ""
    trace: str = ""


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """A user's value as JSON text, with the salt that makes its digest unguessable.

    ``digest`` is 43 characters of unpadded base64url over SHA-256(salt ‖ text).
    """

    text: bytes
    salt: bytes
    digest: str


def payload(text: bytes, *, salt: bytes) -> Payload:
    """Wrap JSON text as a payload.

    Args:
        text: UTF-8 JSON.
        salt: 16 random bytes.

    Returns:
        The payload with its digest.

    Raises:
        Nothing.
    """
    return Payload(text=text, salt=salt, digest=digest_of(salt + text))


def digest_of(content: bytes) -> str:
    """SHA-256 of the content as 43 characters of unpadded base64url.

    Raises:
        Nothing.
    """
    return urlsafe_b64encode(hashlib.sha256(content).digest())[:43].decode("ascii")


_ENCODER = msgspec.json.Encoder(order="sorted")
encode_unchecked = _ENCODER.encode


def canonical(fact: Fact) -> bytes:
    """The canonical body of a fact.

    Args:
        fact: its data holds no floats and no integer beyond ±(2^53 - 1).

    Returns:
        At most 65,535 bytes.

    Raises:
        BadValue: the body is too long or holds something outside the profile.
    """
    body = encode_unchecked(fact)
    if len(body) > BODY_BYTES_MAX:
        message = f"a {fact.kind} fact of {len(body)} bytes is longer than {BODY_BYTES_MAX}"
        raise BadValue(message)
    return body


Upcaster = Callable[[dict[str, object]], dict[str, object]]
"""Turns the data of version n of a kind into that of version n + 1; pure."""


class Registry:
    """The kinds of facts a house understands; applications extend it by argument."""

    def __init__(
        self,
        kinds: Iterable[type[FactData]],
        *,
        upcasters: Mapping[tuple[str, int], Upcaster] | None = None,
    ) -> None:
        """Collect kinds.

        Args:
            kinds: fact classes with distinct names.
            upcasters: by kind and the version they start from.

        Raises:
            BadValue: two classes have one name.
        """
        self._kinds: dict[str, type[FactData]] = {}
        for kind in kinds:
            if self._kinds.setdefault(kind.__name__, kind) is not kind:
                message = f"two kinds of facts are called {kind.__name__}"
                raise BadValue(message)
        self._upcasters = dict(upcasters or {})
        self._raw = msgspec.json.Decoder(RawFact)

    def __contains__(self, kind: str) -> bool:
        """Whether facts of that kind are understood."""
        return kind in self._kinds

    def kinds(self) -> Mapping[str, type[FactData]]:
        """The classes by name."""
        return dict(self._kinds)

    def decode(self, body: bytes) -> Fact | RawFact:
        """The fact that a body says, upcast to today's version.

        Args:
            body: canonical bytes.

        Returns:
            A `Fact`, or a `RawFact` when its kind is unknown here.

        Raises:
            HouseTooNew: the kind is known and its version is newer than ours.
            msgspec.DecodeError: the body is not what this kind's version says.
        """
        raw = self._raw.decode(body)
        kind = self._kinds.get(raw.kind)
        if kind is None:
            return raw
        if raw.v > kind.VERSION:
            message = f"a {raw.kind} fact has version {raw.v}; this Tildawn knows {kind.VERSION}"
            raise HouseTooNew(message, hint="pip install --upgrade tildawn")
        return Fact(
            at=Micros(raw.at),
            data=self._data(kind, raw),
            kind=raw.kind,
            v=kind.VERSION,
            actor=raw.actor,
            cause=raw.cause,
            epoch=raw.epoch,
            id=raw.id,
            mono=raw.mono,
            path=raw.path,
            run=raw.run,
            trace=raw.trace,
        )

    def _data(self, kind: type[FactData], raw: RawFact) -> FactData:
        if raw.v == kind.VERSION:
            return msgspec.json.decode(raw.data, type=kind)
        fields: dict[str, object] = msgspec.json.decode(raw.data)
        for version in range(raw.v, kind.VERSION):
            fields = self._upcasters[raw.kind, version](fields)
        return msgspec.convert(fields, kind)
