"""Checking the histories of runs against the code, in a user's own tests.

What it is not: a run; nothing is done, and nothing is appended.
"""

from pathlib import Path
from random import Random
from typing import Any

from tildawn.clock import SystemClock
from tildawn.engine import check
from tildawn.engine.asking import Asking
from tildawn.engine.check import ReplayReport
from tildawn.engine.task import TaskDef
from tildawn.guard.call import Door
from tildawn.ledger.ledger import Ledger
from tildawn.providers.prices import Prices
from tildawn.providers.wire import Wires
from tildawn.runtime.context import Context
from tildawn.runtime.outside.calls import Calls
from tildawn.runtime.outside.world import Models, World


def replay_check(
    ledger: Ledger,
    run: str,
    task: TaskDef[..., Any],
    *,
    shuffles: int = 20,
    seed: int = 0,
) -> ReplayReport:
    """Replay the history of a run with nothing done: as it was, then in other orders.

    Args:
        ledger: of an open house, ``house.ledger``; for reading is enough.
        run: the name of the run.
        task: the code to check, as ``@task`` declared it.
        shuffles: how many other orders to try, >= 0.
        seed: of their choice; one seed tries the same orders every time.

    Returns:
        ``mismatch``: how the code differs from the record; the run would be held.
        ``warnings``: orders that it is sensitive to; legal, and worth a look.

    Raises:
        UnknownName: no run has that name.
        PayloadErased: a value of the run was erased, so it cannot be replayed any more.
        BadValue: the recorded arguments do not fit the task.
    """
    clock = SystemClock()
    # The calls are described for their digests and never made, so the world is an empty one.
    world = World(
        ledger,
        clock,
        wires=Wires(clock=clock),
        prices=Prices.shipped(),
        connected=None,
        models=Models(),
        env={},
        folder=Path(),
    )
    calls = Calls(world, Door(ledger, clock, Random(seed)))  # noqa: S311  it waits for nothing

    def context(asking: Asking) -> Context:
        return Context(asking, _quiet, calls)

    return check.replay_check(ledger, run, task, context=context, shuffles=shuffles, seed=seed)


def _quiet(_text: str, **_fields: object) -> None:
    """What a task logs on a replay was logged before."""
