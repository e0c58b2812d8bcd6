"""A run in memory: its row, its task, and both sides of its attempt.

What it is not: the truth about the run; that is in the ledger.
"""

from tildawn.engine.driver import WAITING, Driver
from tildawn.engine.task import TaskDef
from tildawn.engine.work import Work
from tildawn.projections.run import RunRow
from tildawn.units import Micros


class Resident:
    """A run in memory."""

    __slots__ = ("driver", "parking", "row", "task", "told_to_stop", "waiting_until", "work")

    def __init__(self, row: RunRow, task: TaskDef[..., object], work: Work, driver: Driver) -> None:
        """Join the parts of one attempt."""
        self.row = row
        self.task = task
        self.work = work
        self.driver = driver
        #: How many records had arrived when it began to leave memory, -1 while it stays.
        self.parking = -1
        self.waiting_until: Micros | None = None
        self.told_to_stop = False

    @property
    def patient(self) -> bool:
        """Whether every branch waits for something that needs nothing of this process."""
        return all(one.kind in WAITING for one in self.driver.open.values())

    def waits(self) -> tuple[Micros, str]:
        """Until when (0 for as long as it takes) and for what its branches wait."""
        commands = list(self.driver.open.values())
        dues = [command.due for command in commands if command.due]
        on = ", ".join(sorted({f"{one.kind} {one.name}".strip() for one in commands}))
        return Micros(min(dues, default=0)), on[:200]
