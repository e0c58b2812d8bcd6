"""How soon something else is served once the primary is given up, and what a route weighs.

What it is not: a network.  The provider refuses at once; the house, its stock of pictures and the
ladder are real.
"""

import asyncio
import subprocess
import sys
from random import Random

import msgspec

from benchmarks.child import Order
from benchmarks.figures import percentile
from tildawn.clock import SystemClock
from tildawn.engine.engine import Engine
from tildawn.engine.owner import Options
from tildawn.engine.task import task
from tildawn.facts.call import CallServed
from tildawn.projections.attempts import (
    OUTCOMES,
    PROBES,
    SAMPLES,
    Outcome,
    Sample,
    with_outcome,
    with_probe,
    with_sample,
)
from tildawn.projections.route import fresh
from tildawn.providers.sim.model import SimModel
from tildawn.providers.sim.scenario import parse
from tildawn.providers.sim.transport import SimTransport
from tildawn.runtime.context import Context
from tildawn.runtime.house import House
from tildawn.runtime.outside.kind import CallOptions
from tildawn.runtime.setting import SIMULATOR, ProviderSettings, Settings
from tildawn.runtime.surroundings import Stage
from tildawn.runtime.working import working
from tildawn.units import Seq


STOCK = 30
"""Pictures that were drawn while the provider was well."""

TIERS = ("exact", "related", "global", "procedural")


@task(name="picture")
async def picture(ctx: Context, number: int) -> None:
    """Have a picture drawn, or be served another."""
    fields: dict[str, object] = {"prompt": f"a red kettle, number {number}", "size": "512x512"}
    options = CallOptions(repeat="safe", tiers=TIERS, retry=1)
    await ctx.outside("draw", "image", fields, options)


def measure(order: Order) -> dict[str, float]:
    """Milliseconds from the decision to the answer; bytes of a route; milliseconds of imports."""
    took = asyncio.run(_served(order))
    return {
        "p50_ms": percentile(took, 0.5), "p95_ms": percentile(took, 0.95), "max_ms": max(took),
        "state_bytes": float(_state_bytes()), "import_ms": _import_ms("tildawn.guard", order.sizes.starts),
        "import_all_ms": _import_ms("tildawn.guard.call", order.sizes.starts),
        "import_floor_ms": _import_ms("asyncio, msgspec", order.sizes.starts),
    }  # fmt: skip


async def _served(order: Order) -> list[float]:
    clock = SystemClock()
    settings = Settings(provider=ProviderSettings(name=SIMULATOR))
    text = f'[[rule]]\npath = "/v1/images"\nnth = "{STOCK + 1}-"\nfault = {{ kind = "server" }}'
    model = SimModel(scenario=parse(text))
    stage = Stage(SimTransport(model, clock=clock), Random(0))
    with House.open(order.folder / "house", settings, mode="write", clock=clock) as house:
        rested = asyncio.Event()
        async with working(house, env={}, prepare=[_know], stage=stage):
            house.engine.on_rest.append(lambda *_: rested.set())
            for number in range(STOCK + order.sizes.served):
                rested.clear()
                options = Options(simulated=True)
                await house.owner.enqueue(picture, number, options=options)
                await rested.wait()
        with house.ledger.read() as reader:
            facts = [fact.data for _, fact in reader.facts(Seq(-1), -1)]
    took = [float(one.took_ms) for one in facts if isinstance(one, CallServed)]
    if len(took) != order.sizes.served:
        message = f"{len(took)} of {order.sizes.served} were served something else"
        raise RuntimeError(message)
    return took


def _know(engine: Engine) -> None:
    engine.tasks.add(picture)


def _state_bytes() -> int:
    """All columns of a route that has seen as much as is kept, numbers as they are written out."""
    row, now = fresh("openai:gpt-image-2:1024x1024"), SystemClock().wall()
    outcomes = samples = probes = b""
    for number in range(max(OUTCOMES, SAMPLES, PROBES)):
        outcomes = with_outcome(outcomes, Outcome("timeout", now))
        samples = with_sample(samples, Sample(50_000 + number, False, 7))
        probes = with_probe(probes, now, 40_000)
    full = msgspec.structs.replace(
        row, state="probing", cause="timeouts-in-a-row", why="three timeouts in a row, " * 4,
        since=now, due=now, wait_ms=60_000, recovered=now, parked=now, turn=now, turn_tokens=now,
        policy="0" * 16, promoted="0" * 16, last=now, limit_ms=180_000, basis="climbing",
        outcomes=outcomes, samples=samples, probes=probes,
    )  # fmt: skip
    values = [getattr(full, name) for name in full.__struct_fields__]
    return sum(len(one) if isinstance(one, bytes) else len(str(one).encode()) for one in values)


def _import_ms(modules: str, starts: int) -> float:
    """The fastest of a few: these modules alone in a fresh interpreter."""
    code = (
        f"import time; began = time.perf_counter(); import {modules};"
        " print(time.perf_counter() - began)"
    )
    took = [
        float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)
        for _ in range(starts + 1)
    ]
    return min(took[1:]) * 1e3
