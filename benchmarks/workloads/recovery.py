"""Start after a crash in a long house: how long until an interrupted run does its next step.

What it is not: the end of the recovery; all runs go on after that.
"""

import asyncio
import json
import os
import shutil
import subprocess
import time

from benchmarks.child import Order
from benchmarks.contenders.ours import House, noop
from tildawn.engine.task import task
from tildawn.runtime.context import Context


RESUME = "BENCHMARK_RESUME"
"""Where set, the step that hung in the first life works in the second."""

STEPS_BEFORE = 5


class _Hanging:
    """How many runs are in the step in which the crash finds them."""

    def __init__(self) -> None:
        self.count = 0
        self.resumed = 0.0
        self.one_more = asyncio.Event()


HANGING = _Hanging()


async def hang(number: int) -> int:
    """The step in which the crash finds each run."""
    if os.environ.get(RESUME):
        HANGING.resumed = HANGING.resumed or time.perf_counter()
    else:
        HANGING.count += 1
        HANGING.one_more.set()
        await asyncio.Event().wait()
    return number


@task(name="stuck")
async def stuck(ctx: Context) -> None:
    """A few steps, then one that hangs."""
    for number in range(STEPS_BEFORE):
        await ctx.step(noop, number)
    await ctx.step(hang, STEPS_BEFORE)


def measure(order: Order) -> dict[str, float]:
    """Seconds from the start of the process, and from its first line."""
    folder = order.folder / "interrupted"
    shutil.copytree(order.houses / "interrupted", folder)
    began = time.perf_counter()
    done = subprocess.run(
        order.command("resume"), check=True, capture_output=True, text=True,
        env=os.environ | {RESUME: "1"},
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    # One steady clock for all processes of this machine.
    return {
        "first_step_s": found["first"] - began, "open_s": found["opened"] - began,
        "all_s": found["all"] - began, "facts": found["facts"], "runs": found["runs"],
    }  # fmt: skip


def resume(order: Order) -> dict[str, float]:
    """The second life."""
    return asyncio.run(_resume(order))


async def _resume(order: Order) -> dict[str, float]:
    house = House(order.folder / "interrupted")
    house.tasks.add(stuck)
    opened, facts = time.perf_counter(), house.ledger.next_seq
    await house.engine.start()
    await house.rest(order.sizes.interrupted)
    ended = time.perf_counter()
    with house.ledger.read() as reader:
        [(runs,)] = reader.query("SELECT count(*) FROM run WHERE task = 'stuck' AND state = 'done'")
    return {
        "opened": opened, "first": HANGING.resumed, "all": ended, "facts": facts, "runs": runs,
    }  # fmt: skip
