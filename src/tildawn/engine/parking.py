"""Runs that wait: shown as waiting when it lasts, out of memory when it lasts long.

What it is not: waking them; what wakes a run is on record, and the queue finds it there.
"""

from collections.abc import Callable, Mapping

from tildawn.engine.queue import Limits
from tildawn.engine.resident import Resident
from tildawn.engine.timer import Timers
from tildawn.facts.run import RunWaited
from tildawn.ledger.entry import Outcome
from tildawn.ledger.ledger import Ledger
from tildawn.units import SECOND, Micros


SHOW_WAIT_AFTER = SECOND
"""A resident run that waits longer than this is shown as waiting."""

PARK_AT_ONCE = 64
"""Runs that leave memory together when more want in: one group commit."""

_FOR_EVER = Micros(2**62)

Left = Callable[[Resident, Outcome], None]
"""Takes a run whose leaving is on record, or was refused."""


class Parking:
    """Decides which waiting runs leave memory."""

    def __init__(
        self,
        ledger: Ledger,
        timers: Timers,
        *,
        limits: Limits,
        residents: Mapping[str, Resident],
        left: Left,
    ) -> None:
        """Take the runs in memory, and who is told when one has left."""
        self._ledger = ledger
        self._timers = timers
        self._limits = limits
        self._residents = residents
        self._left = left

    def consider(self, resident: Resident) -> None:
        """Every branch waits: show it when it lasts, leave memory when it lasts long."""
        if not resident.driver.open or resident.driver.cancel_seen:
            return  # A cancelled run is cleaning up and is expected to end.
        until, on = resident.waits()
        resident.waiting_until = until or _FOR_EVER
        if until and until - self._timers.now() > self._limits.park_after:
            self.park(resident, until, on)
            return
        seen = resident.driver.arrivals
        self._later(SHOW_WAIT_AFTER, lambda: self._show(resident, seen))

    def make_room(self) -> None:
        """More wants to run than fits: the longest waiting runs leave memory."""
        waiting = [
            (one.waiting_until, one)
            for one in self._residents.values()
            if one.waiting_until is not None and not one.driver.cancel_seen
        ]
        waiting.sort(key=lambda found: found[0], reverse=True)
        for _, resident in waiting[:PARK_AT_ONCE]:
            self.park(resident, *resident.waits())

    def _later(self, wait: Micros, then: Callable[[], None]) -> None:
        self._timers.add(Micros(self._timers.now() + wait), then)

    def _show(self, resident: Resident, seen: int) -> None:
        if not self._still_waits(resident, seen):
            return
        until, on = resident.waits()
        if until and until <= self._timers.now():
            return  # The end of the wait is on its way to the ledger.
        if not any(one.kind == "later" for one in resident.driver.open.values()):
            entry = self._ledger.draft(RunWaited(on=on, until=until), run=resident.row.run)
            self._ledger.submit([entry], expect=[resident.work.fence], done=None)
        self._later(self._limits.park_after, lambda: self._park_if_idle(resident, seen))

    def _park_if_idle(self, resident: Resident, seen: int) -> None:
        if self._still_waits(resident, seen):
            self.park(resident, *resident.waits())

    def _still_waits(self, resident: Resident, seen: int) -> bool:
        return (
            self._residents.get(resident.row.run) is resident
            and resident.driver.arrivals == seen
            and resident.patient
        )

    def park(self, resident: Resident, until: Micros, on: str) -> None:
        """Let a run leave memory, once that is on record."""
        if resident.parking >= 0:
            return
        resident.parking = resident.driver.arrivals
        fact = RunWaited(on=on, until=until, parked=True)
        entry = self._ledger.draft(fact, run=resident.row.run)
        self._ledger.submit(
            [entry],
            expect=[resident.work.fence],
            done=lambda outcome: self._left(resident, outcome),
        )
