"""A real process dies between dispatch and settlement; the next one opens the house.

What it is not: the crash grid of the engine; this is one death with a call of each sort under way.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tildawn.guard.request import Absent, Ended, Found, Hold, Unclear
from tildawn.ledger.verdict import State


SORTS = {
    "safe": ("safe", None),
    "keyed": ("keyed", None),
    "never": ("never", None),
    "found": ("never", Found(value=b'{"id":1}')),
    "absent": ("never", Absent()),
    "unclear": ("never", Unclear("two alike")),
}

# The child has the same fixtures; it prints once every call is under way, and then waits to die.
CHILD = """
import asyncio, importlib.util, sys
from pathlib import Path
from random import Random
from tildawn.clock import SystemClock
from tildawn.guard.call import Door

spec = importlib.util.spec_from_file_location("guard_conftest", sys.argv[1])
kit = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = kit
spec.loader.exec_module(kit)

class World(kit.World):
    async def perform(self, attempt):
        self.keys.append(attempt.key)
        if len(self.keys) == len(sys.argv[3:]):
            print("under way", *self.keys, flush=True)
        await asyncio.Event().wait()

async def main():
    house = kit.House(Path(sys.argv[2]), SystemClock())
    house.begin()
    house.limit("night", 60)
    door, world = Door(house.ledger, house.clock, Random(0)), World()
    calls = [
        door.call(house.request(world, path=name, repeat=repeat, budgets=("night",), reserve=10), None)
        for name, _, repeat in (pair.partition("=") for pair in sys.argv[3:])
    ]
    await asyncio.gather(*calls)

asyncio.run(main())
"""


@pytest.fixture
def dead(tmp_path: Path) -> list[str]:
    """The keys of what was under way when a process was killed; its house is in ``house``."""
    pairs = [f"{name}={repeat}" for name, (repeat, _) in SORTS.items()]
    kit = str(Path(__file__).with_name("conftest.py"))
    command = [sys.executable, "-c", CHILD, kit, str(tmp_path / "house"), *pairs]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = child.stdout.readline().split()
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert ["under", "way"] == said[:2]
    return said[2:]


def test_a_killed_process_leaves_nothing_that_cannot_be_settled(
    dead, play, tmp_path, house_at
) -> None:
    """Kill -9 at the worst moment: each call goes on as it may, and the money is accounted for."""
    house = house_at(tmp_path / "house")
    house.run_attempt = 1
    house.begin()
    assert (60, 0) == (house.budget("night").reserved, house.budget("night").spent)
    house.limit("night", 100)
    verdicts = {}

    async def scene(s) -> None:
        for name, (repeat, found) in SORTS.items():

            async def lookup(_attempt, found=found):
                return found

            call = s.call(
                path=name, repeat=repeat, lookup=lookup if found else None, budgets=("night",),
                reserve=10,
            )  # fmt: skip
            verdicts[name] = type(await s.drive(call))

    stage = play(scene, house)
    assert {
        "safe": Ended, "keyed": Ended, "never": Hold, "found": Ended, "absent": Ended,
        "unclear": Hold,
    } == verdicts  # fmt: skip
    # Sent again: safe, keyed and what a lookup found absent; each under the key it had.
    assert {dead[0], dead[1], dead[4]} == set(stage.world.keys)
    assert 3 == len(stage.world.keys)
    assert 6 == house.kinds().count("CallDoubted")
    # Six attempts were lost, one of them did not happen, and three more had an answer without a
    # bill.
    night = house.budget("night")
    assert (50, 30, 30, 0) == (night.held, night.spent, night.assumed, night.reserved)

    assert State.PROVEN == house.verdict().state, house.verdict()
