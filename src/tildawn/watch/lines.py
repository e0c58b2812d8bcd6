"""The planned runs of a night, each listed once with its verdict, and whether they add up.

What it is not: the verdict itself; that rule is in ``watch.verdict``.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from tildawn.projections.night import ItemRow
from tildawn.projections.run import RunRow
from tildawn.watch.collect import Collected, subject_of
from tildawn.watch.report import Count, ItemLine, RunLine, Said, Verdict
from tildawn.watch.verdict import Case, Judged, judge
from tildawn.watch.words import count, one_line


MEANINGS = {
    Verdict.VERIFIED: "proved by a check named before",
    Verdict.CLAIMED: "done, not proved",
    Verdict.REFUTED: "said done, found otherwise",
    Verdict.UNKNOWN: "may have happened",
    Verdict.FAILED: "ended without a result",
    Verdict.HELD: "waits for your word",
    Verdict.UNDER_WAY: "begun, not ended",
    Verdict.NOT_STARTED: "never began",
}
"""What each verdict means, in a few words; the order is that of the report."""

TITLE_LONGEST = 400
"""Characters of a title that a report holds; a title of 10 kB is cut, and ends in an ellipsis."""


def lines_of(
    got: Collected,
    *,
    in_doubt: frozenset[str],
    simulated: frozenset[str],
    waits: Mapping[str, str],
) -> tuple[RunLine, ...]:
    """Every planned run once, in the order of the plan.

    Args:
        got: the night.
        in_doubt: runs with a call whose effect nobody knows.
        simulated: runs with a call that a simulator answered.
        waits: for what runs wait that the guard told to come again.

    Returns:
        One line a run.

    Raises:
        Nothing.
    """
    mine: dict[str, list[RunRow]] = {}
    for run in got.runs:
        mine.setdefault(run.item, []).append(run)
    lines: list[RunLine] = []
    for item, title in got.items:
        runs = mine.pop(item.item, [])
        covering = [
            (row.row, got.earlier.get(row.by)) for row in got.covered if row.item == item.item
        ]
        known = [
            *((run.row, run, False) for run in runs),
            *((row, run, True) for row, run in covering if run is not None),
        ]
        known += [(row, None, False) for row in _unmade(item, (row for row, _, _ in known))]
        for row, run, earlier in sorted(known, key=lambda one: one[0]):
            case = _case(
                got, run, item=item, earlier=earlier, in_doubt=in_doubt, simulated=simulated
            )
            case = replace(case, waits=waits.get(run.run, "") if run is not None else "")
            lines.append(_line(got, judge(case), run, item=item, title=title, row=row))
    for runs in mine.values():
        for run in runs:
            case = _case(got, run, item=None, earlier=False, in_doubt=in_doubt, simulated=simulated)
            case = replace(case, waits=waits.get(run.run, ""))
            lines.append(_line(got, judge(case), run, item=None, title="", row=run.row))
    return tuple(lines)


def _unmade(item: ItemRow, made: Iterable[int]) -> Iterator[int]:
    """Rows of an item that are planned and have no run yet."""
    rows = list(made)
    missing = item.planned - len(rows)
    if missing <= 0:
        return
    if item.planned == 1:
        yield -1
        return
    taken = set(rows)
    free = (row for row in range(item.planned) if row not in taken)
    for row, _ in zip(free, range(missing), strict=False):
        yield row


def _case(
    got: Collected, run: RunRow | None, *, item: ItemRow | None, earlier: bool,
    in_doubt: frozenset[str], simulated: frozenset[str],
) -> Case:  # fmt: skip
    night = got.night
    pretended = night is not None and night.simulated != 0
    if run is None:
        return Case(night=night, item=item, goes_on=got.goes_on, simulated=pretended)
    return Case(
        run=run,
        story=got.stories.get(run.run),
        checks=got.checks.get(subject_of(run), ()),
        in_doubt=run.run in in_doubt,
        simulated=pretended or run.simulated != 0 or run.run in simulated,
        earlier=earlier,
        night=night,
        item=item,
        goes_on=got.goes_on,
        asked=run.run in got.asked,
    )


def _line(
    got: Collected,
    judged: Judged,
    run: RunRow | None,
    *,
    item: ItemRow | None,
    title: str,
    row: int,
) -> RunLine:
    name = item.item if item is not None else (run.item if run is not None else "")
    story = got.stories.get(run.run) if run is not None else None
    detail = got.said(*judged.detail) if judged.detail is not None else Said()
    return RunLine(
        name=(story.name or story.run) if story is not None else "",
        run=run.run if run is not None else "",
        item=name,
        row=row,
        title=_title(got, run, fallback=title or name, row=row),
        verdict=judged.verdict,
        why=judged.why,
        detail=Said(text=one_line(detail.text, longest=TITLE_LONGEST), erased=detail.erased),
        marks=judged.marks,
        started_at=run.started_at if run is not None else 0,
        ended_at=_ended_at(got, run) if run is not None else 0,
        seq=judged.seq,
    )


def _ended_at(got: Collected, run: RunRow) -> int:
    """When the run ended, or when it was held."""
    story = got.stories.get(run.run)
    if run.state == "held" and story is not None:
        return story.phase_at
    return run.ended_at


def _title(got: Collected, run: RunRow | None, *, fallback: str, row: int) -> Said:
    story = got.stories.get(run.run) if run is not None else None
    if run is not None and story is not None and story.labelled:
        said = got.said(run.accepted, 1)
        return Said(text=one_line(said.text, longest=TITLE_LONGEST), erased=said.erased)
    bare = one_line(fallback or (run.task if run is not None else ""), longest=TITLE_LONGEST)
    return Said(text=f"{bare}, row {row + 1}" if row >= 0 else bare)


# --- sums -----------------------------------------------------------------------------------


def counts_of(lines: Iterable[RunLine]) -> tuple[Count, ...]:
    """How many runs have each verdict, in the order of the report; zeros included.

    Raises:
        Nothing.
    """
    found = Counter(line.verdict for line in lines)
    return tuple(
        Count(verdict=verdict, meaning=meaning, runs=found[verdict])
        for verdict, meaning in MEANINGS.items()
        if verdict is not Verdict.UNDER_WAY or found[verdict]
    )


def planned_of(got: Collected) -> int:
    """How many runs were planned: by the plan's fact, or accepted where there is no plan.

    Raises:
        Nothing.
    """
    return got.night.planned if got.night is not None else len(got.runs)


def difference(got: Collected, lines: tuple[RunLine, ...], counts: tuple[Count, ...]) -> str:
    """How the report differs from the plan; empty when every planned run is in it once.

    Args:
        got: the night.
        lines: every run that is listed.
        counts: the sums that are printed.

    Returns:
        A sentence, or nothing.

    Raises:
        Nothing.
    """
    planned, summed = planned_of(got), sum(one.runs for one in counts)
    faults: list[str] = []
    if summed != planned:
        faults.append(f"{count(planned, 'run')} planned, {summed} listed")
    twice = [
        run for run, times in Counter(line.run for line in lines if line.run).items() if times > 1
    ]
    if twice:
        faults.append(f"{count(len(twice), 'run')} listed twice, first {twice[0]}")
    known = {item.item: item.planned for item, _ in got.items}
    per_item = Counter(line.item for line in lines)
    if got.night is not None:
        faults += [
            f"{one_line(item)}: {known.get(item, 0)} planned, {per_item[item]} listed"
            for item in sorted(known | per_item)
            if known.get(item, 0) != per_item[item]
        ]
    return "; ".join(faults)


def items_of(got: Collected, lines: Iterable[RunLine]) -> tuple[ItemLine, ...]:
    """The items of the plan with how many of their runs are verified.

    Raises:
        Nothing.
    """
    verified = Counter(line.item for line in lines if line.verdict is Verdict.VERIFIED)
    return tuple(
        ItemLine(
            item=item.item, title=one_line(title or item.item), planned=item.planned,
            verified=verified[item.item],
        )
        for item, title in got.items
    )  # fmt: skip
