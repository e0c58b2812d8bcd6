"""Facts about nights: the plan that was accepted, how it went, when it stopped, its report.

What it is not: runs; those carry the night's name and their item.
A night's name is a UUIDv7; these facts carry it in ``data.night``.
"""

import msgspec

from tildawn.facts.fact import FactData


class Observed(msgspec.Struct, frozen=True, omit_defaults=True):
    """The payload text of `EffectObserved`: what is different in the world now.

    ``target`` is a path relative to the plan's folder, a URL without its query, or a table;
    ``before`` and ``after`` are SHA-256 in hexadecimal, empty where there was or is nothing.
    """

    kind: str
    target: str
    before: str = ""
    after: str = ""
    #: How many of them, for rows of a table; 1 for a file or a URL.
    count: int = 1
    #: One short line for a person, such as ``+24 lines``.
    note: str = ""


class PlanAccepted(FactData, frozen=True):
    """A plan was accepted with copies of all its inputs: everything of it, or nothing.

    ``plan`` is the compiled plan; ``source`` the text it came from; ``inputs`` maps the place
    of an input file in the plan to the blob that holds its copy.
    """

    night: str
    plan: str
    source: str
    #: Keyed digest of the plan file's place, to find an unfinished night of the same plan.
    place: str
    #: Digest over plan and inputs; equal means nothing was edited.
    content: str
    inputs: dict[str, str] = {}  # noqa: RUF012  # msgspec copies it, and leaves out an empty one
    #: Runs planned, by item.
    planned: dict[str, int] = {}  # noqa: RUF012  # the same as above
    title: str = ""
    opens: int = 0
    closes: int = 0
    report_at: int = 0
    zone: str = "UTC"
    budget_micro_usd: int = -1
    stop_in_a_row: int = 3
    stop_total: int = 5
    simulated: bool = False
    #: The night this one goes on from after an edit, or empty.
    continues: str = ""
    #: The path of the plan file as its owner gave it, for what to type to go on.
    file: str = ""

    PAYLOADS = ("plan", "source", "title", "file")


class NightOpened(FactData, frozen=True):
    """Work on the night began, or began again after a pause or a crash.

    ``closes`` and ``report_at`` are those of the window it is in; 0 where the plan's acceptance
    said it already, or where it ends when its work does.
    """

    night: str
    closes: int = 0
    report_at: int = 0


class ItemExpanded(FactData, frozen=True):
    """Rows ``start`` (inclusive) to ``stop`` (exclusive) of an item became runs."""

    night: str
    item: str
    start: int
    stop: int


class RowCovered(FactData, frozen=True):
    """A row became no run of its own: its key may be done once and ``by`` has done it."""

    night: str
    item: str
    row: int
    #: The run that has the key.
    by: str


class ItemSkipped(FactData, frozen=True):
    """An item will not begin: what it needs did not end well."""

    night: str
    item: str
    why: str


class EvidenceBaselined(FactData, frozen=True):
    """What a check saw before the work began: met, unmet, digest or not-run.

    Recorded for every check that the plan or the task names, before `RunStarted` of the run
    it will judge: that order is what makes a later verdict *verified* rather than *claimed*.
    ``digest`` is the answer of a check that can only compare before with after.
    """

    night: str
    item: str
    #: Row of the item's table, -1 for an item without one.
    row: int
    index: int
    saw: str
    digest: str = ""
    kind: str = ""


class EvidenceJudged(FactData, frozen=True):
    """A check named before the work began was run after it ended.

    ``verdict`` is verified, refuted, no-change, not-run or unknown.  Outside of a night ``night``
    and ``item`` are empty, ``row`` is -1, and ``judged`` names the run.
    """

    night: str
    item: str
    row: int
    index: int
    kind: str
    verdict: str
    #: The run whose work was judged.
    judged: str = ""
    chosen_by_worker: bool = False
    detail: str = ""

    PAYLOADS = ("detail",)


class EffectObserved(FactData, frozen=True):
    """Something in the world changed: a file, a URL, a row; for the report.

    ``what`` is an `Observed` as JSON; ``kind`` is ``file``, ``url`` or ``rows``.  The run whose
    work it was stands in the envelope; one row of one target is observed once a run.
    """

    night: str
    item: str
    what: str
    kind: str
    row: int = -1

    PAYLOADS = ("what",)


class NightStopped(FactData, frozen=True):
    """A stop rule or the owner ended the taking of new work: the rule and its count."""

    night: str
    rule: str
    count: int = 0
    detail: str = ""

    PAYLOADS = ("detail",)


class NightParked(FactData, frozen=True):
    """The worker was asked to leave (signal, end of window); the night can go on later."""

    night: str
    why: str


class NightClosed(FactData, frozen=True):
    """Nothing of the night is left to do."""

    night: str
    outcome: str


class ReportWritten(FactData, frozen=True):
    """The report of the night was written from the ledger up to ``upto``."""

    night: str
    upto: int
    blob: str = ""


KINDS: tuple[type[FactData], ...] = (
    PlanAccepted,
    NightOpened,
    ItemExpanded,
    RowCovered,
    ItemSkipped,
    EvidenceBaselined,
    EvidenceJudged,
    EffectObserved,
    NightStopped,
    NightParked,
    NightClosed,
    ReportWritten,
)
