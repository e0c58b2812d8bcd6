"""The guard at work in one night: outages, what they cost, what was served, who waits for what.

What it is not: the guard, or a judgement of it; service levels are in `tildawn.watch.slo`.
"""

from collections.abc import Iterable, Iterator

import msgspec

from tildawn.projections.route import HealthRow, OutageRow, outages
from tildawn.projections.slo import (
    delay_of,
    own_delay,
    paid_probes,
    reviews,
    served_instead,
    would_have,
)
from tildawn.units import MILLISECOND, Micros
from tildawn.watch.collect import Collected
from tildawn.watch.report import (
    Choice,
    Event,
    Guard,
    Healed,
    Need,
    OutageLine,
    ReviewLine,
    Said,
    ServedLine,
    Strip,
    WaitLine,
    WouldLine,
)
from tildawn.watch.slo import levels, night_alarm
from tildawn.watch.waits import CAUSES, wait_of
from tildawn.watch.words import Times, count, dollars, length, one_line


WAITING_MOST = 500
"""Waiting runs that are looked at; the others are waiting for the same few routes."""

BANDS_MOST = 6
"""Outages drawn on the strip, the longest; all of them stand in the list."""

_INSTEAD = {
    "open": "it was out of service",
    "route-open": "it was out of service",
    "route-blocked": "it was blocked",
    "blocked": "it was blocked",
    "timeout": "it did not answer in time",
    "patience": "it took longer than whoever waited would",
    "network": "it could not be reached",
    "server": "it reported a fault of its own",
    "rate": "it had too much to do",
    "invalid_answer": "its answer could not be used",
    "budget": "its budget was spent",
    "limit": "its turn had not come",
    "full": "there was no room",
    "refused": "it refused the content",
}
"""Why no tier above served, by the reason on record."""

_WOULD = {
    "route-open": "would have waited until it was back",
    "route-blocked": "would have waited for you",
    "route-overdue": "would have waited, since calls under way took too long",
    "limit": "would have waited for their turn",
    "full": "would have waited for room",
    "asked-wait": "would have waited as long as it asked",
    "timeout": "would have been cut off earlier",
}
"""What the guard would have done, by the first word on record."""

_TIERS = {
    "exact": "the same from the stock", "related": "something related from the stock",
    "global": "anything fitting from the stock", "procedural": "something drawn here",
}  # fmt: skip
"""What a local tier serves; another tier is called by its name."""


def guard_of(got: Collected, times: Times) -> Guard:
    """Everything that the guard did in a night, or for the runs that no night has.

    Raises:
        Nothing.
    """
    night = got.night.night if got.night is not None else ""
    since, until = _window(got)
    alarm = night_alarm(got.reader, got.night, now=until) if got.night is not None else None
    return Guard(
        outages=tuple(_outage(got, row, since, until) for row in _outages(got, since, until)),
        served=tuple(
            ServedLine(
                route=one_line(one.route),
                tier=_TIERS.get(one.tier, one_line(one.tier)),
                because=_INSTEAD.get(one.instead, one_line(one.instead)),
                calls=one.calls,
                seq=one.first,
            )
            for one in served_instead(got.reader, night)
        ),
        would=tuple(
            WouldLine(
                route=one_line(one.route),
                would=_WOULD.get(one.would, one_line(one.would)),
                calls=one.calls,
                seq=one.first,
            )
            for one in would_have(got.reader, night)
        ),
        waits=tuple(_waits(got, times)),
        reviews=tuple(_reviews(got, since, until)),
        levels=tuple(
            # What would have been worth waking for is of no use in the morning.
            level if got.goes_on else msgspec.structs.replace(level, alarms=())
            for level in levels(got.reader, since=since, until=until)
        ),
        alarm=alarm.words if alarm is not None else "",
    )


