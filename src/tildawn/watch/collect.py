"""What a report is made of: rows and texts of one night, gathered in one read transaction.

What it is not: judgement.  Nothing is weighed or worded here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from tildawn.errors import LedgerBroken, PayloadErased, UnknownName
from tildawn.ledger.reader import Head, Reader
from tildawn.ledger.secret import hidden_random, redact
from tildawn.projections.house import EpochRow, HouseRow, IncidentRow
from tildawn.projections.night import (
    CoveredRow,
    EffectRow,
    EvidenceRow,
    ItemRow,
    NightRow,
    night_called,
    subject,
)
from tildawn.projections.run import RunRow
from tildawn.projections.storage import FullRow, full_between
from tildawn.projections.story import ActivityMarkRow, ActivityRow, StoryRow
from tildawn.units import Micros, Seq
from tildawn.watch.report import Said


_EARLY = 60_000_000
"""A night that began less than a minute before its window is shown from the window on."""


class _TitledItem(msgspec.Struct, frozen=True):
    id: str
    title: str = ""


class _Titles(msgspec.Struct, frozen=True):
    """The part of a compiled plan that is shown; see ``facts/plan.py``."""

    items: tuple[_TitledItem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """One night as the tables have it, or the runs that no night has."""

    reader: Reader
    now: Micros
    alive: bool
    head: Head
    #: Instant of the last fact.
    last_at: int
    house: HouseRow | None
    night: NightRow | None
    #: Items in the order of the plan, with their titles.
    items: tuple[tuple[ItemRow, str], ...]
    #: The runs that count: neither children nor checks, in the order of their acceptance.
    runs: tuple[RunRow, ...]
    #: Children and checks that are held: their answer is the owner's.
    beside: tuple[RunRow, ...]
    #: Runs with a check that waits for the owner.
    asked: frozenset[str]
    #: Runs of earlier nights that cover rows of this one, by run.
    earlier: Mapping[str, RunRow]
    covered: tuple[CoveredRow, ...]
    #: Stories of every run of the night, children and checks included, by run.
    stories: Mapping[str, StoryRow]
    checks: Mapping[str, tuple[EvidenceRow, ...]]
    effects: tuple[EffectRow, ...]
    #: Holders of the pen from the one before the night on.
    epochs: tuple[EpochRow, ...]
    incidents: tuple[IncidentRow, ...]
    #: When the disk was full.
    full: tuple[FullRow, ...]
    activity: ActivityRow | None
    marks: Mapping[str, ActivityMarkRow]
    begins_at: int
    ends_at: int
    #: Texts that should be there and are not; filled while texts are read.
    missing: list[int] = field(default_factory=list[int])

    def said(self, seq: int, slot: int) -> Said:
        """The text of a payload, or that it was erased, or nothing where there is none.

        Raises:
            Nothing.
        """
        if seq < 0:
            return Said()
        try:
            body = self.reader.payload(Seq(seq), slot)
        except UnknownName:
            return Said()
        except PayloadErased:
            return Said(erased=True)
        except LedgerBroken:
            self.missing.append(seq)
            return Said(erased=True)
        return Said(text=hidden_random(redact(text_of(body))))

    def raw(self, seq: int, slot: int) -> bytes | None:
        """The bytes of a payload, or None when they are gone or were never there.

        Raises:
            Nothing.
        """
        try:
            return self.reader.payload(Seq(seq), slot) if seq >= 0 else None
        except (UnknownName, PayloadErased, LedgerBroken):
            return None

    @property
    def goes_on(self) -> bool:
        """Whether a process is still working on it; after a stop, what is under way ends."""
        night = self.night
        if not self.alive or night is None or night.state in {"accepted", "open"}:
            return self.alive
        return night.state == "stopped" and any(
            run.state in {"running", "waiting"} for run in self.runs
        )


def collect(reader: Reader, *, night: str | None, now: Micros, alive: bool | None) -> Collected:
    """Gather one night.

    Args:
        reader: one read transaction.
        night: its name or number; None for the latest, or for the runs without a night where
            the house has had none.
        now: the instant of the report.
        alive: whether a process holds the pen; None when the caller cannot know, then a pen
            that was laid down says no.

    Returns:
        The rows.

    Raises:
        UnknownName: there is no such night.
    """
    house, head = reader.get(HouseRow, 0), reader.head()
    found = night_called(reader, night or "")
    if night and found is None:
        message = f"there is no night {night}"
        raise UnknownName(message, hint="tildawn report")
    name = found.night if found is not None else ""
    every = reader.rows(RunRow, "night = ? AND trashed = 0", (name,), order="accepted")
    beside = tuple(run for run in every if _belongs(run) and run.state == "held")
    stories = {row.run: row for row in reader.rows(StoryRow, "night = ?", (name,))}
    covered = tuple(reader.rows(CoveredRow, "night = ?", (name,)))
    earlier = {row.by: reader.get(RunRow, row.by) for row in covered}
    stories |= {by: story for by in earlier if (story := reader.get(StoryRow, by)) is not None}
    begins_at, ends_at = _span(found, every, stories, now)
    epochs = reader.rows(EpochRow)
    holder = epochs[-1] if epochs else None
    return Collected(
        reader=reader,
        now=now,
        alive=alive if alive is not None else holder is not None and holder.laid < 0,
        head=head,
        last_at=reader.fact(Seq(head.size - 1))[0].at if head.size else 0,
        house=house,
        night=found,
        items=_items(reader, found),
        runs=tuple(run for run in every if not _belongs(run)),
        beside=beside,
        asked=frozenset(run.evidence_for for run in beside if run.evidence_for),
        earlier={by: run for by, run in earlier.items() if run is not None},
        covered=covered,
        stories=stories,
        checks=_checks(reader, found, every, [row for row in earlier.values() if row is not None]),
        effects=tuple(reader.rows(EffectRow, "night = ?", (name,), order="seq")),
        epochs=tuple(epochs),
        incidents=tuple(
            reader.rows(
                IncidentRow, "at BETWEEN ? AND ?", (begins_at, ends_at), order="seq", limit=1_000
            )
        ),
        full=tuple(full_between(reader, Micros(begins_at), Micros(ends_at))),
        activity=reader.get(ActivityRow, 0),
        marks={mark.edge: mark for mark in reader.rows(ActivityMarkRow, "night = ?", (name,))},
        begins_at=begins_at,
        ends_at=ends_at,
    )


def _belongs(run: RunRow) -> bool:
    """Whether a run is a child or a check of another, and so none that was planned."""
    return bool(run.parent or run.evidence_for)


def text_of(body: bytes) -> str:
    """A payload as a person reads it: a string bare, an error by its message, all else as JSON.

    Raises:
        Nothing.
    """
    try:
        value: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode("utf-8", "replace")
    if isinstance(value, str):
        return value
    try:
        error = msgspec.convert(value, _ErrorText)
    except msgspec.ValidationError:
        return body.decode("utf-8", "replace")
    return error.message


class _ErrorText(msgspec.Struct, frozen=True):
    message: str


def _items(reader: Reader, night: NightRow | None) -> tuple[tuple[ItemRow, str], ...]:
    if night is None:
        return ()
    rows = {row.item: row for row in reader.rows(ItemRow, "night = ?", (night.night,))}
    try:
        plan = msgspec.json.decode(reader.payload(Seq(night.accepted), 0), type=_Titles)
    except (UnknownName, PayloadErased, LedgerBroken, msgspec.DecodeError):
        plan = _Titles()
    ordered = [(rows.pop(item.id), item.title) for item in plan.items if item.id in rows]
    return (*ordered, *((row, "") for row in rows.values()))


def _checks(
    reader: Reader, night: NightRow | None, runs: Iterable[RunRow], earlier: Iterable[RunRow]
) -> dict[str, tuple[EvidenceRow, ...]]:
    checks: dict[str, list[EvidenceRow]] = {}
    if night is not None:
        found = reader.rows(EvidenceRow, "night = ?", (night.night,))
    else:
        found = [row for run in runs for row in _checks_of(reader, run)]
    for row in (*found, *(row for run in earlier for row in _checks_of(reader, run))):
        checks.setdefault(row.subject, []).append(row)
    return {about: tuple(rows) for about, rows in checks.items()}


def _checks_of(reader: Reader, run: RunRow) -> list[EvidenceRow]:
    return reader.rows(EvidenceRow, "subject = ?", (subject_of(run),))


def subject_of(run: RunRow) -> str:
    """What the checks of a run are about; see `tildawn.projections.night.subject`.

    Raises:
        Nothing.
    """
    return subject(run.night, run.item, run.row, run=run.run)


def _span(
    night: NightRow | None,
    runs: Iterable[RunRow],
    stories: Mapping[str, StoryRow],
    now: Micros,
) -> tuple[int, int]:
    """First and last instant that the report is about."""
    begun = [run.started_at for run in runs if run.started_at]
    last = [max(run.ended_at, stories[run.run].phase_at) for run in runs if run.run in stories]
    if night is None:
        begins_at = min(begun, default=now)
        return begins_at, max([*last, begins_at])
    begins = [night.opens, night.opened_at, *begun] if night.opened_at else [night.opens]
    begins_at = min([at for at in begins if at] or [night.accepted_at])
    if 0 < night.opens - begins_at < _EARLY:
        begins_at = night.opens
    ends = [night.closes or 0, night.closed_at, night.stopped_at, *last, begins_at]
    if not night.closes and night.closed_at == 0 and night.state in {"open", "accepted"}:
        ends.append(now)
    return begins_at, max(ends)
