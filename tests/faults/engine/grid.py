"""Kills a worker at every commit and around every request, and prints what is true afterwards.

What it is not: a test; test_grid.py starts it and judges.  It forks, so it must have one thread
and be a process of its own.

Usage: grid.py FOLDER FIRST COUNT.  For each of the houses FIRST to FIRST + COUNT - 1, the seed
of its kills, it prints one line of JSON.  The folder of a house that broke is kept.
"""

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any
from unittest.mock import patch

from shop import Shop

from tildawn.clock import SystemClock
from tildawn.engine.engine import Engine
from tildawn.engine.owner import Options, Owner
from tildawn.engine.task import Retry, Tasks, task
from tildawn.facts.fact import Fact
from tildawn.facts.run import RunHeld, RunInterrupted
from tildawn.guard.call import Door
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.sqlite.store import Store
from tildawn.ledger.verify import verify
from tildawn.projections.call import CallRow
from tildawn.projections.run import RunRow
from tildawn.providers.prices import Prices
from tildawn.providers.wire import Wires
from tildawn.runtime.context import Context
from tildawn.runtime.outside.call import Outside, call
from tildawn.runtime.outside.calls import Calls
from tildawn.runtime.outside.world import Models, World
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY, owner_of
from tildawn.testing.bugs import planted
from tildawn.units import Micros, Seq


LIVES_MAX = 12
RUNS = 4


def tasks(folder: Path, shop: str, order: dict[str, Any]) -> Tasks:
    """Task shapes: steps in sequence, branches with calls, a child, a timer."""

    async def post(out: Outside, path: str, item: str) -> str:
        body = {"item": item, "pid": os.getpid(), "order": order}
        got = await out.http("POST", f"{shop}/{path}", json=body)
        return json.loads(got.text())["made"]

    async def look(out: Outside, path: str, item: str) -> str | None:
        got = await out.http("GET", f"{shop}/find?{item}")
        found = json.loads(got.text())
        return found["made"] if found else None

    keyed = call(name="keyed", repeat="keyed")(post)
    never = call(name="never", repeat="never")(post)
    looked = call(name="looked", repeat="never", lookup=look)(post)

    async def work(place: str) -> str:
        with (folder / "steps").open("a") as out:
            out.write(f"{place}\n")
        return f"did {place}"

    @task(name="line", retry=RETRY)
    async def line(ctx: Context, n: int) -> list[str]:
        found = [await ctx.step(work, f"line{n}.{k}") for k in range(4)]
        found.append(await ctx.call(keyed, "keyed", f"k{n}"))
        return [*found, await ctx.step(work, f"line{n}.end")]

    @task(name="fan", retry=RETRY)
    async def fan(ctx: Context, n: int) -> list[str]:
        return await ctx.gather(
            ctx.call(never, "never", f"n{n}"),
            ctx.call(looked, "looked", f"l{n}"),
            ctx.step(work, f"fan{n}.a"),
            ctx.child(line, 100 + n),
        )

    @task(name="pause", retry=RETRY)
    async def pause(ctx: Context, n: int) -> list[str]:
        first = await ctx.step(work, f"pause{n}.a")
        await ctx.sleep(0.03)
        _, second = await ctx.race(ctx.sleep(30), ctx.step(work, f"pause{n}.b"))
        return [first, second, await ctx.call(keyed, "keyed", f"p{n}")]

    return Tasks([line, fan, pause])


RETRY = Retry(attempts=5, first=Micros(20_000))


@contextlib.contextmanager
def dies_at_commit(number: int, *, after: bool) -> Any:
    """Kill this process before or after its n-th commit, and before anybody hears of it."""
    count = 0

    def commit(self: Any, *args: Any, **kwargs: Any) -> None:
        nonlocal count
        count += 1
        if count == number and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        original(self, *args, **kwargs)
        if count == number and after:
            os.kill(os.getpid(), signal.SIGKILL)

    original = Store.commit
    with patch.object(Store, "commit", commit):
        yield


async def live(folder: Path, shop: str, order: dict[str, Any]) -> None:
    """Work until every run is done, answering as an owner who looks at the shop would."""
    clock = SystemClock()
    ids = Ids(clock)
    ledger = Ledger.open(
        folder / "house",
        registry=REGISTRY,
        projections=PROJECTIONS,
        clock=clock,
        ids=ids,
        build="grid",
    )
    world = World(
        ledger,
        clock,
        wires=Wires(clock=clock),
        prices=Prices.shipped(),
        connected=None,
        models=Models(),
        env={},
        folder=folder,
    )
    calls = Calls(world, Door(ledger, clock, random.Random(0)))
    engine = Engine(
        ledger,
        tasks=tasks(folder, shop, order),
        clock=clock,
        context=lambda asking: Context(asking, lambda *_, **__: None, calls),
    )
    owner = owner_of(engine, ids)
    await engine.start()
    names = [
        (await owner.enqueue(engine.tasks.named(name), n, options=Options(key=f"{name}{n}"))).run
        for n in range(RUNS)
        for name in ("line", "fan", "pause")
    ]
    with (folder / "accepted").open("w") as out:
        out.write("\n".join(names))
    while not await settled(ledger, owner, folder):  # noqa: ASYNC110  the disk sets no event
        await asyncio.sleep(0.004)
    await engine.stop()
    await world.aclose()
    ledger.close()


