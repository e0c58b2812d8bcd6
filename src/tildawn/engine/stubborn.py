"""Runs that were told to stop and go on: after a while the owner decides.

What it is not: cancelling.  The request is a record like any other and is delivered on the
run's own loop; a task may clean up, with steps, for as long as `PATIENCE`.

# HOLE: it is counted on the wall clock, so a clock set forward meanwhile holds the run early; the
# owner may let it go on.
"""

from collections.abc import Callable

from tildawn.engine.outcome import error_text
from tildawn.engine.resident import Resident
from tildawn.engine.timer import Timers
from tildawn.errors import CancelIgnored
from tildawn.units import SECOND, Micros


PATIENCE = Micros(30 * SECOND)
"""How long a run may go on after it was told to stop: enough to clean up, not to carry on."""

Hold = Callable[[Resident, str], None]
"""Holds a run with a detail for the owner, if it is still in memory."""


class Stubborn:
    """Watches runs that were told to stop."""

    def __init__(self, timers: Timers, hold: Hold) -> None:
        """Take who counts the time, and who holds a run."""
        self._timers = timers
        self._hold = hold

    def watch(self, resident: Resident) -> None:
        """Look at a run that was told to stop; later, if it was not for long enough."""
        if not resident.driver.cancel_seen or resident.told_to_stop:
            return
        resident.told_to_stop = True
        self._timers.add(Micros(self._timers.now() + PATIENCE), lambda: self._judge(resident))

    def _judge(self, resident: Resident) -> None:
        said = (
            f"task {resident.task.name} was asked to stop and still goes on"
            f" {PATIENCE // SECOND} s later"
        )
        error = CancelIgnored(
            said, hint="let asyncio.CancelledError through", task=resident.task.name
        )
        self._hold(resident, error_text(error).decode())
