"""Long lists cut for a reader: grouped by reason, capped, with the rest counted.

What it is not: a loss.  The JSON report holds every line; what is cut here is said with a number.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tildawn.watch.report import Need, Report, RunLine, Said, Verdict


INDEX_MAX = 120
"""Verified runs shown by name; two columns of a page."""
GROUP_MAX = 8
"""Runs shown of one reason."""
GROUPS_MAX = 12
"""Reasons shown of one verdict."""
NEEDS_MAX = 20
"""Questions shown; whoever has more needs a rule, not a list."""
BOXES_MAX = 4
"""Up to so many questions stand as boxes, more as a list."""

HEADINGS = {
    Verdict.REFUTED: "Said done, and not",
    Verdict.UNKNOWN: "Unknown",
    Verdict.FAILED: "Failed",
    Verdict.HELD: "Held",
    Verdict.CLAIMED: "Claimed, not proved",
    Verdict.UNDER_WAY: "Under way",
    Verdict.NOT_STARTED: "Not started",
    Verdict.VERIFIED: "Verified",
}
"""The lists in the order in which they stand: what is not well comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Runs with one verdict for one reason; ``more`` of them are not shown."""

    why: str
    detail: Said
    lines: tuple[RunLine, ...]
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All runs of one verdict, shown or counted."""

    verdict: Verdict
    heading: str
    runs: int
    groups: tuple[Group, ...]
    #: Runs of reasons that are not shown.
    more: int


def listings_of(report: Report) -> tuple[Listing, ...]:
    """The lists of a report; a verdict without runs has none.

    Raises:
        Nothing.
    """
    by_verdict: dict[Verdict, list[RunLine]] = {}
    for line in report.runs:
        by_verdict.setdefault(line.verdict, []).append(line)
    return tuple(
        _listing(verdict, heading, by_verdict[verdict])
        for verdict, heading in HEADINGS.items()
        if verdict in by_verdict
    )


def _listing(verdict: Verdict, heading: str, lines: list[RunLine]) -> Listing:
    if verdict is Verdict.VERIFIED:
        groups = [_group("", Said(), lines, INDEX_MAX)]
    else:
        by_reason: dict[tuple[str, Said], list[RunLine]] = {}
        for line in lines:
            by_reason.setdefault((line.why, line.detail), []).append(line)
        groups = [_group(why, detail, mine, GROUP_MAX) for (why, detail), mine in by_reason.items()]
        groups.sort(key=lambda group: group.more == 0)  # the most frequent reasons first
    shown = groups[:GROUPS_MAX]
    return Listing(
        verdict=verdict,
        heading=heading,
        runs=len(lines),
        groups=tuple(shown),
        more=len(lines) - sum(len(group.lines) + group.more for group in shown),
    )


def _group(why: str, detail: Said, lines: Iterable[RunLine], cap: int) -> Group:
    listed = tuple(lines)
    return Group(why=why, detail=detail, lines=listed[:cap], more=max(len(listed) - cap, 0))


def needs_shown(report: Report) -> tuple[Need, ...]:
    """The questions that are shown; the others are counted by `Report.needs`.

    Raises:
        Nothing.
    """
    return report.needs[:NEEDS_MAX]