def _window(got: Collected) -> tuple[Micros, Micros]:
    """What is counted in: from the first work to the end, or to now while it goes on."""
    night = got.night
    since = got.begins_at
    if night is not None and night.opened_at:
        since = min(since, night.opened_at)
    ended = night.closed_at if night is not None else 0
    until = ended or (got.now if got.goes_on else max(got.last_at, got.begins_at))
    return Micros(since), Micros(max(until, since + 1))


def _outages(got: Collected, since: Micros, until: Micros) -> list[OutageRow]:
    found = outages(got.reader, since=since, until=until)
    return sorted(found, key=lambda row: (row.began, row.route))


def _outage(got: Collected, row: OutageRow, since: Micros, until: Micros) -> OutageLine:
    delay = delay_of(got.reader, row.route, row.began_seq)
    end = min(row.ended or until, until)
    paid = paid_probes(got.reader, row.route, since=Micros(row.began), until=Micros(end))
    line = OutageLine(
        route=one_line(row.route),
        began=row.began,
        ended=row.ended,
        sentence="",
        open=max(end - max(row.began, since), 0),
        excess=own_delay(row, delay, end),
        because=one_line(delay.why if delay is not None else "")
        or CAUSES.get(row.cause, one_line(row.cause)),
        blocked=bool(row.blocked),
        checks=row.checks,
        paid=paid.probes,
        paid_micro_usd=paid.micro_usd,
        passed=delay.passed if delay is not None else 0,
        letter="",
        seqs=tuple(seq for seq in (row.began_seq, row.ended_seq) if seq >= 0),
    )
    return msgspec.structs.replace(line, sentence=" ".join(_sentences(line)))


def _sentences(line: OutageLine) -> Iterator[str]:
    so_far = "" if line.ended else " so far"
    state = "Blocked" if line.blocked else "Out of service"
    if line.passed:
        calls = count(line.passed, "call")
        yield f"It would have been out of service for {length(line.open)}{so_far}: {line.because}."
        yield f"The guard only watched, and {calls} {'was' if line.passed == 1 else 'were'} sent."
        return
    yield f"{state} for {length(line.open)}{so_far}: {line.because}."
    if line.checks:
        often = "once" if line.checks == 1 else count(line.checks, "time")
        yield f"Asked for a sign of life {often}, free of charge."
    if line.paid:
        yield f"{count(line.paid, 'paid check')}, {dollars(line.paid_micro_usd)} USD."
    elif not line.blocked:
        yield "No check was paid for."
    if line.excess and line.ended:
        yield f"At most {length(line.excess)} of it was our own delay."


def _waits(got: Collected, times: Times) -> Iterator[WaitLine]:
    found: dict[str, list[tuple[int, int, str]]] = {}
    waiting = [run for run in got.runs if run.state == "waiting"][:WAITING_MOST]
    for run in waiting if got.goes_on else ():
        wait = wait_of(got.reader, run, times, clock=False)
        if wait is not None:
            found.setdefault(wait.words, []).append((wait.until, run.state_at, wait.route))
    for words, runs in found.items():
        until, seq, route = min(runs)
        yield WaitLine(words=words, route=one_line(route), until=until, runs=len(runs), seq=seq)


def _reviews(got: Collected, since: Micros, until: Micros) -> Iterator[ReviewLine]:
    for row in reviews(got.reader, since=since, until=until):
        span = "An hour" if row.look == "watch" else "A day"
        kept = "what was promised was kept" if row.good else "a promise was missed"
        open_for = (
            f", out of service for {length(row.open_ms * MILLISECOND)}" if row.open_ms else ""
        )
        yield ReviewLine(
            route=one_line(row.route), look=row.look, good=bool(row.good), seq=row.seq,
            sentence=(
                f"{span} after its settings began to act, {kept}: {row.timeouts} of"
                f" {count(row.attempts, 'attempt')} ran into their limit{open_for}."
            ),
        )  # fmt: skip


def waits_of(got: Collected, times: Times) -> dict[str, str]:
    """For what runs wait that the guard told to come again, by run.

    Raises:
        Nothing.
    """
    waiting = [run for run in got.runs if run.state == "waiting"][:WAITING_MOST]
    found = ((run.run, wait_of(got.reader, run, times)) for run in waiting if got.goes_on)
    return {run: wait.words for run, wait in found if wait is not None}


