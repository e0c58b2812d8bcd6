"""Snapshots of an open house: one is taken and put on record, old ones go.

What it is not: the copy itself; `tildawn.ledger.snapshot` makes it and proves it.
"""

import shutil
from collections.abc import Iterable
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from tildawn.clock import Clock
from tildawn.facts.house import SnapshotDropped
from tildawn.ledger.layout import Layout
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.restore import LEFT
from tildawn.ledger.retention import due, retained
from tildawn.ledger.snapshot import (
    Snapshot,
    asides,
    drop,
    newest_snapshot,
    snapshot_taken,
    snapshots,
    strays,
    take,
)
from tildawn.projections.house import HouseRow
from tildawn.runtime.setting import LedgerSettings, Settings
from tildawn.runtime.version import BUILD
from tildawn.units import Micros


OWN_FACTS = 8
"""What a snapshot and a start leave by themselves; a house that has grown by less has not."""


class Keeper:
    """Takes the snapshots of one open house, and drops those whose time is over."""

    def __init__(self, folder: Path, settings: Settings, clock: Clock) -> None:
        """Take where the house is, how many snapshots stay, and what its days are."""
        self._layout = Layout(folder)
        self._kept: LedgerSettings = settings.ledger
        self._zone = _zone(settings.house.zone)
        self._clock = clock

    def take(self, ledger: Ledger, why: str, *, reason: str = "") -> Snapshot:
        """Take a snapshot and put it on record; blocks.

        A crash in between leaves a whole snapshot that no fact names; it counts all the same.

        Args:
            ledger: open to write.
            why: night, asked or erasure.
            reason: in the owner's words.

        Returns:
            The snapshot, verified.

        Raises:
            TildawnError: as `tildawn.ledger.snapshot.take` does, or the ledger refuses.
        """
        # The copy holds a checkpoint of all that it holds, and the record of it is signed as well.
        _seal(ledger)
        made = take(self._layout, clock=self._clock, build=BUILD, why=why)
        said = ledger.payload(msgspec.json.encode(reason)) if reason else None
        fact = snapshot_taken(made, reason=said.digest if said else "")
        ledger.append_now([ledger.draft(fact, payloads=(said,))])
        _seal(ledger)
        return made

    def drop(self, ledger: Ledger, chosen: Iterable[Snapshot], why: str) -> tuple[str, ...]:
        """Remove snapshots and put it on record; their names.

        The fact comes first: a crash in between leaves a snapshot that was to go, and the next
        turn finds it.

        Raises:
            OSError: the disk refuses.
            TildawnError: the ledger refuses.
        """
        listed = tuple(chosen)
        if listed:
            facts = [SnapshotDropped(name=one.name, why=why) for one in listed]
            ledger.append_now([ledger.draft(fact) for fact in facts])
        for one in listed:
            drop(one)
        return tuple(one.name for one in listed)

    def prune(self, ledger: Ledger) -> tuple[str, ...]:
        """Drop the snapshots whose time is over; their names.

        Raises:
            OSError: the disk refuses.
            TildawnError: the ledger refuses.
        """
        there = snapshots(self._layout)
        stay = retained(
            (one.manifest.taken_at for one in there), self._clock.wall(), self._zone,
            daily=self._kept.snapshots_daily, weekly=self._kept.snapshots_weekly,
        )  # fmt: skip
        return self.drop(ledger, (one for one in there if one.manifest.taken_at not in stay), "age")

    def drop_others(self, ledger: Ledger, why: str) -> tuple[str, ...]:
        """Remove what may hold old content and is no snapshot; its names.

        That is what restores have put aside, here and in the mirror, and folders among the
        snapshots that count for nothing.  The fact comes first, as in `drop`.

        Raises:
            OSError: the disk refuses.
            TildawnError: the ledger refuses.
        """
        mirror = ledger.mirror.wish.folder if ledger.mirror is not None else None
        left = sorted(mirror.glob(f"{LEFT}*")) if mirror is not None else []
        rest = [*strays(self._layout), *asides(self._layout), *left]
        names = tuple(f"{path.parent.name}/{path.name}" for path in rest)
        if rest:
            facts = [SnapshotDropped(name=name, why=why) for name in names]
            ledger.append_now([ledger.draft(fact) for fact in facts])
        for path in rest:
            shutil.rmtree(path)
        return names

    def turn(self, ledger: Ledger) -> bool:
        """What a night asks for: a snapshot where one is due, and an end of old ones; blocks.

        Returns:
            Whether one was taken.

        Raises:
            OSError: the disk refuses.
            TildawnError: no snapshot could be taken; the next turn tries again.
        """
        newest = newest_snapshot(self._layout)
        with ledger.read() as reader:
            row, size = reader.get(HouseRow, 0), reader.head().size
        last = newest.manifest.taken_at if newest else Micros(row.founded_at if row else 0)
        grown = newest is None or size > newest.manifest.size + OWN_FACTS
        wanted = grown and due(self._clock.wall(), last, self._zone)
        if wanted:
            self.take(ledger, "night")
        self.prune(ledger)
        return wanted


def _seal(ledger: Ledger) -> None:
    if ledger.notary is not None:
        ledger.checkpoint()


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC  # what shows times says that the zone is unknown
