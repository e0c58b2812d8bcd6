"""What may start next: queues, priorities, keys, limits.

What it is not: a table of its own.  The queue is the set of runs whose state says so.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from tildawn.engine.pressure import Pressure
from tildawn.ledger.reader import Reader
from tildawn.projections.run import RunRow
from tildawn.units import SECOND, Micros


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much of this machine the engine may use."""

    #: Runs in memory; beyond it the longest waiting ones leave first.
    resident: int = 2_000
    #: Runs going on at once, by queue; queues that are not named have no limit of their own.
    queues: Mapping[str, int] = {}
    #: The same for queues that are opened and shut while the engine runs (0 shuts one); these go
    #: before the others, and hold for this process only.
    gates: dict[str, int] = {}
    #: Runs that may wait; enqueueing more is refused.
    backlog: int = 2_000_000
    #: A run that waits longer than this leaves memory.
    park_after: Micros = Micros(60 * SECOND)


class Occupied:
    """Which queues and keys the resident runs occupy."""

    def __init__(self, limits: Limits) -> None:
        """Begin with nothing resident."""
        self._limits = limits
        self._queues: Counter[str] = Counter()
        self._groups: set[str] = set()

    def room(self, queue: str) -> int:
        """How many more runs of the queue may go on."""
        limit = self._limits.gates.get(queue, self._limits.queues.get(queue))
        return self._limits.resident if limit is None else max(limit - self._queues[queue], 0)

    def take(self, row: RunRow) -> bool:
        """Occupy what the run needs; False when it must wait for another with its key."""
        if not self.room(row.queue) or row.exclusive in self._groups:
            return False
        self._queues[row.queue] += 1
        if row.exclusive:
            self._groups.add(row.exclusive)
        return True

    def free(self, row: RunRow) -> None:
        """Free what the run occupied."""
        self._queues[row.queue] -= 1
        self._groups.discard(row.exclusive)


NEXT_QUEUE = "SELECT queue FROM run WHERE state = 'queued' AND queue > ? ORDER BY queue LIMIT 1"
"""The next queue behind a name in which runs wait, along the index of what may start."""


def queues(reader: Reader) -> set[str]:
    """The queues in which runs wait now.

    Raises:
        Nothing.
    """
    found: set[str] = set()
    last = ""
    # From one name to the next along the index; DISTINCT would walk over every queued run.
    while rows := reader.query(NEXT_QUEUE, (last,)):
        last = str(rows[0][0])
        found.add(last)
    return found


def claimable(
    reader: Reader,
    *,
    names: Iterable[str],
    now: Micros,
    occupied: Occupied,
    pressure: Pressure,
    limit: int,
) -> list[RunRow]:
    """Runs that may start now, highest priority first, then in order of acceptance.

    What is taken is marked in ``occupied``; runs whose queue or key is taken are passed over.

    Args:
        reader: a read transaction.
        names: the queues to look into.
        now: the wall clock.
        occupied: changed by this function.
        pressure: work of which nothing new begins; changed by this function.
        limit: most runs to take, >= 1.

    Raises:
        Nothing.
    """
    found: list[RunRow] = _due(reader, now, limit)
    begins, shut = _not_shut(pressure, now)
    for name in sorted(names):
        room = min(occupied.room(name), limit)
        if room:
            # Runs behind a taken key are passed over, so look further than the room goes.
            found += reader.rows(
                RunRow,
                f"state = 'queued' AND queue = ?{begins}",
                (name, *shut),
                order="priority DESC, accepted",
                limit=2 * room + 50,
            )
    found.sort(key=lambda row: (-row.priority, row.accepted))
    taken: list[RunRow] = []
    for row in pressure.admit(found, now):
        if len(taken) == limit:
            break
        if occupied.take(row):
            taken.append(row)
    return taken


def _not_shut(pressure: Pressure, now: Micros) -> tuple[str, list[str]]:
    """A condition that leaves out the runs that need not begin, and what it asks for."""
    shut = pressure.shut(now)
    if not shut:
        return "", []
    places = ", ".join("(?, ?, ?)" for _ in shut)
    condition = f" AND (attempt > 0 OR (night, item, task) NOT IN (VALUES {places}))"
    return condition, [part for key in shut for part in key]


def _due(reader: Reader, now: Micros, limit: int) -> list[RunRow]:
    return reader.rows(
        RunRow,
        "due > 0 AND due <= ? AND (state = 'scheduled' OR (state = 'waiting' AND parked = 1))"
        " AND state IN ('scheduled', 'waiting')",
        (now,),
        order="due",
        limit=2 * limit + 50,
    )


def backlog(reader: Reader, *, at_most: int) -> int:
    """How many runs are queued, counted no further than ``at_most``.

    Raises:
        Nothing.
    """
    rows = list(
        reader.query(
            "SELECT count(*) FROM (SELECT 1 FROM run WHERE state = 'queued' LIMIT ?)", (at_most,)
        )
    )
    return int(rows[0][0])


def next_due(reader: Reader) -> Micros | None:
    """When the next scheduled or parked run is due, or None.

    Raises:
        Nothing.
    """
    rows = list(
        reader.query(
            "SELECT due FROM run WHERE due > 0 AND state IN ('scheduled', 'waiting')"
            " AND (state = 'scheduled' OR parked = 1) ORDER BY due LIMIT 1",
            (),
        )
    )
    return Micros(int(rows[0][0])) if rows else None
