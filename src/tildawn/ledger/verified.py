"""Up to where a house was proven the last time, so that the next proof can begin there.

What it is not: evidence.  Whoever can write the house can write this; a quick check trusts it,
and a whole one does not look at it.
"""

import msgspec

from tildawn.ledger.durable import write_durably
from tildawn.ledger.keyring import Keyring, Span
from tildawn.ledger.layout import Layout


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """The hashes after ``size`` facts in hexadecimal, and the keys named until then."""

    size: int
    chain: str
    frontier: str
    name: str
    spans: tuple[Span, ...]

    @classmethod
    def of(cls, size: int, chain: bytes, frontier: bytes, ring: Keyring) -> "Verified":
        """What was proven.

        Raises:
            Nothing.
        """
        return cls(
            size=size, chain=chain.hex(), frontier=frontier.hex(), name=ring.name,
            spans=tuple(ring.spans),
        )  # fmt: skip

    def keyring(self) -> Keyring:
        """The keys.

        Raises:
            Nothing.
        """
        ring = Keyring(self.spans)
        ring.name = self.name
        return ring


def verified_before(layout: Layout) -> Verified | None:
    """What was proven the last time; None where nothing usable is kept.

    Raises:
        Nothing.
    """
    try:
        return msgspec.json.decode(layout.verified.read_bytes(), type=Verified)
    except (OSError, msgspec.MsgspecError):
        return None


def remember_verified(layout: Layout, verified: Verified) -> None:
    """Keep what was proven; where the disk refuses, the next quick check takes longer.

    Raises:
        Nothing.
    """
    try:
        write_durably(layout.verified, msgspec.json.encode(verified))
    except OSError:
        return
