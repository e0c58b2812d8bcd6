"""A process that holds a house and makes one slow call, for a test that stops it meanwhile.

What it is not: a test; test_stopped.py starts it and judges.

Usage: holder.py FOLDER URL.  It ends with 0 when its run has come to rest.
"""

import asyncio
import json
import random
import sys
from pathlib import Path

from tildawn.clock import SystemClock
from tildawn.engine.engine import Engine, Threads
from tildawn.engine.owner import Owner
from tildawn.engine.task import Tasks, task
from tildawn.engine.watchdog import Watchdog, ends_process
from tildawn.guard.call import Door
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.providers.prices import Prices
from tildawn.providers.wire import Wires
from tildawn.runtime.context import Context
from tildawn.runtime.outside.call import Outside, call
from tildawn.runtime.outside.calls import Calls
from tildawn.runtime.outside.world import Models, World
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.units import MILLISECOND, Micros


async def hold(folder: Path, url: str) -> None:
    """Work until the run has come to rest."""
    clock = SystemClock()
    ids = Ids(clock)
    ledger = Ledger.open(
        folder, registry=REGISTRY, projections=PROJECTIONS, clock=clock, ids=ids, build="holder"
    )
    world = World(
        ledger, clock, wires=Wires(clock=clock), prices=Prices.shipped(), connected=None,
        models=Models(), env={}, folder=folder,
    )  # fmt: skip
    calls = Calls(world, Door(ledger, clock, random.Random(0)))

    @call(name="order", repeat="keyed", timeout=Micros(400 * MILLISECOND))
    async def order(out: Outside, item: str) -> str:
        got = await out.http("POST", url, json={"item": item})
        return json.loads(got.text())["made"]

    @task(name="buy")
    async def buy(ctx: Context) -> str:
        return await ctx.call(order, "lamp")

    rested = asyncio.Event()
    dog = Watchdog(clock, warn=lambda _kept: None, fatal=ends_process(folder / "stacks.txt"))
    engine = Engine(
        ledger,
        tasks=Tasks([buy]),
        clock=clock,
        context=lambda asking: Context(asking, lambda *_, **__: None, calls),
        threads=Threads(watchdog=dog),
    )
    engine.on_rest.append(
        lambda _run, kind, _seq: rested.set() if kind in {"RunDone", "RunHeld"} else None
    )
    await engine.start()
    await Owner(engine, ids).enqueue(buy)
    await rested.wait()
    await engine.stop()
    await world.aclose()
    ledger.close()


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(hold(Path(sys.argv[1]), sys.argv[2]), 50))
