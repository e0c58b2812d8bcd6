"""What befell the night: crashes, sleep, stops; what healed, and what does not look right.

What it is not: runs.  Those are in ``watch.lines``.
"""

from collections.abc import Iterable, Iterator

from tildawn.projections.run import RunRow
from tildawn.watch.collect import Collected
from tildawn.watch.guarded import bands_of
from tildawn.watch.hours import Death
from tildawn.watch.money import Outside
from tildawn.watch.owed import late_anchors
from tildawn.watch.permits import refusals_of
from tildawn.watch.report import Anomaly, Event, Guard, Healed, RunLine, StopLine, Strip, Verdict
from tildawn.watch.words import Times, count, length, one_line


_RULES = {
    "in-a-row": "{n} runs failed in a row, and the plan stops at that.",
    "in_a_row": "{n} runs failed in a row, and the plan stops at that.",
    "total": "{n} runs failed in total, and the plan stops at that.",
    "unknown": "A call ended in a way nobody had foreseen. An unknown error stops the night.",
    "budget": "The budget is spent.",
    "window": "The window closed.",
    "owner": "You stopped it.",
    "disk": "The disk is full.",
    "resources": "A limit of this machine was reached.",
}
"""By the rule in `NightStopped`; another rule is quoted as it is."""


def stops_of(got: Collected) -> tuple[StopLine, ...]:
    """The rules that ended the taking of new work.

    Raises:
        Nothing.
    """
    night = got.night
    if night is None or night.stopped < 0:
        return ()
    known = _RULES.get(night.rule, "").format(n=night.rule_count)
    return (
        StopLine(
            rule=one_line(night.rule),
            sentence=known or f"Stopped by the rule {one_line(night.rule)}.",
            detail=got.said(night.stopped, 0),
            at=night.stopped_at,
            seq=night.stopped,
        ),
    )


