"""The morning report as a value: what a night came to, every line with the entry it stands on.

What it is not: how it looks.  `build_report` (in ``watch.build``) makes it from the ledger;
``watch.html``, ``watch.markdown`` and ``watch.terminal`` show it, and none of them decides.

All instants are microseconds since 1970-01-01 UTC, 0 where there is none; all money is in
millionths of a US dollar; ``seq`` and ``seqs`` are positions in the ledger, -1 for none.
"""

from enum import StrEnum
from typing import ClassVar, cast

import msgspec

from tildawn.watch.slo import Level


class Verdict(StrEnum):
    """What became of one planned run.

    ``UNDER_WAY`` exists only in the report of a night that is not over.
    """

    VERIFIED = "verified"
    CLAIMED = "claimed"
    REFUTED = "refuted"
    UNKNOWN = "unknown"
    FAILED = "failed"
    HELD = "held"
    UNDER_WAY = "under-way"
    NOT_STARTED = "not-started"


class SecondMark(StrEnum):
    """What else must be known of a verdict."""

    SIMULATED = "simulated"
    NO_CHANGE = "no change"
    CHOSEN = "chosen by the worker"
    EARLIER = "from an earlier night"


class NightState(StrEnum):
    """How a night stands: ``DEAD`` is one whose process went away without a word."""

    ACCEPTED = "accepted"
    OPEN = "open"
    STOPPED = "stopped"
    PARKED = "parked"
    CLOSED = "closed"
    DEAD = "dead"


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Said(_Part, frozen=True, kw_only=True):
    """A text that came from outside, or the fact that it was erased."""

    text: str = ""
    erased: bool = False

    def __bool__(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.text) or self.erased


class Headline(_Part, frozen=True, kw_only=True):
    """The sentence, computed by counting; ``deck`` is the second one below it."""

    count: str
    needs: str
    deck: tuple[str, ...]
    simulated: bool


class Night(_Part, frozen=True, kw_only=True):
    """Which night it is."""

    night: str
    number: int
    title: Said
    state: NightState
    opens: int
    closes: int
    opened_at: int
    ended_at: int
    outcome: str
    simulated: bool
    continues: str
    seq: int


class Count(_Part, frozen=True, kw_only=True):
    """How many runs have a verdict."""

    verdict: Verdict
    meaning: str
    runs: int


class RunLine(_Part, frozen=True, kw_only=True):
    """One planned run. ``name`` is what to type; ``run`` is empty where none exists yet."""

    name: str
    run: str
    item: str
    row: int
    title: Said
    verdict: Verdict
    #: Our own sentence: why this verdict and no better one.
    why: str
    #: What the machine or the check said.
    detail: Said
    marks: tuple[SecondMark, ...]
    started_at: int
    ended_at: int
    seq: int
    #: Its number among what needs you, or 0.
    need: int = 0


class ItemLine(_Part, frozen=True, kw_only=True):
    """An item of the plan: how many runs it was to have, and what its check is."""

    item: str
    title: str
    planned: int
    verified: int


class Choice(_Part, frozen=True, kw_only=True):
    """One thing the owner can say, what follows, and what to type."""

    label: str
    follows: str
    command: str


class Need(_Part, frozen=True, kw_only=True):
    """Something that waits for the owner."""

    number: int
    verdict: Verdict | None
    question: str
    about: Said
    name: str
    body: str
    detail: Said
    choices: tuple[Choice, ...]
    #: What happens if the owner does nothing.
    meanwhile: str
    seqs: tuple[int, ...]


class Change(_Part, frozen=True, kw_only=True):
    """Something different in the world: a file, a URL, rows, or calls with an effect."""

    kind: str
    target: Said
    before: str
    after: str
    count: int
    unknown: int
    note: str
    seq: int


class Healed(_Part, frozen=True, kw_only=True):
    """Something that went on without the owner: ``recovered`` of ``n``."""

    kind: str
    title: str
    body: str
    n: int
    recovered: int
    letter: str
    seqs: tuple[int, ...]


class MoneyLine(_Part, frozen=True, kw_only=True):
    """What calls of one route cost, by where the number comes from."""

    route: str
    calls: int
    micro_usd: int
    #: reported, the price table it was counted with, assumed, or held until a bill comes.
    source: str
    simulated: bool
    #: The last entry that the sum rests on.
    seq: int


class Money(_Part, frozen=True, kw_only=True):
    """Money of the night; ``limit`` is -1 without a budget."""

    limit: int
    #: Where the limit was set.
    seq: int
    spent: int
    assumed: int
    reserved: int
    tokens_in: int
    tokens_out: int
    lines: tuple[MoneyLine, ...]
    overruns: tuple[str, ...]
    refused: int
    #: Empty when the lines sum to what the budget says, else how they differ.
    differs: str


class Hours(_Part, frozen=True, kw_only=True):
    """Where the hours went, in microseconds; the six add up to ``total``."""

    begins_at: int
    ends_at: int
    total: int
    working: int
    waiting: int
    idle: int
    asleep: int
    down: int
    away: int
    #: From the last work to the end of the window, 0 without a window.
    to_spare: int
    #: Where it was opened and, if it was, closed.
    seqs: tuple[int, ...]


