"""Nights as they are now: what was planned, how far it came, what its checks found.

What it is not: runs.  A run carries its night's name; see `tildawn.projections.run`, and
`tildawn.projections.story` for how its hours went.
"""

from collections.abc import Iterable
from typing import cast

import msgspec

from tildawn.facts.fact import Fact
from tildawn.facts.night import (
    EffectObserved,
    EvidenceBaselined,
    EvidenceJudged,
    ItemExpanded,
    ItemSkipped,
    NightClosed,
    NightOpened,
    NightParked,
    NightStopped,
    PlanAccepted,
    ReportWritten,
    RowCovered,
)
from tildawn.ledger.fold import Change, Get, Projection, Put, Row, Table
from tildawn.ledger.reader import Reader
from tildawn.units import Seq


class NightRow(Row, frozen=True, kw_only=True):
    """One night. Instants are microseconds since 1970, 0 where it has not happened.

    ``state`` is accepted, open, stopped, parked or closed; a ``…_seq`` is -1 where the fact
    does not exist.
    """

    night: str
    #: First night of a house is 1; what a person calls it.
    number: int
    state: str
    accepted: int
    accepted_at: int
    planned: int
    titled: int
    #: Whether the acceptance says the path of the plan file.
    filed: int
    opens: int
    closes: int
    report_at: int
    zone: str
    budget_micro_usd: int
    stop_in_a_row: int
    stop_total: int
    simulated: int
    continues: str
    place: str
    content: str
    opened: int
    opened_at: int
    #: How often work on it began: more than once after a pause or a crash.
    openings: int
    last_opened_at: int
    stopped: int
    stopped_at: int
    rule: str
    rule_count: int
    parked: int
    parked_at: int
    parked_why: str
    closed: int
    closed_at: int
    outcome: str
    reported: int
    reported_upto: int
    report_blob: str


class NightCountRow(Row, frozen=True, kw_only=True):
    """How many nights the house has had; one row, key 0."""

    one: int
    nights: int
    latest: str


class ItemRow(Row, frozen=True, kw_only=True):
    """An item of a night: how many of its planned runs exist."""

    night: str
    item: str
    planned: int
    expanded: int
    covered: int
    skipped: int
    skipped_why: str


class CoveredRow(Row, frozen=True, kw_only=True):
    """A row of an item whose work is that of a run of an earlier night."""

    night: str
    item: str
    row: int
    by: str
    seq: int


class EvidenceRow(Row, frozen=True, kw_only=True):
    """One check: what it saw before and what it said after.

    ``subject`` is the night, item and row joined by slashes, or the run outside of a night.
    """

    subject: str
    chosen: int
    #: Its place among the checks of the item, or among those the worker chose.
    ordinal: int
    night: str
    kind: str
    saw: str
    digest: str
    #: Position of the fact that says what it saw before, -1 where there is none.
    baselined: int
    verdict: str
    judged: int
    judged_run: str
    detailed: int


class EffectRow(Row, frozen=True, kw_only=True):
    """Something that changed in the world; what, is the payload of the fact at ``seq``."""

    seq: int
    night: str
    item: str
    row: int
    run: str
    kind: str


TABLES = (
    Table(
        name="night",
        row=NightRow,
        key=("night",),
        sql=(
            "CREATE UNIQUE INDEX {table}_number ON {table}(number)",
            "CREATE INDEX {table}_place ON {table}(place)",
        ),
    ),
    Table(name="night_count", row=NightCountRow, key=("one",)),
    Table(name="night_item", row=ItemRow, key=("night", "item")),
    Table(name="night_covered", row=CoveredRow, key=("night", "item", "row")),
    Table(
        name="evidence",
        row=EvidenceRow,
        key=("subject", "chosen", "ordinal"),
        sql=("CREATE INDEX {table}_night ON {table}(night)",),
    ),
    Table(
        name="effect",
        row=EffectRow,
        key=("seq",),
        sql=("CREATE INDEX {table}_night ON {table}(night, seq)",),
    ),
)


def subject(night: str, item: str, row: int, *, run: str = "") -> str:
    """What a check is about: a row of a night's item, or a run outside of any night.

    Raises:
        Nothing.
    """
    return f"{night}/{item}/{row}" if night else run


# --- folds ------------------------------------------------------------------------------


