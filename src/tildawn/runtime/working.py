"""Working in a house: the outside, the engine and the loops, for as long as a block lasts.

What it is not: needed by who only looks, or only leaves a wish; it loads everything.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from tildawn.engine.asking import Asking
from tildawn.engine.engine import Engine
from tildawn.guard import bypass
from tildawn.runtime.anchors import Anchors
from tildawn.runtime.context import Context
from tildawn.runtime.expiry import Expiry
from tildawn.runtime.house import House
from tildawn.runtime.logbook import write_line
from tildawn.runtime.loops import LOOPS, Turning, clear_up, turn_for_ever
from tildawn.runtime.places import places_of
from tildawn.runtime.secret import configure
from tildawn.runtime.snapshot import Keeper
from tildawn.runtime.space import Room
from tildawn.runtime.surroundings import Stage, Surroundings, surroundings_of


Prepare = Callable[[Engine], None]
"""Makes the tasks of an application known before the engine starts."""


@asynccontextmanager
async def working(
    house: House,
    *,
    env: Mapping[str, str],
    prepare: Sequence[Prepare] = (),
    stage: Stage | None = None,
) -> AsyncGenerator[Surroundings]:
    """Take up every run and work while the block lasts; then park, in order.

    What is going on at the end returns to the queue.  A crash leaves what any crash leaves; the
    next start finds it.  The house stays open.

    Args:
        house: open to write.
        env: keys, and what ``${NAME}`` stands for; never recorded.
        prepare: called with the engine before it starts.
        stage: in place of the world, for a night that is played.

    Raises:
        BadTask: a module of the settings cannot be imported.
        StaleWriter: another process took the pen.
    """
    configure(house.ledger.secrets, house.settings, env)
    for module in house.settings.house.tasks:
        house.tasks.load(module)
    bypass.install()
    outside = surroundings_of(
        house.ledger, house.settings, clock=house.clock, folder=house.folder.parent, env=env,
        stage=stage,
    )  # fmt: skip

    def context(asking: Asking) -> Context:
        return Context(asking, write_line, outside.calls)

    house.furnish(context)
    for make_ready in prepare:
        make_ready(house.engine)
    house.anchors = anchors = _anchors_of(house, env, stage)
    turning = Turning(
        house.ledger, outside.door, house.clock, prober=outside.prober, stops=house.stops,
        keeper=Keeper(house.folder, house.settings, house.clock),
    )  # fmt: skip
    # A night that is played has one set of books: nobody tampers with it.
    turning.books = house.books if stage is None else None
    if stage is None and turning.keeper is not None:
        turning.expiry = Expiry(house.folder, turning.keeper, house.settings.ledger.keep_payloads)
    turning.kept = house.settings.ledger
    turning.room = Room(house.folder, house.settings.ledger.ballast_mb * 1_000_000)
    turning.anchors = anchors
    try:
        # Children of the last holder are gone before any run that had one begins again.
        if turning.books is not None:
            await turning.books.opening()
        await clear_up(turning)
        house.stops.look()
        await house.engine.start()
        house.working = True
        async with _turning(turning):
            yield outside
    finally:
        if house.working:
            house.working = False
            await house.engine.stop()
        await house.books.leave()
        house.anchors = None
        await anchors.close()
        await outside.close()


@asynccontextmanager
async def _turning(on: Turning) -> AsyncGenerator[None]:
    loops = [
        asyncio.create_task(turn_for_ever(loop, on), name=f"tildawn-{loop.name}")
        for loop in LOOPS
        if loop.turn is not None
    ]
    try:
        yield
    finally:
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


def _anchors_of(house: House, env: Mapping[str, str], stage: Stage | None) -> Anchors:
    """Those of the settings; a night that is played touches nothing outside."""
    if stage is not None:
        return Anchors(house.ledger, (), house.clock)
    said = house.settings.anchor
    places = places_of(said, folder=house.folder, clock=house.clock, env=env)
    return Anchors(house.ledger, places, house.clock)