def seqs_of(guard: Guard) -> Iterator[int]:
    """The entries that the guard's lines stand on.

    Raises:
        Nothing.
    """
    for outage in guard.outages:
        yield from outage.seqs
    for line in (*guard.served, *guard.would, *guard.waits, *guard.reviews):
        yield line.seq


# -- elsewhere in the report ---------------------------------------------------------------


def bands_of(guard: Guard) -> list[Event]:
    """Outages for the night strip, the longest where there are many; without letters yet.

    Raises:
        Nothing.
    """
    acted = [one for one in guard.outages if not one.passed]
    longest = sorted(acted, key=lambda one: -one.open)[:BANDS_MOST]
    return [
        Event(
            kind="outage", begins_at=one.began, ends_at=one.ended or one.began + one.open, letter="",
            words=f"{one.route} {'blocked' if one.blocked else 'out'}, {length(one.open)}",
        )
        for one in longest
    ]  # fmt: skip


def lettered(guard: Guard, strip: Strip) -> Guard:
    """The same with the letters of the strip.

    Raises:
        Nothing.
    """
    letters = {event.begins_at: event.letter for event in strip.events if event.kind == "outage"}
    lines = tuple(
        msgspec.structs.replace(one, letter="" if one.passed else letters.get(one.began, ""))
        for one in guard.outages
    )
    return msgspec.structs.replace(guard, outages=lines)


def came_back(guard: Guard) -> Iterator[Healed]:
    """Routes that came back by themselves: one line each, the details stand with the guard.

    Raises:
        Nothing.
    """
    by_route: dict[str, list[OutageLine]] = {}
    for one in guard.outages:
        if not one.passed and not one.blocked:
            by_route.setdefault(one.route, []).append(one)
    for route, found in by_route.items():
        back = [one for one in found if one.ended]
        if not back:
            continue
        times, whole = ("", "") if len(found) == 1 else (f" {count(len(found), 'time')}", " in all")
        yield Healed(
            kind="outage",
            title=f"{route} was out of service{times} for {length(sum(one.open for one in found))}{whole}",
            body=(
                "It was asked again and again until it answered. Work that needed it waited or"
                " was served otherwise; other work went on."
            ),
            n=len(found),
            recovered=len(back),
            letter=back[0].letter,
            seqs=tuple(seq for one in back[:3] for seq in one.seqs),
        )


def blocked_of(got: Collected) -> list[Need]:
    """Routes that only a person can bring back.

    Raises:
        Nothing.
    """
    mine = {route for route, _ in _routes(got)}
    rows = got.reader.rows(HealthRow, "state = 'blocked'")
    return [_blocked(row) for row in rows if row.route in mine]


def _routes(got: Collected) -> Iterable[tuple[str, int]]:
    night = got.night.night if got.night is not None else ""
    return got.reader.query(
        "SELECT route, count(*) FROM call JOIN run USING (run) WHERE run.night = ? GROUP BY route",
        (night,),
    )


def _blocked(row: HealthRow) -> Need:
    quota = row.cause == "quota"
    what = "The account is used up" if quota else "The key was refused"
    return Need(
        number=0,
        verdict=None,
        question=f"{what} at {one_line(row.route)}. Is it right now?",
        about=Said(),
        name=row.route,
        body="Nothing is sent there, since asking again would not help.",
        detail=Said(),
        choices=(
            Choice(
                label="Look.", follows="Says what every key and every provider is good for.",
                command="tildawn doctor",
            ),
            Choice(
                label="It is right.", follows="Calls are sent again.",
                command=f'tildawn route {row.route} force closed --for 10m --reason "put right"',
            ),
        ),
        meanwhile="If you do nothing: work that needs it waits; other work goes on.",
        seqs=(),
    )  # fmt: skip
