"""When the two sets of books are compared: after a crash, every five minutes, and at night.

What it is not: the comparison; `tildawn.ledger.reconcile` makes it.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from tildawn.clock import Clock
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.reconcile import Compared, Reconciler
from tildawn.projections.house import EpochRow
from tildawn.projections.reconcile import DriftRow, drifts
from tildawn.runtime import wiring
from tildawn.units import SECOND, Micros, Seq
from tildawn.watch.words import Times


EVERY = Micros(300 * SECOND)
FACTS = 16_384
"""The last facts are compared as often as this, in time or in facts."""

NIGHT = 3
"""The hour at which everything is compared, in the zone of the house."""

OPENING_MOST = 32_768
"""Facts of a tail for which a start waits: half a second of one core. Source: measured."""

PAUSE = 0.01
"""Seconds between two slices of about a millisecond: the event loop and the writer come first."""

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Reconciliation:
    """The hours of the books of one house; the work is done in one thread of its own."""

    def __init__(self, ledger: Ledger, folder: Path, *, clock: Clock, zone: str) -> None:
        """Take an open house; nothing is read, and no thread begins, before it is asked.

        Args:
            ledger: of the house.
            folder: of the house.
            clock: the machine's.
            zone: in which it is three at night.
        """
        self._ledger = ledger
        self._clock = clock
        self._zone = zone
        self._books = Reconciler(
            ledger, folder, registry=wiring.REGISTRY, projections=wiring.PROJECTIONS,
            before=self._before, clock=clock,
        )  # fmt: skip
        self._pool: ThreadPoolExecutor | None = None
        self._leaving = threading.Event()
        self._looked = clock.mono()

    async def opening(self) -> Compared | None:
        """After a crash compare what came since the last time, before any work begins.

        Without a shadow, or behind a long tail, nothing is done: the background does it.

        Returns:
            What it came to; None where there was nothing to do.

        Raises:
            TildawnError: the house cannot be read or written.
            OSError: the disk refuses.
        """
        return _told(await self._in_thread(self._open))

    async def turn(self) -> Compared | None:
        """Compare what is due now; None when nothing is.

        Raises:
            TildawnError: the house cannot be read or written.
            OSError: the disk refuses.
        """
        return _told(await self._in_thread(self._turn))

    async def whole(self, plan: str | None = None) -> Compared:
        """Fold every fact afresh and replace what differs, without pauses.

        Raises:
            PlanChanged: what differs has another hash than ``plan``; nothing was replaced.
            TildawnError: the house cannot be read or written.
            OSError: the disk refuses.
        """
        compared = await self._in_thread(lambda: self._books.whole(self._stay, plan=plan))
        _told(compared)
        return compared

    async def plan(self) -> Compared:
        """Say what differs from the facts; nothing is changed.

        Raises:
            TildawnError: the house cannot be read.
        """
        return await asyncio.to_thread(self._books.plan)

    async def leave(self) -> None:
        """Break off what goes on, and close the files; the next look begins anew.

        Raises:
            Nothing.
        """
        self._leaving.set()
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown)
        self._books.close()
        self._leaving.clear()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="tildawn-books")
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _open(self) -> Compared | None:
        point = self._books.point()
        if (
            point is None
            or self._ledger.next_seq - point > OPENING_MOST
            or not self._crashed(point)
        ):
            return None
        return self._books.tail(self._stay)

    def _turn(self) -> Compared | None:
        point = self._books.point()
        if self._is_night() or self._unmended():
            return self._done(self._books.whole(self._pause))
        new = self._ledger.next_seq - (point or Seq(0))
        passed = self._clock.mono() - self._looked
        if new and (passed >= EVERY or (point is not None and new >= FACTS)):
            return self._done(self._books.tail(self._pause))
        return None

    def _done(self, compared: Compared) -> Compared:
        self._looked = self._clock.mono()
        return compared

    def _crashed(self, point: Seq) -> bool:
        with self._ledger.read() as reader:
            return reader.count(EpochRow, "unclean = 1 AND taken >= ?", (point,)) > 0

    def _unmended(self) -> bool:
        with self._ledger.read() as reader:
            return any(row.mended < 0 for row in drifts(reader))

    def _is_night(self) -> bool:
        """Whether it has been three at night since everything was compared."""
        last = self._books.compared_at()
        return last > 0 and night_after(last, self._zone) <= self._clock.wall()

    def _before(self, table: str, digest: str) -> int:
        with self._ledger.read() as reader:
            row = reader.get(DriftRow, table, digest)
        return 0 if row is None else row.times

    def _pause(self) -> bool:
        return not self._leaving.wait(PAUSE)

    def _stay(self) -> bool:
        return not self._leaving.is_set()


def night_after(at: Micros, zone: str) -> Micros:
    """The first three o'clock at night behind an instant.

    Args:
        at: microseconds since 1970.
        zone: an IANA name; UTC when it is unknown.

    Raises:
        Nothing.
    """
    local = Times(zone).local(at)
    night = local.replace(hour=NIGHT, minute=0, second=0, microsecond=0)
    if night <= local:
        night += timedelta(days=1)
    return Micros(int(night.timestamp()) * SECOND)


def _told(compared: Compared | None) -> Compared | None:
    """Write drift into the log; what a running process holds in memory is not made anew."""
    if compared is not None:
        for one in compared.drifts:
            _log.error(
                "table %s was not what the facts make of it, in %d rows, and was made anew: %s."
                " What this process remembers of them goes on until it is started again",
                one.table, one.rows, "; ".join(one.words[:3]),
            )  # fmt: skip
    return compared
