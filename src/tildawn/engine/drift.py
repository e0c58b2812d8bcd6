"""Sleep of the machine and jumps of its clock, noticed between two ticks of the engine.

What it is not: a correction.  Due times are compared with the wall clock as it is now; that it
jumped is on record, so that a report can say why something was early or late.

# HOLE: on macOS steady time stands still while the machine sleeps, so a sleep is a jump there.
"""

from tildawn.clock import Clock
from tildawn.facts.house import ClockJumped, MachineSlept
from tildawn.ledger.ledger import Ledger
from tildawn.units import MILLISECOND, SECOND, Micros


SLEPT_AFTER = Micros(10 * SECOND)
"""A tick that is later than this was kept from running: the machine slept, or the process was
stopped.  Ten times the time between two ticks, so that a slow disk is no sleep."""

JUMPED_BY = Micros(SECOND)
"""Smallest difference of wall and steady time between two ticks that is a jump; time daemons
change the clock by far less than that at a time."""


class Drift:
    """Compares the two clocks at every tick."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        """Begin with the time as it is now."""
        self._ledger = ledger
        self._clock = clock
        self._wall = clock.wall()
        self._mono = clock.mono()

    def tick(self) -> None:
        """Put on record what happened since the last tick, without haste."""
        wall, mono = self._clock.wall(), self._clock.mono()
        passed, moved = mono - self._mono, wall - self._wall
        self._wall, self._mono = wall, mono
        if passed > SLEPT_AFTER:
            self._say(MachineSlept(slept_ms=passed // MILLISECOND))
        jump = moved - passed
        if abs(jump) > JUMPED_BY:
            self._say(ClockJumped(by_ms=jump // MILLISECOND))

    def _say(self, fact: MachineSlept | ClockJumped) -> None:
        self._ledger.submit([self._ledger.draft(fact)], relaxed=True)
