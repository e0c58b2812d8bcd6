"""When a snapshot is due, and which ones stay.

What it is not: the taking or the dropping.  Everything here is pure.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo

from tildawn.units import SECOND, Micros


NIGHTLY = (3, 30)
"""Hour and minute, in the zone of the house, after which the snapshot of a night is due."""

YOUNG = Micros(24 * 3_600 * SECOND)
"""Younger ones stay in any case: whoever has just asked for one will still look for it."""


def due(now: Micros, last: Micros, zone: tzinfo) -> bool:
    """Whether the latest 03:30 has passed since the last snapshot.

    Args:
        now: an instant.
        last: when the newest snapshot was taken, or the house founded.
        zone: of the house.

    Raises:
        Nothing.
    """
    local = datetime.fromtimestamp(now // SECOND, UTC).astimezone(zone)
    hour, minute = NIGHTLY
    nightly = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if nightly > local:
        nightly -= timedelta(days=1)
    return last < int(nightly.timestamp()) * SECOND


def retained(
    taken: Iterable[Micros], now: Micros, zone: tzinfo, *, daily: int, weekly: int
) -> frozenset[Micros]:
    """Which snapshots stay: the newest of each of the last days and weeks that have one.

    Args:
        taken: when each was taken.
        now: an instant.
        zone: says where days and weeks (from Monday on) begin.
        daily: for how many days, >= 1.
        weekly: for how many weeks, >= 0.

    Returns:
        Those that stay; the newest is always among them.

    Raises:
        Nothing.
    """
    newest_first = sorted(set(taken), reverse=True)
    days: dict[tuple[int, ...], Micros] = {}
    weeks: dict[tuple[int, ...], Micros] = {}
    for at in newest_first:
        local = datetime.fromtimestamp(at // SECOND, UTC).astimezone(zone)
        days.setdefault((local.year, local.month, local.day), at)
        weeks.setdefault(tuple(local.isocalendar()[:2]), at)
    stay = {at for at in newest_first if at > now - YOUNG}
    stay.update(newest_first[:1], [*days.values()][:daily], [*weeks.values()][:weekly])
    return frozenset(stay)
