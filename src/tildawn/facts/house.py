"""Facts about the house itself: founding, pen, verification, machine.

What it is not: anything about work.
"""

from tildawn.facts.fact import FactData


class HouseFounded(FactData, frozen=True):
    """A house was made; always the first fact of a ledger."""

    name: str
    format: int = 1


class PenTaken(FactData, frozen=True):
    """A process took the pen; every fact until the next one belongs to this epoch."""

    epoch: int
    pid: int
    build: str
    boot: str = ""
    reason: str = "open"
    unclean: bool = False


class PenLaid(FactData, frozen=True):
    """The holder laid the pen down in order."""

    epoch: int


class TailVerified(FactData, frozen=True):
    """The facts up to ``to`` (exclusive) verified against chain and projections."""

    to: int


class MachineSlept(FactData, frozen=True):
    """Wall time moved on by ``slept_ms`` while no work could run."""

    slept_ms: int


class ClockJumped(FactData, frozen=True):
    """Wall time and steady time disagreed by ``by_ms`` (positive: forwards)."""

    by_ms: int


class BlobsSwept(FactData, frozen=True):
    """Unreferenced blobs were removed after their day of grace."""

    count: int
    size_bytes: int


class LoopBlocked(FactData, frozen=True):
    """Task code kept the event loop to itself."""

    blocked_ms: int
    stack: str = ""

    PAYLOADS = ("stack",)


KINDS: tuple[type[FactData], ...] = (
    HouseFounded,
    PenTaken,
    PenLaid,
    TailVerified,
    MachineSlept,
    ClockJumped,
    BlobsSwept,
    LoopBlocked,
)
