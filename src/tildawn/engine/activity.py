"""Which run has the event loop now, so that a thread outside can see it and can stop it.

What it is not: the watchdog; that one looks.  This is the side of the event loop, on the path
of every activation, so it costs a call and a few stores.

Stopping means raising `Overran` in the thread of the loop, from another thread.  It must never
come up after the activation that it is meant for.  Both sides write first and read then: the
watchdog sets ``aim`` and only then compares ``serial``; the loop clears ``serial`` and only then
looks at ``aim``.  So either the watchdog sees that the activation is over, or the loop sees that
it is aimed at, waits until the shot is fired or called off, and takes back one that has not come
up yet.  A lock would not do here: what may raise at any call may raise while holding it.
"""

from collections.abc import Callable


FIRED = -1
"""Value of ``aim`` once a shot was fired."""


class Overran(BaseException):
    """Raised in task code that keeps the event loop to itself; it ends the run."""


Shoot = Callable[[int, type[BaseException] | None], None]
"""Makes an exception come up in the thread of that ident, or takes one back (None)."""


class Activity:
    """What the loop is doing, written by its thread and read by another one."""

    __slots__ = ("_count", "_shoot", "aim", "ident", "run", "serial")

    def __init__(self) -> None:
        """Nothing is going on."""
        #: Number of the activation that is going on, 0 between two.
        self.serial = 0
        #: The run whose code is or was the last to be active.
        self.run = ""
        #: The activation that the watchdog aims at, `FIRED`, or 0.
        self.aim = 0
        #: The thread of the loop, once a watchdog looks.
        self.ident = 0
        self._count = 0
        self._shoot: Shoot | None = None

    def watched(self, ident: int, shoot: Shoot) -> None:
        """Say that somebody looks, and how a shot is fired and taken back."""
        self.ident = ident
        self._shoot = shoot

    def during(self, run: str, body: Callable[[int], None], limit: int) -> bool:
        """Do ``body(limit)`` as one activation of a run.

        Returns:
            Whether it was stopped because it took too long.
        """
        overran = False
        self.run = run
        self._count += 1
        try:
            try:
                self.serial = self._count
                body(limit)
            finally:
                # A plain store: nothing can come up between the end of the body and this.
                self.serial = 0
        except Overran:
            overran = True
        finally:
            while self.aim:
                try:
                    overran = self._settle() or overran
                except Overran:
                    overran = True
        return overran

    def _settle(self) -> bool:
        """Wait for the watchdog to make up its mind; whether it fired."""
        while self.aim not in {0, FIRED}:
            pass  # It is between two statements.
        if self._shoot is None or self.aim == 0:
            return False
        # Task code may have caught it, or it is still to come: it ended the activation anyway.
        self._shoot(self.ident, None)
        self.aim = 0
        return True

    def stop(self, serial: int) -> bool:
        """Stop an activation, from another thread.

        Returns:
            False when it is over already.
        """
        if self._shoot is None or self.aim:
            return False
        self.aim = serial
        if self.serial != serial:
            self.aim = 0
            return False
        self._shoot(self.ident, Overran)
        self.aim = FIRED
        return True