def _accept(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("PlanAccepted", fact.data)
    count = get(NightCountRow, 0)
    number = (count.nights if count else 0) + 1
    yield Put(NightCountRow(one=0, nights=number, latest=said.night))
    yield Put(
        NightRow(
            night=said.night, number=number, state="accepted", accepted=seq, accepted_at=fact.at,
            planned=sum(said.planned.values()), titled=int(said.title != ""), filed=int(said.file != ""), opens=said.opens,
            closes=said.closes, report_at=said.report_at, zone=said.zone,
            budget_micro_usd=said.budget_micro_usd, stop_in_a_row=said.stop_in_a_row,
            stop_total=said.stop_total, simulated=int(said.simulated), continues=said.continues,
            place=said.place, content=said.content, opened=-1, opened_at=0, openings=0,
            last_opened_at=0, stopped=-1, stopped_at=0, rule="", rule_count=0, parked=-1,
            parked_at=0, parked_why="", closed=-1, closed_at=0, outcome="", reported=-1,
            reported_upto=0, report_blob="",
        )
    )  # fmt: skip
    for item, planned in said.planned.items():
        yield Put(
            ItemRow(
                night=said.night, item=item, planned=planned, expanded=0, covered=0, skipped=-1,
                skipped_why="",
            )
        )  # fmt: skip


_OfNight = NightOpened | NightStopped | NightParked | NightClosed | ReportWritten


def _night(fact: Fact, get: Get, **fields: int | str) -> Iterable[Change]:
    row = get(NightRow, cast("_OfNight", fact.data).night)
    return () if row is None else (Put(msgspec.structs.replace(row, **fields)),)


def _open(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("NightOpened", fact.data)
    row = get(NightRow, said.night)
    if row is None:
        return ()
    first = row.openings == 0
    return _night(
        fact,
        get,
        state="open",
        opened=seq if first else row.opened,
        opened_at=fact.at if first else row.opened_at,
        openings=row.openings + 1,
        last_opened_at=fact.at,
        closes=said.closes or row.closes,
        report_at=said.report_at or row.report_at,
    )


def _stop(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("NightStopped", fact.data)
    return _night(
        fact, get, state="stopped", stopped=seq, stopped_at=fact.at, rule=said.rule,
        rule_count=said.count,
    )  # fmt: skip


def _park(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("NightParked", fact.data)
    return _night(fact, get, state="parked", parked=seq, parked_at=fact.at, parked_why=said.why)


def _close(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("NightClosed", fact.data)
    return _night(fact, get, state="closed", closed=seq, closed_at=fact.at, outcome=said.outcome)


def _report(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("ReportWritten", fact.data)
    return _night(fact, get, reported=seq, reported_upto=said.upto, report_blob=said.blob)


def _expand(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("ItemExpanded", fact.data)
    row = get(ItemRow, said.night, said.item)
    if row is not None:
        yield Put(
            msgspec.structs.replace(row, expanded=row.expanded + max(said.stop - said.start, 0))
        )


def _cover(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RowCovered", fact.data)
    row = get(ItemRow, said.night, said.item)
    if row is not None and get(CoveredRow, said.night, said.item, said.row) is None:
        yield Put(msgspec.structs.replace(row, covered=row.covered + 1))
    yield Put(CoveredRow(night=said.night, item=said.item, row=said.row, by=said.by, seq=seq))


def _skip(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("ItemSkipped", fact.data)
    row = get(ItemRow, said.night, said.item)
    if row is not None:
        yield Put(msgspec.structs.replace(row, skipped=seq, skipped_why=said.why))


_UNJUDGED = EvidenceRow(
    subject="", chosen=0, ordinal=0, night="", kind="", saw="", digest="", baselined=-1, verdict="",
    judged=-1, judged_run="", detailed=0,
)  # fmt: skip


def _baseline(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("EvidenceBaselined", fact.data)
    about = subject(said.night, said.item, said.row, run=fact.run)
    row = get(EvidenceRow, about, 0, said.index) or _UNJUDGED
    if row.baselined < 0:  # the first look is the one before the work
        yield Put(
            msgspec.structs.replace(
                row, subject=about, ordinal=said.index, night=said.night, kind=said.kind or row.kind,
                saw=said.saw, digest=said.digest, baselined=seq,
            )
        )  # fmt: skip


def _judge(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("EvidenceJudged", fact.data)
    about = subject(said.night, said.item, said.row, run=said.judged)
    chosen = int(said.chosen_by_worker)
    row = get(EvidenceRow, about, chosen, said.index) or _UNJUDGED
    yield Put(
        msgspec.structs.replace(
            row, subject=about, chosen=chosen, ordinal=said.index, night=said.night, kind=said.kind,
            verdict=said.verdict, judged=seq, judged_run=said.judged,
            detailed=int(said.detail != ""),
        )
    )  # fmt: skip


def _observe(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("EffectObserved", fact.data)
    yield Put(
        EffectRow(
            seq=seq, night=said.night, item=said.item, row=said.row, run=fact.run, kind=said.kind
        )
    )


NIGHT = Projection(
    name="night",
    version=1,
    tables=TABLES,
    folds={
        PlanAccepted: _accept,
        NightOpened: _open,
        ItemExpanded: _expand,
        RowCovered: _cover,
        ItemSkipped: _skip,
        EvidenceBaselined: _baseline,
        EvidenceJudged: _judge,
        EffectObserved: _observe,
        NightStopped: _stop,
        NightParked: _park,
        NightClosed: _close,
        ReportWritten: _report,
    },
)


# --- queries ------------------------------------------------------------------------------


def night_called(reader: Reader, name: str = "") -> NightRow | None:
    """A night by its name, by its number, or the latest one.

    Args:
        reader: one read transaction.
        name: empty for the latest, digits for a number, else the night's whole name.

    Returns:
        The night, or None when there is none.

    Raises:
        Nothing.
    """
    if not name:
        count = reader.get(NightCountRow, 0)
        return reader.get(NightRow, count.latest) if count else None
    found = reader.get(NightRow, name)
    if found is None and name.isdecimal() and len(name) < 10:  # noqa: PLR2004  # a number, no name
        numbered = reader.rows(NightRow, "number = ?", (int(name),))
        return numbered[0] if numbered else None
    return found


def latest_night(reader: Reader, place: str) -> NightRow | None:
    """The latest night of a plan file, closed or not, or None.

    Args:
        reader: one read transaction.
        place: keyed digest of the plan file's place, as in `PlanAccepted`.

    Raises:
        Nothing.
    """
    nights = reader.rows(NightRow, "place = ?", (place,), order="number DESC", limit=1)
    return nights[0] if nights else None
