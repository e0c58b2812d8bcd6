"""Facts about the house itself: founding, pen, verification, snapshots, restores, machine.

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


class SnapshotTaken(FactData, frozen=True):
    """A snapshot was taken, opened again and verified; before that it does not count.

    Not projected: the folders themselves say which snapshots there are.

    ``name`` is its folder, ``size`` how many facts it has, ``manifest`` the SHA-256 of its
    manifest.  ``why`` is night, asked, upgrade, erasure or restore.
    """

    name: str
    size: int
    root: str
    manifest: str
    size_bytes: int
    why: str
    #: Blobs that were missing or damaged in the house, and so are in the snapshot.
    damaged: int = 0
    reason: str = ""

    PAYLOADS = ("reason",)


class SnapshotDropped(FactData, frozen=True):
    """A snapshot, or a ledger that a restore had put aside, was removed: for age or erasure.

    Not projected: the folders themselves say which snapshots there are.
    """

    name: str
    why: str


class HouseRestored(FactData, frozen=True):
    """The house went back to an earlier state; the log goes on under another name.

    The facts before this one are those of the log ``from_name``, which had ``from_size`` facts
    (0 where it could not be read) with the root ``from_root``.  The pen goes on from ``epoch``,
    the highest that was seen anywhere.
    """

    name: str
    from_name: str
    from_size: int
    from_root: str
    epoch: int
    #: Where the facts were taken from: ledger, or the name of a snapshot.
    source: str
    #: The signing key of the house then, 64 hexadecimal digits; empty where there is none.
    public: str = ""
    #: Runs with something that may have happened in what was left, and must not happen twice.
    doubted: int = 0
    #: Facts behind this one about payloads that had been erased later, and stay erased.
    erased: int = 0
    reason: str = ""

    PAYLOADS = ("reason",)


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
    SnapshotTaken,
    SnapshotDropped,
    HouseRestored,
    MachineSlept,
    ClockJumped,
    BlobsSwept,
    LoopBlocked,
)
