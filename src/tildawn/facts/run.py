"""Facts about runs: written by the engine alone.

What it is not: the table of legal transitions; that is in `tildawn.projections.run`.
"""

from tildawn.facts.fact import FactData


class RunAccepted(FactData, frozen=True):
    """A run was accepted; it is on disk before ``enqueue`` returns."""

    task: str
    args: str
    queue: str = "default"
    priority: int = 0
    due: int = 0
    #: Keyed digest of the client's idempotency key or natural key; unique in the house.
    key: str = ""
    #: Keyed digest of the concurrency key.
    group: str = ""
    parent: str = ""
    parent_path: str = ""
    night: str = ""
    item: str = ""
    row: int = -1
    #: What the run is called for a person, such as its row's key.
    label: str = ""
    #: The run whose work this evidence run judges.
    evidence_for: str = ""
    #: Budget scopes from the narrowest to the widest, such as ``run/… item/… night/…``.
    budgets: tuple[str, ...] = ()
    config: str = ""
    fingerprint: str = ""
    simulated: bool = False
    lane: str = "owner"
    #: Keyed digest of the task and its arguments, the same for every run with the same ones.
    args_key: str = ""
    #: Under which its calls are made, and those of its children; empty for the owner's authority.
    permit: str = ""
    #: Keyed digest of whom the run is about; what is kept for them can be erased together.
    subject: str = ""

    PAYLOADS = ("args", "label", "config")


class RunStarted(FactData, frozen=True):
    """An attempt began; earlier attempts may write no more."""

    attempt: int
    fingerprint: str = ""


class RunWaited(FactData, frozen=True):
    """Every branch waits; ``parked`` runs have left memory."""

    on: str
    until: int = 0
    parked: bool = False


class RunInterrupted(FactData, frozen=True):
    """The process died or stopped while the run was going on."""

    unclean: bool = False
    sole: bool = False


class RunRetried(FactData, frozen=True):
    """An attempt failed; another is due.

    Records from ``void`` on no longer bind the order of the replay; the record at ``void``
    itself, a failed step or call, is forgotten and done again.
    """

    due: int
    failures: int
    error: str
    void: int = -1

    PAYLOADS = ("error",)


class RunHeld(FactData, frozen=True):
    """The run needs its owner: ``why`` is an error code, ``choices`` what may be answered."""

    why: str
    detail: str = ""
    choices: tuple[str, ...] = ()
    call_path: str = ""
    #: Where a retry or a fork would go on; see `RunRetried`.
    void: int = -1
    #: Of the error that it is held for, as in `RunFailed`.
    kind: str = ""

    PAYLOADS = ("detail",)


class RunAnswered(FactData, frozen=True):
    """The owner settled a held run."""

    choice: str
    #: State that follows: queued, cancelled or failed.
    then: str = "queued"
    #: As in `RunRetried`.
    void: int = -1
    #: The history begins anew, under a new generation.
    anew: bool = False


class RunDone(FactData, frozen=True):
    """The run ended with a result."""

    out: str

    PAYLOADS = ("out",)


class RunFailed(FactData, frozen=True):
    """The run ended without a result."""

    error: str
    kind: str = "error"
    #: Where the owner's retry would go on; see `RunRetried`.
    void: int = -1

    PAYLOADS = ("error",)


class RunCancelAsked(FactData, frozen=True):
    """Somebody asked the run to stop.

    ``detached``: its parent gave it up and is not told of its end.
    """

    reason: str = ""
    detached: bool = False

    PAYLOADS = ("reason",)


class RunCancelled(FactData, frozen=True):
    """The run ended because it was asked to."""


class RunRepeated(FactData, frozen=True):
    """The run began again with a fresh history and new arguments."""

    args: str
    generation: int

    PAYLOADS = ("args",)


class RunTrashed(FactData, frozen=True):
    """An ended run was put away; its facts stay."""


KINDS: tuple[type[FactData], ...] = (
    RunAccepted,
    RunStarted,
    RunWaited,
    RunInterrupted,
    RunRetried,
    RunHeld,
    RunAnswered,
    RunDone,
    RunFailed,
    RunCancelAsked,
    RunCancelled,
    RunRepeated,
    RunTrashed,
)