async def settled(ledger: Ledger, owner: Owner, folder: Path) -> bool:
    """Whether nothing is left to do; answers what is held."""
    with ledger.read() as reader:
        held = reader.rows(RunRow, "state = 'held'", ())
        going = reader.count(RunRow, "state NOT IN ('done', 'held')", ())
    for row in held:
        if row.why == "quarantined":
            # Kills at random may hit one run alone three times, which looks like poison.
            await owner.answer(row.run, "retry", None)
            continue
        if "applied" not in row.choices.split("\n"):
            message = f"held without a question about a call: {row.why}"
            raise AssertionError(message)
        with ledger.read() as reader:
            asked = reader.get(CallRow, row.run, row.call_path)
            text = json.loads(reader.payload(Seq(row.args_at), 0))
        assert asked is not None
        item = f"{asked.name[0]}{text['n']}"
        happened = any(one["item"] == item and one["applied"] for one in effects(folder))
        value = json.dumps(item).encode() if happened else None
        await owner.answer(row.run, "applied" if happened else "not-applied", value)
    return not held and not going


def effects(folder: Path) -> list[dict[str, Any]]:
    """What the shop saw."""
    log = folder / "shop"
    return [json.loads(one) for one in log.read_text().splitlines()] if log.exists() else []


def one_life(folder: Path, shop: str, plan: dict[str, Any]) -> bool:
    """Fork a worker with an order to die; whether it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with planted(), contextlib.ExitStack() as stack:
                if plan["kind"] == "commit":
                    stack.enter_context(dies_at_commit(plan["n"], after=plan["after"]))
                order = plan if plan["kind"] == "request" else {}
                asyncio.run(asyncio.wait_for(live(folder, shop, order), 60))
            code = 0
        except BaseException as error:
            (folder / "error").write_text(repr(error))
            raise
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        message = f"a life ended by itself: {(folder / 'error').read_text()}"
        raise RuntimeError(message)
    return os.WIFSIGNALED(status)


def plan_of(rng: random.Random, done: int) -> dict[str, Any]:
    """Where the next life ends."""
    if rng.random() < 0.6:
        return {"kind": "commit", "n": rng.randint(1, 40), "after": rng.random() < 0.5}
    when = rng.choice(["before", "applied", "answered"])
    return {"kind": "request", "request": done + rng.randint(1, 8), "when": when}


def house(folder: Path, seed: int) -> dict[str, Any]:
    """Run one house through its kills to its end; what was found."""
    rng = random.Random(seed)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shop = Shop(folder / "shop")
    server = os.fork()
    if server == 0:
        shop.serve()
    kills, slowest = 0, 0.0
    try:
        for _ in range(rng.randint(1, 4)):
            plan = plan_of(rng, len(effects(folder)))
            kills += one_life(folder, f"http://127.0.0.1:{shop.port}", plan)
        began = time.perf_counter()
        one_life(folder, f"http://127.0.0.1:{shop.port}", {"kind": "none"})
        slowest = time.perf_counter() - began
    finally:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
        shop.listener.close()
    return {"seed": seed, "kills": kills, "recovery_s": round(slowest, 3), **found(folder)}


def found(folder: Path) -> dict[str, Any]:
    """What the ledger, the steps and the shop say afterwards."""
    verdict = verify(folder / "house", registry=REGISTRY, projections=PROJECTIONS)
    clock = SystemClock()
    with (
        Ledger.open(
            folder / "house",
            registry=REGISTRY,
            projections=PROJECTIONS,
            clock=clock,
            ids=Ids(clock),
            build="grid",
            mode="read",
        ) as ledger,
        ledger.read() as reader,
    ):
        rows = reader.rows(RunRow, "", ())
        dispatched = reader.query("SELECT name, attempt FROM call WHERE name = 'never'", ())
        facts = [fact.data for _, fact in reader.facts(Seq(-1), 100_000) if isinstance(fact, Fact)]
    accepted = (folder / "accepted").read_text().split()
    return {
        "verdict": str(verdict.state),
        "states": sorted({row.state for row in rows}),
        "runs": len(rows),
        "missing": len(set(accepted) - {row.run for row in rows}),
        "steps": (folder / "steps").read_text().split(),
        "effects": effects(folder),
        "never": [list(one) for one in dispatched],
        "interrupted": sum(isinstance(one, RunInterrupted) for one in facts),
        "held": [one.why for one in facts if isinstance(one, RunHeld)],
    }


def told(base: Path, seed: int) -> dict[str, Any]:
    """One house; one that broke is told with its trace, and the next one is begun."""
    try:
        return house(base / "one", seed)
    except Exception:  # noqa: BLE001  the outermost frame of a house
        (base / "one").rename(base / f"broken-{seed}")
        return {"seed": seed, "error": traceback.format_exc()[-2_000:]}


if __name__ == "__main__":
    base, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    for seed in range(first, first + count):
        print(json.dumps(told(base, seed)), flush=True)  # noqa: T201  the parent reads it
