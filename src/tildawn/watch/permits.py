"""What permits did not allow in one night, a line for each reason.

What it is not: the runs that it happened to; those stand in the list of runs with their error.
"""

from collections.abc import Iterator

from tildawn.projections.permit import RefusedRow, refused_since
from tildawn.watch.collect import Collected
from tildawn.watch.report import Anomaly
from tildawn.watch.words import count, one_line


KIND = "not-permitted"

_WHY = {
    "operation": "it does not allow that",
    "route": "it does not allow that route",
    "resource": "it does not allow that address",
    "erased": "the addresses that it allows were erased",
    "run": "it is for another run",
    "attempt": "it was for an earlier attempt",
    "expired": "it has expired",
    "revoked": "it was revoked",
    "calls": "it has no call left",
    "cost": "it has too little money left",
    "unknown": "it is not on record",
    "wider": "a child would have been wider",
}


def refusals_of(got: Collected) -> Iterator[Anomaly]:
    """Refusals of the runs of a night, and while it lasted of whoever showed a token.

    Raises:
        Nothing.
    """
    found: dict[tuple[str, str, str, str], list[int]] = {}
    for row in refused_since(got.reader, got.begins_at, got.ends_at + 1):
        if _counts(got, row):
            key = (row.permit, row.operation, row.route, row.why)
            found.setdefault(key, []).append(row.seq)
    for (permit, operation, route, why), seqs in found.items():
        place = f" on {one_line(route)}" if route else ""
        yield Anomaly(
            kind=KIND,
            sentence=f"Refused {count(len(seqs), 'time')}: {one_line(operation)}{place} under"
            f" permit {permit}: {_WHY.get(why, one_line(why))}.",
            seqs=tuple(seqs[:3]),
        )


def _counts(got: Collected, row: RefusedRow) -> bool:
    return not row.run or row.run in got.stories
