"""Facts about the key that signs checkpoints.

What it is not: a key.  Only public halves are ever on record.
"""

from tildawn.facts.fact import FactData


class SigningKeyMade(FactData, frozen=True):
    """The house made its first signing key; ``public`` are 64 hexadecimal digits (Ed25519)."""

    public: str


class SigningKeyRotated(FactData, frozen=True):
    """A new key signs from here on; both keys signed that it is so.

    ``old`` and ``new`` are public keys in hexadecimal.  ``size`` and ``root`` (hexadecimal) are
    those of the last checkpoint of the old key.  ``by_old`` and ``by_new`` are the signatures
    of both, in base64, over the statement of docs/spec/checkpoints.md.
    """

    old: str
    new: str
    size: int
    root: str
    by_old: str
    by_new: str
    reason: str = ""

    PAYLOADS = ("reason",)


KINDS: tuple[type[FactData], ...] = (SigningKeyMade, SigningKeyRotated)
