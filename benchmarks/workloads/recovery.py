"""Start after a crash in a long house: how long until an interrupted run does its next step.

What it is not: the end of the recovery; all runs go on after that.

Two houses have as many facts and as many interrupted runs: in ``interrupted`` most facts are of
runs that are done, in ``heavy`` they are the long histories of the interrupted runs themselves.
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
        HANGING.one_more.set()
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


@task(name="plodding")
async def plodding(ctx: Context, steps: int) -> None:
    """Many steps, then one that hangs."""
    for number in range(steps):
        await ctx.step(noop, number)
    await ctx.step(hang, steps)


def measure(order: Order) -> dict[str, float]:
    """Seconds from the start of the process."""
    return _life(order, "interrupted", "") | _life(order, "heavy", "heavy_")


def _life(order: Order, house: str, prefix: str) -> dict[str, float]:
    shutil.copytree(order.houses / house, order.folder / house)
    began = time.perf_counter()
    done = subprocess.run(
        order.command(house), check=True, capture_output=True, text=True,
        env=os.environ | {RESUME: "1"},
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    # One steady clock for all processes of this machine.
    times = {f"{prefix}{name}_s": found.pop(name) - began for name in ("opened", "first_step")}
    if all_done := found.pop("all", 0.0):
        times[f"{prefix}all_s"] = all_done - began
    return times | {f"{prefix}{name}": value for name, value in found.items()}


def interrupted(order: Order) -> dict[str, float]:
    """The second life of the house with short histories, to the end of all its runs."""
    return asyncio.run(_resume(order, "interrupted", everything=True))


def heavy(order: Order) -> dict[str, float]:
    """The second life of the house with long histories, to the first step that is new."""
    return asyncio.run(_resume(order, "heavy", everything=False))


async def _resume(order: Order, name: str, *, everything: bool) -> dict[str, float]:
    house = House(order.folder / name)
    for one in (stuck, plodding):
        house.tasks.add(one)
    found = {"opened": time.perf_counter(), "facts": house.ledger.next_seq}
    await house.engine.start()
    await HANGING.one_more.wait()
    found["first_step"] = HANGING.resumed
    if everything:
        await house.rest(order.sizes.interrupted)
        found["all"] = time.perf_counter()
    return found
