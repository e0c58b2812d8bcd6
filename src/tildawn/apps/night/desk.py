"""What the conductor of a night works with, and how it shuts and opens the queues of nights.

What it is not: state.  Gates hold for this process; what they follow from stands in the ledger.
"""

from typing import Any

from tildawn.apps.night.copies import Copies
from tildawn.apps.night.execution import item_task
from tildawn.apps.night.judging import check_tasks
from tildawn.apps.night.names import ITEM, PREFIX
from tildawn.clock import Clock
from tildawn.engine.engine import Engine
from tildawn.engine.owner import Owner
from tildawn.engine.task import TaskDef
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger


class Desk:
    """The house as a conductor sees it."""

    def __init__(self, engine: Engine, ids: Ids) -> None:
        """Take an engine that `prepare` has seen, and the maker of names."""
        self.engine = engine
        self.ids = ids
        self.ledger: Ledger = engine.ledger
        self.clock: Clock = engine.clock
        self.owner = Owner(engine, ids)
        self.copies = Copies(engine.ledger)

    def task(self, name: str) -> TaskDef[..., Any]:
        """A task that is known to the engine.

        Raises:
            UnknownName: it is not.
        """
        return self.engine.tasks.named(name)

    def gate(self, queue: str, at_most: int) -> None:
        """Let at most so many runs of a queue go on from now on; 0 shuts it."""
        self.engine.limits.gates[queue] = at_most
        self.engine.wake()


def prepare(engine: Engine) -> None:
    """Make nights possible; called before the engine starts, in every process that works.

    Makes the tasks of nights known, and shuts the queues of all nights, so that a run of a
    night starts only when somebody conducts that night.

    Args:
        engine: not started yet.

    Raises:
        BadTask: another task has the name of one of ours.
    """
    if engine.tasks.get(ITEM) is None:
        copies = Copies(engine.ledger)
        for declared in (item_task(copies), *check_tasks(copies, engine.ledger)):
            engine.tasks.add(declared)
    with engine.ledger.read() as reader:
        names = reader.query(
            "SELECT DISTINCT queue FROM run WHERE night <> ''"
            " AND state NOT IN ('done', 'failed', 'cancelled')"
        )
    for (name,) in names:
        if str(name).startswith(PREFIX):
            engine.limits.gates[str(name)] = 0
