"""The two looks at a route after its settings were promoted: after an hour and after a day.

What it is not: a loop.  Whoever has the pen asks what is due and appends it.
"""

from collections.abc import Iterator

from tildawn.facts.route import RouteReviewed
from tildawn.ledger.reader import Reader
from tildawn.projections.route import WordRow
from tildawn.projections.slo import OBJECTIVES, measure
from tildawn.projections.traffic import DAY
from tildawn.units import MILLISECOND, Micros
from tildawn.watch.slo import allowed_of


def due_reviews(reader: Reader, now: Micros) -> list[RouteReviewed]:
    """The looks that are due.

    A look covers the time from the promotion (``watch``) or the last day (``review``) up to its
    instant, so it says the same however late it is taken.  Taken twice it changes nothing.

    Args:
        reader: one read transaction.
        now: the instant.

    Returns:
        One fact for each, by route; to be appended by whoever has the pen.

    Raises:
        Nothing.
    """
    where = "(watch_at > 0 AND watch_at <= ?1) OR (review_at > 0 AND review_at <= ?1)"
    return [
        _look(reader, row.route, look, since=Micros(since), until=Micros(at))
        for row in reader.rows(WordRow, where, (now,))
        for look, at, since in _looks(row, now)
    ]


def _looks(row: WordRow, now: Micros) -> Iterator[tuple[str, int, int]]:
    if 0 < row.watch_at <= now:
        yield "watch", row.watch_at, row.promoted_at
    if 0 < row.review_at <= now:
        yield "review", row.review_at, max(row.review_at - DAY, row.promoted_at)


def _look(reader: Reader, route: str, look: str, *, since: Micros, until: Micros) -> RouteReviewed:
    good, found = True, dict[str, tuple[int, int]]()
    for objective in OBJECTIVES:
        for one in measure(reader, objective, since=since, until=until, route=route):
            found[objective.name] = one.bad, one.total
            good = good and (one.bad == 0 or one.bad < allowed_of(objective, one.total))
    timeouts, attempts = found.get("timeouts", (0, 0))
    return RouteReviewed(
        route=route, look=look, good=good, attempts=attempts, timeouts=timeouts,
        open_ms=found.get("open", (0, 0))[0] // MILLISECOND,
    )  # fmt: skip
