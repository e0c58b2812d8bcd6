"""Facts inside a run: what its branches were told, in the order in which they were told.

What it is not: calls to the outside; those are in `tildawn.facts.call`.
Each carries the ``run`` and the ``path`` of what it answers; written by the engine alone.
"""

from tildawn.facts.fact import FactData


class StepRecorded(FactData, frozen=True):
    """A step ended with a result; it never runs again in its run."""

    args: str
    out: str

    PAYLOADS = ("out",)


class StepFailed(FactData, frozen=True):
    """A step raised an error.

    Not projected: a failed step has no result, so its place stays free for the next try; what
    became of the run is in the facts of the run.
    """

    args: str
    error: str

    PAYLOADS = ("error",)


class TimerFired(FactData, frozen=True):
    """A durable timer reached its due time."""

    due: int


class EventReceived(FactData, frozen=True):
    """An event came in for the run; ``event`` makes sending it twice harmless."""

    name: str
    value: str
    event: str = ""

    PAYLOADS = ("value",)


class ChildEnded(FactData, frozen=True):
    """A child run ended; the path is the parent's."""

    child: str
    state: str
    out: str = ""

    PAYLOADS = ("out",)


class ChangeMarked(FactData, frozen=True):
    """A version marker chose its branch."""

    version: int


class ArtifactKept(FactData, frozen=True):
    """A named result of the run was kept as a blob; ``blob`` is its SHA-256 in hexadecimal."""

    args: str
    blob: str
    size_bytes: int
    media: str = ""
    name: str = ""

    PAYLOADS = ("name",)


KINDS: tuple[type[FactData], ...] = (
    StepRecorded,
    StepFailed,
    TimerFired,
    EventReceived,
    ChildEnded,
    ChangeMarked,
    ArtifactKept,
)
