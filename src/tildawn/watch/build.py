"""From the ledger to a report: gather, judge, count, say.

What it is not: a writer.  Nothing is recorded, repaired or sent from here.
"""

from collections.abc import Iterable, Mapping

import msgspec

from tildawn.errors import UnknownName
from tildawn.ledger.chain import leaf_of
from tildawn.ledger.checkpoint import Checkpoint, origin_of
from tildawn.ledger.reader import Head, Reader
from tildawn.ledger.words import SIZE_MAX, words_of
from tildawn.units import Micros, Seq
from tildawn.watch.collect import Collected, collect
from tildawn.watch.events import anomalies_of, healed_of, stops_of, strip_of
from tildawn.watch.guarded import came_back, guard_of, lettered, seqs_of, waits_of
from tildawn.watch.hours import deaths_of, hours_of
from tildawn.watch.lines import (
    counts_of,
    difference,
    items_of,
    lines_of,
    planned_of,
)
from tildawn.watch.money import Outside, outside_of
from tildawn.watch.needs import needs_of, night_state, numbered
from tildawn.watch.report import EntryLine, Headline, Ledger, Night, Report
from tildawn.watch.sentence import headline_of
from tildawn.watch.words import Times, one_line


ENTRIES_MAX = 200
"""Entries quoted at the end of a report; three sheets of paper hold about that many."""


def build_report(
    reader: Reader,
    *,
    night: str | None,
    now: Micros,
    alive: bool | None = None,
    build: str = "",
    zone: str = "UTC",
) -> Report:
    """The report of one night as the ledger has it now.

    Args:
        reader: one read transaction of a house; nothing else is looked at.
        night: a night's name or number; None for the latest, or for everything that was
            enqueued where the house has had no night.
        now: the instant of the report, in microseconds since 1970.
        alive: whether a process holds the pen; None when the caller does not know.
        build: the version that writes the report.
        zone: an IANA name, used where no plan names one.

    Returns:
        The report; one that does not add up says so instead of failing.

    Raises:
        UnknownName: there is no such night.
    """
    got = collect(reader, night=night, now=now, alive=alive)
    outside = outside_of(got)
    return _report(got, outside, build=build, zone=got.night.zone if got.night else zone)


def _report(got: Collected, outside: Outside, *, build: str, zone: str) -> Report:
    deaths = deaths_of(got)
    hours = hours_of(got, deaths)
    times = Times(zone, begins_at=got.begins_at, ends_at=got.ends_at)
    guard = guard_of(got, times)
    strip = strip_of(got, deaths, guard)
    guard = lettered(guard, strip)
    times = Times(zone, begins_at=strip.begins_at, ends_at=strip.ends_at)
    lines = lines_of(
        got, in_doubt=outside.in_doubt, simulated=outside.simulated, waits=waits_of(got, times)
    )
    counts = counts_of(lines)
    differs = difference(got, lines, counts)
    needs = needs_of(got, lines, times)
    lines = numbered(lines, {need.name: need.number for need in needs if need.verdict})
    stops = stops_of(got)
    healed = (
        *healed_of(got, outside, deaths=deaths, strip=strip, times=times),
        *came_back(guard),
    )
    anomalies = anomalies_of(got, lines, differs=differs, outside=outside)
    seqs = [
        *(seq for need in needs for seq in need.seqs),
        *(stop.seq for stop in stops),
        *(seq for one in healed for seq in one.seqs),
        *(seq for one in anomalies for seq in one.seqs),
        *(change.seq for change in outside.changed),
        *seqs_of(guard),
        *(line.seq for line in outside.money.lines),
        outside.money.seq,
        *hours.seqs,
        *(line.seq for line in lines),
    ]
    report = Report(
        house=one_line(got.house.name) if got.house else "",
        build=build,
        made_at=got.now,
        zone=times.zone,
        night=_night(got),
        headline=_UNSAID,
        planned=planned_of(got),
        adds_up=not differs,
        differs=differs,
        counts=counts,
        needs=needs,
        items=items_of(got, lines),
        runs=lines,
        changed=outside.changed,
        healed=healed,
        guard=guard,
        money=outside.money,
        hours=hours,
        stops=stops,
        strip=strip,
        anomalies=anomalies,
        ledger=_ledger(got),
        entries=_entries(got, seqs, {line.seq: line.name for line in lines if line.name}),
    )
    return msgspec.structs.replace(report, headline=headline_of(report))


_UNSAID = Headline(count="", needs="", deck=(), simulated=False)


def _night(got: Collected) -> Night | None:
    row = got.night
    if row is None:
        return None
    return Night(
        night=row.night,
        number=row.number,
        title=got.said(row.accepted, 2),
        state=night_state(got),
        opens=row.opens,
        closes=row.closes,
        opened_at=row.opened_at,
        ended_at=row.closed_at,
        outcome=row.outcome,
        simulated=row.simulated != 0,
        continues=row.continues,
        seq=row.accepted,
    )


def _ledger(got: Collected) -> Ledger:
    head, house, night = got.head, got.house, got.night
    return Ledger(
        size=head.size,
        root=head.root,
        root_short=f"{head.root[:8]}…{head.root[-8:]}",
        words=_kept_words(house.name if house is not None else "", head),
        chain=head.chain,
        first=night.accepted if night is not None else min(head.size, 1) - 1,
        verified_to=house.verified_to if house is not None else 0,
        verified=house.verified if house is not None else -1,
    )


def _kept_words(name: str, head: Head) -> str:
    if not name or head.size > SIZE_MAX:
        return ""
    root = bytes.fromhex(head.root)
    return " ".join(words_of(Checkpoint(origin_of(name), head.size, root)))


def _entries(
    got: Collected, seqs: Iterable[int], names: Mapping[int, str]
) -> tuple[EntryLine, ...]:
    wanted = list(dict.fromkeys(seq for seq in seqs if seq >= 0))[:ENTRIES_MAX]
    found: list[EntryLine] = []
    for seq in sorted(wanted):
        try:
            fact, body = got.reader.fact(Seq(seq))
        except UnknownName:
            continue
        story = got.stories.get(fact.run)
        found.append(
            EntryLine(
                seq=seq, at=fact.at, kind=one_line(fact.kind),
                about=(story.name if story is not None else "") or names.get(seq, ""), leaf=leaf_of(body).hex(),
            )
        )  # fmt: skip
    return tuple(found)
