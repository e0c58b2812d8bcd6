"""What is joined: the kinds of facts, the projections, and how an engine gets its surroundings.

What it is not: the opening of a house; that is `tildawn.runtime.house`.
"""

from concurrent.futures import ThreadPoolExecutor

from tildawn.clock import Clock
from tildawn.engine.asking import Asking
from tildawn.engine.engine import Engine
from tildawn.engine.queue import Limits
from tildawn.engine.task import Tasks
from tildawn.facts import call, house, night, run, step, task
from tildawn.facts.fact import Registry
from tildawn.ledger.fold import Projection
from tildawn.ledger.ledger import Ledger
from tildawn.projections.call import CALL
from tildawn.projections.house import HOUSE
from tildawn.projections.night import NIGHT
from tildawn.projections.run import RUN
from tildawn.projections.step import STEP
from tildawn.projections.story import STORY
from tildawn.projections.task import TASK
from tildawn.runtime.context import Context
from tildawn.runtime.logbook import write_line
from tildawn.runtime.setting import EngineSettings


REGISTRY = Registry(
    [
        *house.KINDS,
        *task.KINDS,
        *run.KINDS,
        *step.KINDS,
        *call.KINDS,
        *night.KINDS,
    ]
)
"""Every kind of fact that a house of this version understands."""

PROJECTIONS: tuple[Projection, ...] = (HOUSE, TASK, RUN, STORY, STEP, CALL, NIGHT)
"""Every table, in the order in which they are folded."""


def engine_of(ledger: Ledger, *, tasks: Tasks, clock: Clock, settings: EngineSettings) -> Engine:
    """An engine that does nothing before it is started.

    Raises:
        Nothing.
    """
    limits = Limits(
        resident=settings.resident,
        queues=settings.queues,
        backlog=settings.backlog,
        park_after=settings.park_after,
    )
    return Engine(
        ledger,
        tasks=tasks,
        clock=clock,
        context=_context,
        limits=limits,
        pool=ThreadPoolExecutor(settings.threads, thread_name_prefix="tildawn-step"),
    )


def _context(asking: Asking) -> Context:
    return Context(asking, write_line)
