"""The first words of a report, by counting: what is verified, what needs you, what it took.

What it is not: prose.  No model writes here, and no sentence claims more than a sum.
"""

from collections.abc import Iterator

from tildawn.watch.report import Headline, NightState, Report, SecondMark, Verdict
from tildawn.watch.words import Times, cents, count, number


def headline_of(report: Report) -> Headline:
    """Compute the headline from everything else in the report.

    Args:
        report: complete but for its headline.

    Returns:
        The sentence and those below it.

    Raises:
        Nothing.
    """
    runs = {one.verdict: one.runs for one in report.counts}
    simulated = any(SecondMark.SIMULATED in line.marks for line in report.runs)
    times = Times(report.zone, begins_at=report.strip.begins_at, ends_at=report.strip.ends_at)
    deck = (
        *_honest(report, simulated=simulated),
        *_how_it_stands(report, times),
        *_not_well(runs, report),
        *_healed(report),
        *_spent(report),
    )
    return Headline(
        count=_count(runs, report, simulated=simulated),
        needs=_needs(len(report.needs)),
        deck=deck,
        simulated=simulated,
    )


def _count(runs: dict[Verdict, int], report: Report, *, simulated: bool) -> str:
    if report.planned == 0 and not report.runs:
        return "Nothing was planned."
    verified = runs.get(Verdict.VERIFIED, 0)
    tail = ", simulated" if simulated else ""
    return f"{number(verified)} of {number(report.planned)} verified{tail}."


def _needs(n: int) -> str:
    if n == 0:
        return "Nothing needs you."
    return "1 needs you." if n == 1 else f"{number(n)} need you."


def _honest(report: Report, *, simulated: bool) -> Iterator[str]:
    if report.differs:
        yield f"This report does not add up: {report.differs}."
    if simulated:
        real = sum(SecondMark.SIMULATED not in line.marks for line in report.runs)
        yield (
            "A simulator stood in for the provider in every run."
            if not real
            else f"A simulator stood in for the provider in {count(len(report.runs) - real, 'run')}."
        )


def _how_it_stands(report: Report, times: Times) -> Iterator[str]:
    night = report.night
    if night is None:
        return
    if night.state is NightState.STOPPED:
        yield from (
            f"The night stopped at {times.when(stop.at)}. {stop.sentence}" for stop in report.stops
        )
        return
    yield _STANDS[night.state].format(
        ended=times.when(night.ended_at), now=times.when(report.made_at)
    )


_STANDS = {
    NightState.CLOSED: "Done at {ended}.",
    NightState.DEAD: "The process is gone, and nobody has taken the pen since.",
    NightState.PARKED: "The night is parked; nothing works on it.",
    NightState.ACCEPTED: "The night has not begun.",
    NightState.OPEN: "The night is not over. This is how it was at {now}.",
}


def _not_well(runs: dict[Verdict, int], report: Report) -> Iterator[str]:
    if not report.runs:
        return
    bad = [
        f"{number(runs[verdict])} {word}"
        for verdict, word in (
            (Verdict.FAILED, "failed"),
            (Verdict.REFUTED, "refuted"),
            (Verdict.UNKNOWN, "unknown"),
            (Verdict.HELD, "held"),
        )
        if runs.get(verdict)
    ]
    yield _listed(bad) + "." if bad else "Nothing failed."
    if claimed := runs.get(Verdict.CLAIMED):
        yield f"{number(claimed)} claimed, not proved."
    if under_way := runs.get(Verdict.UNDER_WAY):
        yield f"{number(under_way)} under way."
    if idle := runs.get(Verdict.NOT_STARTED):
        yield f"{number(idle)} never began." if _over(report) else f"{number(idle)} not begun yet."


def _over(report: Report) -> bool:
    return report.night is not None and report.night.state not in {
        NightState.OPEN, NightState.ACCEPTED,
    }  # fmt: skip


def _healed(report: Report) -> Iterator[str]:
    words = ("crash", "outage", "calls", "retried", "asleep")
    counted = {
        kind: sum(one.recovered for one in report.healed if one.kind == kind) for kind in words
    }
    parts = [
        *([count(counted["crash"], "crash", "crashes")] if counted["crash"] else []),
        *([count(counted["outage"], "outage")] if counted["outage"] else []),
        *([count(counted["calls"], "failed call")] if counted["calls"] else []),
        *([count(counted["retried"], "failed run")] if counted["retried"] else []),
    ]
    if parts:
        yield f"{_listed(parts)} healed without you."


def _spent(report: Report) -> Iterator[str]:
    money = report.money
    if money.spent == 0 and money.limit < 0:
        return
    of = f" of {cents(money.limit)}" if money.limit >= 0 else ""
    assumed = f", {cents(money.assumed)} of it assumed" if money.assumed else ""
    yield f"{cents(money.spent)}{of} USD spent{assumed}."


def _listed(parts: list[str]) -> str:
    if len(parts) < 2:  # noqa: PLR2004  # nothing to join
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
