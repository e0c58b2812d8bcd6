"""The geometry of the night strip: percent along the night, pixels across it.

What it is not: a drawing; templates make SVG of it.  Times are microseconds, x is percent from
dusk (0) to the end of the window (100), y is in pixels of a strip 116 high.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise, zip_longest

from tildawn.watch.report import Report, RunLine, Strip, Verdict
from tildawn.watch.words import Times, number


LANES = (38.5, 58.5, 78.5)
MARKS_MAX = 60
"""More runs than these do not fit as single marks on a phone; then they become a ridge."""
RIDGE_BINS = 96
RIDGE_HEIGHT = 24.0
_LONG_PERCENT = 25.0
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200)
_TICKS_MAX = 8
_SECOND = 1_000_000
_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A time on the scale; every second one is left out on a phone."""

    x: str
    text: str
    minor: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Where a run, or several of one verdict, ended; ``need`` is the number to ask for."""

    x: str
    y: float
    verdict: str
    need: int
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stem:
    """A run from its start to its end."""

    x1: str
    x2: str
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Runs that ended well in one stretch of a crowded night."""

    x: str
    width: str
    y: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """An event: a crash is torn at one place, sleep is hatched from x to x + width."""

    kind: str
    x: str
    middle: str
    width: str
    letter: str
    words: str
    #: Whether its label stands left of it, where there is no room on the right.
    left: bool
    #: Whether only the letter stays, since the next label is near.
    bare: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """One row of the night in words."""

    text: str
    verified: int
    also: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Everything a template needs for the strip."""

    title: str
    words: str
    ticks: tuple[Tick, ...]
    #: Where the lanes end: at now, or at the stop.
    until: str
    stems: tuple[Stem, ...]
    marks: tuple[Mark, ...]
    bars: tuple[Bar, ...]
    tallest: int
    bands: tuple[Band, ...]
    now: str
    now_text: str
    #: Whether its words stand left of it, where there is no room on the right.
    now_left: bool
    stop: str
    stop_text: str
    stop_left: bool
    #: Runs that never began, up to six of them as dashes behind the stop.
    idle: tuple[int, ...]
    hours: tuple[Hour, ...]
    verdicts: tuple[Verdict, ...]


def drawing_of(report: Report, times: Times) -> Drawing:
    """Lay out the strip of a report.

    Args:
        report: any.
        times: its zone.

    Returns:
        Positions and words.

    Raises:
        Nothing.
    """
    strip = report.strip
    ended = [line for line in report.runs if _shown(line)]
    crowded = len(ended) > MARKS_MAX
    stop = next((event for event in strip.events if event.kind == "stop"), None)
    idle = sum(line.verdict is Verdict.NOT_STARTED for line in report.runs) if stop else 0
    stems, marks = ((), _clusters(strip, ended)) if crowded else _lanes(strip, ended)
    bars, tallest = _ridge(strip, ended) if crowded else ((), 0)
    until = stop.begins_at if stop else strip.now_at or strip.ends_at
    return Drawing(
        title=f"The night strip, {times.clock(strip.begins_at)} to {times.clock(strip.ends_at)}",
        words=_description(report, times),
        ticks=tuple(_ticks(strip, times)),
        until=_x(strip, until),
        stems=stems,
        marks=marks,
        bars=bars,
        tallest=tallest,
        bands=tuple(_bands(strip)),
        now=_x(strip, strip.now_at) if strip.now_at else "",
        now_text=times.clock(strip.now_at) if strip.now_at else "",
        now_left=strip.now_at > 0 and _share(strip, strip.now_at) > 70,  # noqa: PLR2004  # percent
        stop=_x(strip, stop.begins_at) if stop else "",
        stop_text=times.clock(stop.begins_at) if stop else "",
        stop_left=stop is not None and _share(strip, stop.begins_at) > 80,  # noqa: PLR2004  # percent
        idle=tuple(range(10, 10 + 15 * min(idle, 6), 15)),
        hours=tuple(_hours(report, ended, times)),
        verdicts=tuple(v for v in Verdict if any(line.verdict is v for line in ended)),
    )


def _shown(line: RunLine) -> bool:
    return line.started_at > 0 and line.verdict is not Verdict.NOT_STARTED


def _end(strip: Strip, line: RunLine) -> int:
    """Where the mark of a run stands; one that is under way stands at now."""
    return line.ended_at or strip.now_at or strip.ends_at


def _share(strip: Strip, at: int) -> float:
    span = strip.ends_at - strip.begins_at
    return min(max((at - strip.begins_at) / span * 100, 0.0), 100.0)


def _x(strip: Strip, at: int) -> str:
    return _percent(_share(strip, at))


def _percent(share: float) -> str:
    return f"{share:.2f}".rstrip("0").rstrip(".") + "%"


# --- single marks -------------------------------------------------------------------------


def _lanes(strip: Strip, ended: Iterable[RunLine]) -> tuple[tuple[Stem, ...], tuple[Mark, ...]]:
    """Each run to the lane that has been free longest; long ones keep the top one."""
    free = [0.0, -1.0, -2.0]
    stems: list[Stem] = []
    marks: list[Mark] = []
    for line in sorted(ended, key=lambda line: (line.started_at, _end(strip, line))):
        begins, ends = _share(strip, line.started_at), _share(strip, _end(strip, line))
        long = ends - begins > _LONG_PERCENT
        lane = 0 if long else min(range(3), key=lambda lane: free[lane])
        free[lane] = ends
        y = LANES[lane]
        stems.append(Stem(x1=_percent(begins), x2=_percent(ends), y=y))
        marks.append(_mark(line, ends, y))
    return tuple(stems), tuple(marks)


def _mark(line: RunLine, share: float, y: float, *, runs: int = 1) -> Mark:
    return Mark(x=_percent(share), y=y, verdict=line.verdict.value, need=line.need, runs=runs)


# --- a crowded night ------------------------------------------------------------------------


def _ridge(strip: Strip, ended: Iterable[RunLine]) -> tuple[tuple[Bar, ...], int]:
    """How many runs were verified in each stretch, as bars; the tallest is given as a number."""
    bins = Counter(
        min(int(_share(strip, _end(strip, line)) / 100 * RIDGE_BINS), RIDGE_BINS - 1)
        for line in ended
        if line.verdict is Verdict.VERIFIED
    )
    tallest = max(bins.values(), default=0)
    width = 100 / RIDGE_BINS
    return tuple(
        Bar(
            x=_percent(place * width + width * 0.1),
            width=_percent(width * 0.8),
            y=round(94 - max(RIDGE_HEIGHT * n / tallest, 2), 1),
            height=round(max(RIDGE_HEIGHT * n / tallest, 2), 1),
        )
        for place, n in sorted(bins.items())
    ), tallest


def _clusters(strip: Strip, ended: Iterable[RunLine]) -> tuple[Mark, ...]:
    """What is not verified, above the ridge: near ones of one verdict share a mark.

    What waits for the owner stands in the top row, what broke in the middle one; a mark that
    would cover its neighbour moves aside, since it stands for a stretch and not for an instant.
    """
    others = [line for line in ended if line.verdict is not Verdict.VERIFIED]
    others.sort(key=lambda line: (line.verdict, _end(strip, line)))
    rows: dict[float, list[list[RunLine]]] = {}
    for verdict, same in groupby(others, key=lambda line: line.verdict):
        row = rows.setdefault(_ROWS.get(verdict, 60.5), [])
        for line in same:
            fits = row and row[-1][0].verdict is verdict and (
                _share(strip, _end(strip, line)) - _share(strip, _end(strip, row[-1][0])) <= _NEAR
            )  # fmt: skip
            row[-1].append(line) if fits else row.append([line])
    return tuple(mark for y, row in rows.items() for mark in _side_by_side(strip, row, y))


_NEAR = 9.0
"""Percent of the strip that a mark with its count takes on a phone."""
_ROWS = {
    Verdict.HELD: 30.5, Verdict.UNKNOWN: 30.5, Verdict.FAILED: 45.5, Verdict.REFUTED: 45.5,
}  # fmt: skip


def _side_by_side(strip: Strip, row: Iterable[list[RunLine]], y: float) -> Iterator[Mark]:
    at = -_NEAR
    for near in sorted(row, key=lambda near: _middle(strip, near)):
        at = min(max(_middle(strip, near), at + _NEAR), 98.0)
        yield _mark(near[0], at, y, runs=len(near))


def _middle(strip: Strip, near: list[RunLine]) -> float:
    return (_share(strip, _end(strip, near[0])) + _share(strip, _end(strip, near[-1]))) / 2


# --- scale, events and words ------------------------------------------------------------------


def _ticks(strip: Strip, times: Times) -> Iterator[Tick]:
    begins, ends = strip.begins_at // _SECOND, strip.ends_at // _SECOND
    step = next((step for step in _STEPS if (ends - begins) / step <= _TICKS_MAX), _DAY)
    while (ends - begins) / step > _TICKS_MAX:
        step *= 2
    local = times.local(strip.begins_at)
    since_midnight = local.hour * 3_600 + local.minute * 60 + local.second
    first = begins + (-since_midnight) % step
    for place, at in enumerate(range(first, ends + 1, step)):
        share = _share(strip, at * _SECOND)
        if 2 <= share <= 98:  # noqa: PLR2004  # percent; a label needs room on both sides
            yield Tick(
                x=_percent(share),
                text=times.clock(at * _SECOND, seconds=step < 60),  # noqa: PLR2004  # a minute
                minor=bool(place % 2),
            )


def _bands(strip: Strip) -> Iterator[Band]:
    events = [event for event in strip.events if event.kind != "stop"]
    for event, after in zip_longest(events, events[1:]):
        x, end = _share(strip, event.begins_at), _share(strip, event.ends_at)
        middle = x if event.kind == "crash" else (x + end) / 2
        near = after is not None and _share(strip, after.begins_at) - middle < 22  # noqa: PLR2004  # percent
        yield Band(
            kind=event.kind,
            x=_percent(x),
            middle=_percent(middle),
            width=_percent(max(end - x, 0.3)),
            letter=event.letter,
            words=event.words,
            left=middle > 70,  # noqa: PLR2004  # percent
            bare=near or _stop_is_near(strip, middle),
        )


def _stop_is_near(strip: Strip, middle: float) -> bool:
    return any(
        abs(_share(strip, event.begins_at) - middle) < 22  # noqa: PLR2004  # percent
        for event in strip.events
        if event.kind == "stop"
    )


def _description(report: Report, times: Times) -> str:
    counts = ", ".join(
        f"{number(one.runs)} {one.verdict.value.replace('-', ' ')}"
        for one in report.counts
        if one.runs
    )
    said = [f"{number(len(report.runs))} runs: {counts or 'none'}."]
    said += [
        f"At {times.clock(event.begins_at)}: {event.words}." for event in report.strip.events[:12]
    ]
    return " ".join(said)


def _hours(report: Report, ended: Iterable[RunLine], times: Times) -> Iterator[Hour]:
    """The night in words, a row for each stretch of the scale in which something happened."""
    strip = report.strip
    edges = [strip.begins_at, *_edges(strip, times), strip.ends_at + 1]
    listed = list(ended)
    for begins, ends in pairwise(edges):
        mine = [line for line in listed if begins <= _end(strip, line) < ends]
        also = [f"{times.clock(event.begins_at)} {event.words}" for event in strip.events
                if begins <= event.begins_at < ends]  # fmt: skip
        others = Counter(line.verdict for line in mine if line.verdict is not Verdict.VERIFIED)
        also += [f"{number(n)} {verdict.value.replace('-', ' ')}" for verdict, n in others.items()]
        verified = sum(line.verdict is Verdict.VERIFIED for line in mine)
        if verified or also:
            yield Hour(text=times.clock(begins), verified=verified, also="; ".join(also))


def _edges(strip: Strip, times: Times) -> Iterator[int]:
    begins, ends = strip.begins_at // _SECOND, strip.ends_at // _SECOND
    step = next((step for step in _STEPS if (ends - begins) / step <= 12), _DAY)  # noqa: PLR2004  # rows
    local = times.local(strip.begins_at)
    since_midnight = local.hour * 3_600 + local.minute * 60 + local.second
    first = begins + (-since_midnight) % step
    yield from (at * _SECOND for at in range(first, ends, step) if at > begins)
