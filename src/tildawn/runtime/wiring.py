"""What is joined: the kinds of facts, the projections, and how an engine gets its surroundings.

What it is not: the opening of a house; that is `tildawn.runtime.house`.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tildawn.clock import Clock
from tildawn.engine.engine import Engine, MakeContext, Threads
from tildawn.engine.owner import Owner
from tildawn.engine.port import Word
from tildawn.engine.queue import Limits
from tildawn.engine.task import Tasks
from tildawn.engine.watchdog import Kept, Watchdog, ends_process
from tildawn.errors import BadValue
from tildawn.facts import (
    anchor,
    call,
    erasure,
    house,
    legacy,
    letter,
    mirror,
    night,
    permit,
    picture,
    quarantine,
    reconcile,
    route,
    run,
    segment,
    signing,
    step,
    storage,
    task,
)
from tildawn.facts.fact import FactData, Registry
from tildawn.guard.bypass import task_code
from tildawn.guard.recover import resolution
from tildawn.ids import Ids
from tildawn.ledger.fold import Projection
from tildawn.ledger.ledger import Ledger
from tildawn.projections.anchor import ANCHOR
from tildawn.projections.call import CALL, CallRow
from tildawn.projections.erasure import ERASURE
from tildawn.projections.house import HOUSE
from tildawn.projections.legacy import LEGACY
from tildawn.projections.letter import LETTER
from tildawn.projections.mirror import MIRROR
from tildawn.projections.night import NIGHT
from tildawn.projections.permit import PERMIT
from tildawn.projections.picture import PICTURE
from tildawn.projections.quarantine import QUARANTINE
from tildawn.projections.reconcile import RECONCILE
from tildawn.projections.route import ROUTE
from tildawn.projections.run import RUN, RunRow
from tildawn.projections.segment import SEGMENT
from tildawn.projections.signing import SIGNING
from tildawn.projections.step import STEP
from tildawn.projections.stock import STOCK
from tildawn.projections.storage import STORAGE
from tildawn.projections.story import STORY
from tildawn.projections.task import TASK
from tildawn.projections.traffic import SLO
from tildawn.runtime.setting import EngineSettings


KINDS: tuple[tuple[type[FactData], ...], ...] = (
    house.KINDS,
    signing.KINDS,
    anchor.KINDS,
    task.KINDS,
    run.KINDS,
    step.KINDS,
    call.KINDS,
    route.KINDS,
    permit.KINDS,
    picture.KINDS,
    letter.KINDS,
    mirror.KINDS,
    night.KINDS,
    quarantine.KINDS,
    erasure.KINDS,
    segment.KINDS,
    legacy.KINDS,
    reconcile.KINDS,
    storage.KINDS,
)
"""The kinds of facts, one module after the other."""

REGISTRY = Registry(kind for kinds in KINDS for kind in kinds)
"""Every kind of fact that a house of this version understands."""

PROJECTIONS: tuple[Projection, ...] = (
    SIGNING, ANCHOR,
    MIRROR,
    HOUSE, TASK, RUN, LETTER, STORY, STEP, SLO, ROUTE, CALL, STOCK, PICTURE, NIGHT, QUARANTINE,
    SEGMENT, PERMIT, LEGACY, RECONCILE, ERASURE, STORAGE,
)  # fmt: skip
"""Every table, in the order in which they are folded."""


STACKS = "stacks.txt"
"""File of a house with the stacks of a process that ended itself."""


def engine_of(
    ledger: Ledger,
    *,
    tasks: Tasks,
    clock: Clock,
    settings: EngineSettings,
    context: MakeContext,
    folder: Path,
) -> Engine:
    """An engine that does nothing before it is started.

    Args:
        ledger: open.
        tasks: what can run.
        clock: the machine's.
        settings: how much to do at once.
        context: makes what a task gets.
        folder: the house; the stacks of a process that had to end itself are kept there.

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
        context=context,
        limits=limits,
        threads=Threads(
            activation=task_code,
            pool=ThreadPoolExecutor(settings.threads, thread_name_prefix="tildawn-step"),
            watchdog=Watchdog(clock, warn=blocks, fatal=ends_process(folder / STACKS)),
        ),
    )


def owner_of(engine: Engine, ids: Ids) -> Owner:
    """The owner of an engine's runs, whose word about a call in doubt is the guard's fact.

    Raises:
        Nothing.
    """

    def settle(run: RunRow, choice: str, out: bytes | None) -> Word:
        with engine.ledger.read() as reader:
            call = reader.get(CallRow, run.run, run.call_path)
        if call is None:
            message = f"run {run.run} is held for a call that is not on record"
            raise BadValue(message)
        said = resolution(engine.ledger, call, choice, out=out)
        return Word(said.entries, said.expect)

    return Owner(engine, ids, settle=settle)


def blocks(kept: Kept) -> None:
    """Write into the log that task code keeps the event loop, and where.

    Raises:
        Nothing.
    """
    logging.getLogger("tildawn.engine").warning(
        "task code has kept the event loop for %d ms:\n%s",
        kept.blocked_ms,
        kept.stack,
        extra={"said": {"run": kept.run}},
    )