def strip_of(got: Collected, deaths: Iterable[Death], guard: Guard) -> Strip:
    """The span of the night strip and what stands on it, letters in order of time.

    Raises:
        Nothing.
    """
    events = [
        Event(
            kind="crash", begins_at=death.at, ends_at=death.back_at, letter="",
            words=f"process died, back in {length(death.back_at - death.at)}",
        )
        for death in deaths
    ]  # fmt: skip
    events += [
        Event(
            kind="asleep", begins_at=one.at - one.amount * 1_000, ends_at=one.at, letter="",
            words=f"asleep or stopped, {length(one.amount * 1_000)}",
        )
        for one in got.incidents
        if one.kind == "slept"
    ]  # fmt: skip
    events += bands_of(guard)
    night = got.night
    # A night that went on after its stop has no end there; the stop is told in words.
    if night is not None and night.state == "stopped":
        events.append(
            Event(
                kind="stop", begins_at=night.stopped_at, ends_at=night.stopped_at, letter="",
                words="stopped",
            )
        )  # fmt: skip
    events.sort(key=lambda event: event.begins_at)
    over = not got.goes_on or (night is not None and night.closed_at > 0)
    span = max(got.ends_at - got.begins_at, 1_000_000)
    last = max((run.ended_at for run in got.runs), default=0)
    # A mark at the very edge would be cut in two.
    near = last > got.begins_at + span * 97 // 100
    ends_at = got.begins_at + span + (span * 4 // 100 if near else 0)
    return Strip(
        begins_at=got.begins_at,
        ends_at=ends_at,
        now_at=0 if over else min(max(got.now, got.begins_at), ends_at),
        events=tuple(_lettered(events)),
    )


def _lettered(events: Iterable[Event]) -> Iterator[Event]:
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    for event in events:
        letter = "" if event.kind == "stop" else next(letters, "")
        yield Event(
            kind=event.kind, begins_at=event.begins_at, ends_at=event.ends_at, letter=letter,
            words=event.words,
        )  # fmt: skip


# --- what healed itself ---------------------------------------------------------------------


def healed_of(
    got: Collected, outside: Outside, *, deaths: Iterable[Death], strip: Strip, times: Times
) -> tuple[Healed, ...]:
    """Everything that went on without the owner, each with how many of how many.

    Raises:
        Nothing.
    """
    letters = {(event.kind, event.begins_at): event.letter for event in strip.events}
    ended_well = {run.run for run in got.runs if run.state == "done"}
    found = [_crash(death, times, letters.get(("crash", death.at), "")) for death in deaths]
    found += _interrupted(got, ended_well)
    found += _retried(got, ended_well)
    found += outside.healed
    found += _slept(got, letters)
    return tuple(found)


def _crash(death: Death, times: Times, letter: str) -> Healed:
    epoch = death.epoch
    under_way = (
        f"{count(epoch.interrupted, 'run')} {'was' if epoch.interrupted == 1 else 'were'} under way."
        if epoch.interrupted
        else "No run was under way."
    )
    return Healed(
        kind="crash",
        title=f"Process died, back in {length(death.back_at - death.at)}",
        body=(
            f"Last entry before it at {times.clock(death.at, seconds=True)}, pen taken again at"
            f" {times.clock(death.back_at, seconds=True)}. {under_way} No recorded step ran again."
        ),
        n=1,
        recovered=1,
        letter=letter,
        seqs=(epoch.taken,),
    )


def _interrupted(got: Collected, ended_well: set[str]) -> Iterator[Healed]:
    broken = [run for run in _told(got) if got.stories[run.run].interruptions]
    if not broken:
        return
    fine = sum(run.run in ended_well for run in broken)
    if not fine:
        return
    yield Healed(
        kind="interrupted",
        title=f"{count(len(broken), 'interrupted run')} taken up again",
        body=f"{fine} of {len(broken)} have ended well since.",
        n=len(broken),
        recovered=fine,
        letter="",
        seqs=tuple(got.stories[run.run].interrupted for run in broken[:3]),
    )


def _retried(got: Collected, ended_well: set[str]) -> Iterator[Healed]:
    again = [run for run in _told(got) if got.stories[run.run].retries]
    if not again:
        return
    fine = sum(run.run in ended_well for run in again)
    if not fine:
        return
    yield Healed(
        kind="retried",
        title=f"{count(len(again), 'run')} failed at first and was tried again"
        if len(again) == 1
        else f"{count(len(again), 'run')} failed at first and were tried again",
        body=f"{fine} of {len(again)} ended well in the end.",
        n=len(again),
        recovered=fine,
        letter="",
        seqs=tuple(got.stories[run.run].retried for run in again[:3]),
    )


def _told(got: Collected) -> list[RunRow]:
    return [run for run in got.runs if run.run in got.stories]


def _slept(got: Collected, letters: dict[tuple[str, int], str]) -> Iterator[Healed]:
    for one in got.incidents:
        if one.kind == "slept":
            span = one.amount * 1_000
            yield Healed(
                kind="asleep",
                title=f"The machine slept, or the process was stopped, for {length(span)}",
                body="The night went on by itself afterwards.",
                n=1,
                recovered=1,
                letter=letters.get(("asleep", one.at - span), ""),
                seqs=(one.seq,),
            )


# --- what does not look right ---------------------------------------------------------------


def anomalies_of(
    got: Collected, lines: tuple[RunLine, ...], *, differs: str, outside: Outside
) -> tuple[Anomaly, ...]:
    """What does not look right, the report's own faults first.

    Raises:
        Nothing.
    """
    found: list[Anomaly] = []
    if differs:
        found.append(
            Anomaly(
                kind="does-not-add-up", sentence=f"This report does not add up: {differs}.", seqs=()
            )
        )
    if got.missing:
        found.append(
            Anomaly(
                kind="text-missing",
                sentence=f"{count(len(got.missing), 'text')} should be in the house and"
                " cannot be read. Type: tildawn verify",
                seqs=tuple(got.missing[:3]),
            )
        )
    found += outside.anomalies
    found += _blocked(got)
    found += _jumped(got)
    found += _full(got)
    found += _unbased(got, lines)
    found += refusals_of(got)
    found += late_anchors(got)
    return tuple(found)


def _blocked(got: Collected) -> Iterator[Anomaly]:
    blocked = [one for one in got.incidents if one.kind == "blocked"]
    if blocked:
        worst = max(one.amount for one in blocked)
        yield Anomaly(
            kind="blocked",
            sentence=f"Task code kept the event loop to itself {count(len(blocked), 'time')},"
            f" for {length(worst * 1_000)} at worst.",
            seqs=tuple(one.seq for one in blocked[:3]),
        )


def _jumped(got: Collected) -> Iterator[Anomaly]:
    for one in got.incidents:
        if one.kind == "jumped":
            way = "forwards" if one.amount > 0 else "back"
            yield Anomaly(
                kind="clock",
                sentence=f"The clock of the machine was set {way} by {length(abs(one.amount) * 1_000)}.",
                seqs=(one.seq,),
            )


def _full(got: Collected) -> Iterator[Anomaly]:
    for one in got.full:
        since = length(one.ended_at - one.at) if one.ended_at else "until now"
        yield Anomaly(
            kind="disk-full",
            sentence="The disk was full, and what had been set aside was given back to end in"
            f" order: {one.released_bytes // 1_000_000} MB, {since}.",
            seqs=(one.seq,),
        )


def _unbased(got: Collected, lines: tuple[RunLine, ...]) -> Iterator[Anomaly]:
    """Checks whose state before the work is not on record, though their work is called verified."""
    verified = {f"{got.night.night}/{line.item}/{line.row}" for line in lines
                if line.verdict is Verdict.VERIFIED} if got.night is not None else set[str]()  # fmt: skip
    bare = [
        check
        for about in sorted(verified)
        for check in got.checks.get(about, ())
        if not check.chosen and (check.baselined < 0 or check.saw == "not-run")
    ]
    if bare:
        yield Anomaly(
            kind="no-baseline",
            sentence=f"What {count(len(bare), 'check')} saw before the work is not on record,"
            " so nobody can say whether the work changed anything.",
            seqs=tuple(check.judged for check in bare[:3]),
        )
