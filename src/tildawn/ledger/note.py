"""Signed notes: a text with signatures below it, as transparency logs exchange them.

What it is not: a checkpoint, which is one kind of text, or a decision about whom to trust.

Source: C2SP signed-note 1.0.0.  A note is a text that ends with a line feed, an empty line, and
one line for each signature: ``— NAME BASE64(4 bytes of key id ‖ signature)``.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Iterable, Sequence
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tildawn.errors import BadValue, ProofBroken


ED25519 = 0x01
"""The type of a plain Ed25519 signature. Source: C2SP signed-note, signature types."""

COSIGNED = 0x04
"""The type of a timestamped Ed25519 cosignature. Source: C2SP tlog-cosignature."""

SIGNATURES_MAX = 100
NOTE_BYTES_MAX = 1_000_000
"""Bounds of what is read from others. Source: golang.org/x/mod/sumdb/note."""

_NAME = re.compile(r"[^\s+]+")
_LINE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_DASH = "— "


class Signature(msgspec.Struct, frozen=True):
    """One signature line: the name of a key, its 4-byte id, and the signature itself."""

    name: str
    key_id: bytes
    value: bytes


class Note(msgspec.Struct, frozen=True):
    """A note as it was read; nothing of it is verified."""

    text: str
    signatures: tuple[Signature, ...]

    def dump(self) -> str:
        """The note as it is exchanged.

        Raises:
            Nothing.
        """
        lines = (
            f"{_DASH}{one.name} {b64encode(one.key_id + one.value).decode()}\n"
            for one in self.signatures
        )
        return f"{self.text}\n{''.join(lines)}"


class Verifier(msgspec.Struct, frozen=True):
    """A public key under a name.

    ``kind`` is `ED25519` or `COSIGNED`; ``public`` has 32 bytes.
    """

    name: str
    public: bytes
    kind: int = ED25519

    @property
    def key_id(self) -> bytes:
        """SHA-256(name ‖ 0x0A ‖ kind ‖ public), its first 4 bytes."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """A key from its usual form, ``NAME+ID+BASE64``.

        Raises:
            BadValue: it is none, its id is not that of the key, or its type is unknown here.
        """
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            content = b64decode(encoded, validate=True)
        except (BadBase64, ValueError):
            content = b""
        if not _NAME.fullmatch(name) or len(content) != 33 or content[0] not in {ED25519, COSIGNED}:  # noqa: PLR2004 - a type and 32 bytes
            message = f"{text.strip()[:60]!r} is no Ed25519 key of the form NAME+ID+BASE64"
            raise BadValue(message)
        key = cls(name, content[1:], content[0])
        if key.key_id.hex() != key_id.lower():
            message = f"the key of {name} has the id {key.key_id.hex()}, not {key_id}"
            raise BadValue(message)
        return key

    def dump(self) -> str:
        """The usual form, ``NAME+ID+BASE64``.

        Raises:
            Nothing.
        """
        encoded = b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    def holds(self, text: str, signature: Signature) -> bool:
        """Whether that signature of this key is one of that text.

        Raises:
            Nothing.
        """
        message, value = text.encode(), signature.value
        if self.kind == COSIGNED:
            # Eight bytes of time stand before the signature, which covers them.
            time = int.from_bytes(value[:8], "big")
            message, value = cosigned(text, time), value[8:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(value, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class Signer:
    """A private key under a name; it signs texts."""

    def __init__(self, name: str, seed: bytes) -> None:
        """Take the 32-byte seed of an Ed25519 key.

        Raises:
            BadValue: the name has white space or a plus sign, or the seed is of another length.
        """
        if not _NAME.fullmatch(name):
            message = f"{name!r} cannot be the name of a key"
            raise BadValue(message)
        if len(seed) != 32:  # noqa: PLR2004 - RFC 8032
            message = f"a seed of an Ed25519 key has 32 bytes, not {len(seed)}"
            raise BadValue(message)
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(name, self._key.public_key().public_bytes_raw())

    def sign(self, text: str) -> Signature:
        """The signature of a text that ends with a line feed.

        Raises:
            BadValue: the text does not end so.
        """
        _refuse_text(text)
        key = self.verifier
        return Signature(key.name, key.key_id, self._key.sign(text.encode()))

    def cosign(self, text: str, at: int) -> Signature:
        """A witness's signature of a checkpoint at a time, in seconds since 1970.

        Raises:
            BadValue: the text does not end with a line feed.
        """
        _refuse_text(text)
        key = msgspec.structs.replace(self.verifier, kind=COSIGNED)
        value = at.to_bytes(8, "big") + self._key.sign(cosigned(text, at))
        return Signature(key.name, key.key_id, value)


def cosigned(text: str, at: int) -> bytes:
    """What a witness signs. Source: C2SP tlog-cosignature, Ed25519 signatures.

    Raises:
        Nothing.
    """
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def parse_note(content: str) -> Note:
    """Read a note.

    Raises:
        ProofBroken: it is not one.
    """
    text, found, below = content.rpartition("\n\n")
    lines = below.split("\n")
    if not found or lines[-1] or len(content.encode()) > NOTE_BYTES_MAX or "\r" in content:
        message = "this is no signed note: no signatures stand below an empty line"
        raise ProofBroken(message)
    signatures = tuple(_signature(line) for line in lines[:-1])
    if not 0 < len(signatures) <= SIGNATURES_MAX:
        message = f"a signed note has 1 to {SIGNATURES_MAX} signatures, not {len(signatures)}"
        raise ProofBroken(message)
    return Note(f"{text}\n", signatures)


def verify_note(note: Note, keys: Iterable[Verifier]) -> tuple[Verifier, ...]:
    """Which of the keys signed the note; signatures of other keys are passed over.

    Args:
        note: as it was read.
        keys: those that are trusted.

    Returns:
        The keys whose signature holds, each once; none when nobody trusted signed it.

    Raises:
        ProofBroken: a signature names one of the keys and does not hold.
    """
    known = {(key.name, key.key_id): key for key in keys}
    held: dict[Verifier, None] = {}
    for one in note.signatures:
        key = known.get((one.name, one.key_id))
        if key is None:
            continue
        if not key.holds(note.text, one):
            message = f"the signature of {one.name} is not one of this text"
            raise ProofBroken(message)
        held[key] = None
    return tuple(held)


def signed(text: str, signers: Sequence[Signer]) -> Note:
    """A note of that text with a signature of each.

    Raises:
        BadValue: the text does not end with a line feed.
    """
    return Note(text, tuple(signer.sign(text) for signer in signers))


def _refuse_text(text: str) -> None:
    if not text.endswith("\n"):
        message = "the text of a note ends with a line feed"
        raise BadValue(message)


def _signature(line: str) -> Signature:
    match = _LINE.fullmatch(line)
    try:
        content = b64decode(match[2], validate=True) if match else b""
    except (BadBase64, ValueError):
        content = b""
    if match is None or len(content) < 5:  # noqa: PLR2004 - an id of four bytes and something
        message = f"this is no signature line: {line[:80]!r}"
        raise ProofBroken(message)
    return Signature(match[1], content[:4], content[4:])