class StopLine(_Part, frozen=True, kw_only=True):
    """A rule that ended the taking of new work."""

    rule: str
    sentence: str
    detail: Said
    at: int
    seq: int


class Event(_Part, frozen=True, kw_only=True):
    """Something on the night strip: crash, sleep, stop or away."""

    kind: str
    begins_at: int
    ends_at: int
    letter: str
    words: str


class Strip(_Part, frozen=True, kw_only=True):
    """The night strip's span; ``now_at`` is 0 when the night is over."""

    begins_at: int
    ends_at: int
    now_at: int
    events: tuple[Event, ...]


class OutageLine(_Part, frozen=True, kw_only=True):
    """A time in which a route was out of service; ``ended`` is 0 while it goes on."""

    route: str
    began: int
    ended: int
    #: All of it in words.
    sentence: str
    #: How long within the night, and the part that was our own delay.
    open: int
    excess: int
    because: str
    #: A person had to act: the key was refused, or the account used up.
    blocked: bool
    #: Free looks for a sign of life, and attempts that were paid for to test it.
    checks: int
    paid: int
    paid_micro_usd: int
    #: Calls that were sent nevertheless, since the breaker only watched.
    passed: int
    letter: str
    seqs: tuple[int, ...]


class ServedLine(_Part, frozen=True, kw_only=True):
    """Calls that something else answered than what was asked first."""

    route: str
    tier: str
    because: str
    calls: int
    seq: int


class WouldLine(_Part, frozen=True, kw_only=True):
    """What the guard would have done, were it not only watching."""

    route: str
    would: str
    calls: int
    seq: int


class WaitLine(_Part, frozen=True, kw_only=True):
    """Runs that wait now because the guard told them to come again; ``until`` is the first."""

    words: str
    route: str
    until: int
    runs: int
    seq: int


class ReviewLine(_Part, frozen=True, kw_only=True):
    """A look at a route after its settings were promoted."""

    route: str
    look: str
    good: bool
    sentence: str
    seq: int


class Guard(_Part, frozen=True, kw_only=True):
    """The guard at work: what it kept from being sent, what that cost, what was served instead."""

    outages: tuple[OutageLine, ...]
    served: tuple[ServedLine, ...]
    would: tuple[WouldLine, ...]
    waits: tuple[WaitLine, ...]
    reviews: tuple[ReviewLine, ...]
    levels: tuple[Level, ...]
    #: Alarm of the night's own allowance; empty for none.
    alarm: str

    @property
    def told(self) -> tuple[Level, ...]:
        """Levels with anything bad in them, those that were missed first; the others are counted."""
        some = [level for level in self.levels if level.bad]
        return tuple(sorted(some, key=lambda level: level.kept))

    def __bool__(self) -> bool:
        """Whether there is anything to show; levels that were kept alone are not."""
        missed = [level for level in self.levels if not level.kept]
        return bool(
            self.outages or self.served or self.would or self.waits or self.reviews or missed
        )


class Anomaly(_Part, frozen=True, kw_only=True):
    """Something that does not look right; said, never hidden."""

    kind: str
    sentence: str
    seqs: tuple[int, ...]


class Ledger(_Part, frozen=True, kw_only=True):
    """What the report was computed from."""

    size: int
    root: str
    root_short: str
    #: Size and root as twelve words, for a person to keep; empty in a house without a name.
    words: str
    chain: str
    first: int
    verified_to: int
    verified: int


class EntryLine(_Part, frozen=True, kw_only=True):
    """A ledger entry quoted in the report; ``leaf`` is its leaf hash in hexadecimal."""

    seq: int
    at: int
    kind: str
    about: str
    leaf: str


class Report(_Part, frozen=True, kw_only=True):
    """A night, or the queue of a house that has had none."""

    VERSION: ClassVar[int] = 1

    version: int = 1
    house: str
    build: str
    made_at: int
    zone: str
    night: Night | None
    headline: Headline
    planned: int
    adds_up: bool
    #: Empty when every planned run is listed once, else what differs.
    differs: str
    counts: tuple[Count, ...]
    needs: tuple[Need, ...]
    items: tuple[ItemLine, ...]
    #: Every planned run once, in the order of the plan.
    runs: tuple[RunLine, ...]
    changed: tuple[Change, ...]
    healed: tuple[Healed, ...]
    guard: Guard
    money: Money
    hours: Hours
    stops: tuple[StopLine, ...]
    strip: Strip
    anomalies: tuple[Anomaly, ...]
    ledger: Ledger
    #: The entries that the lines above stand on; those of long lists are cut.
    entries: tuple[EntryLine, ...]


SCHEMA_ID = "urn:tildawn:schema:report:1"
"""Names the schema; nothing is ever fetched."""


def headline(report: Report) -> str:
    """The first sentence of the report, such as ``24 of 26 verified. 2 need you.`` as text.

    Raises:
        Nothing.
    """
    return f"{report.headline.count} {report.headline.needs}"


def render_json(report: Report) -> bytes:
    """The whole report as JSON that fits `report_schema`, indented, ending in a line feed.

    Raises:
        Nothing.
    """
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def report_schema() -> dict[str, object]:
    """The JSON Schema (2020-12) of `render_json`.

    Raises:
        Nothing.
    """
    (schema,), parts = msgspec.json.schema_components([Report], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **schema,
        "$defs": cast("dict[str, object]", parts),
    }
