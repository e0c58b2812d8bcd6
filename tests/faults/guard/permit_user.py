"""Uses one permit through the door with many callers at once, until it is killed.

What it is not: a test; test_permit_kill.py starts it, kills it and judges what it left.

Usage: permit_user.py CONFTEST HOUSE SEED.  It prints one line whenever an attempt has left for
the provider, and ends when every caller was refused.
"""

import asyncio
import importlib.util
import os
import sys
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec

from tildawn.clock import SystemClock
from tildawn.guard.authority import Authority
from tildawn.guard.call import Door
from tildawn.guard.mint import Place, checked, minted
from tildawn.guard.permit import Grant
from tildawn.guard.policy import PRESETS
from tildawn.guard.request import Answer
from tildawn.guard.retry import RetryPolicy, Rule
from tildawn.ledger.entry import Committed
from tildawn.projections.permit import PermitRow
from tildawn.units import MILLISECOND, SECOND, Micros, MicroUsd


CALLERS = 200
CALLS, COST = 900, 12_000
"""What the first permit allows; its two children have most of that each."""
CHILDREN = {"left": 600, "right": 600}

POLICY = msgspec.structs.replace(PRESETS["http"], mode="off")
RETRY = RetryPolicy(
    rules={"server": Rule(2, Micros(5 * MILLISECOND))}, budget_least=1_000_000,
    budget_ppm=1_000_000,
)  # fmt: skip


def say(line: str) -> None:
    """Tell whoever counts."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Provider:
    """Its book of what it was asked outlives us."""

    def __init__(self, book: Path, rng: Random) -> None:
        self.rng = rng
        self.book = os.open(book, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def perform(self, attempt: Any) -> Answer:
        os.write(self.book, f"{attempt.key} {attempt.number}\n".encode())
        say("sent")
        await asyncio.sleep(self.rng.random() * 0.005)
        if self.rng.random() < 0.1:
            raise kit.Fault(kind="server", status=500)
        return Answer(value=b"1", spend=MicroUsd(self.rng.randint(0, 20)), spend_source="reported")


async def caller(number: int, seed: int, door: Door, provider: Provider) -> None:
    """Call under one of the children until it says no."""
    rng = Random(seed * CALLERS + number)
    for turn in range(1_000_000):
        heard: list[str] = []
        request = house.request(
            SimpleNamespace(perform=provider.perform), path=f"{seed}.{number}.{turn}",
            permit=rng.choice(list(CHILDREN)), reserve=MicroUsd(20), retry=RETRY,
            timeout=Micros(5 * SECOND), deadline=Micros(20 * SECOND),
        )  # fmt: skip
        await door.call(request, lambda _seq, fact, _text, heard=heard: heard.append(fact.kind))
        if heard == ["CallRefused"]:
            return


def mint() -> None:
    """One permit and two children that have more together than it has."""
    place = Place(parent="top")
    plain = Grant(operations=frozenset({"call"}))
    top = checked(msgspec.structs.replace(plain, max_calls=CALLS, max_cost=COST))
    entries = [minted(house.ledger, "top", top)]
    for name, calls in CHILDREN.items():
        child = checked(msgspec.structs.replace(top, max_calls=calls))
        entries.append(minted(house.ledger, name, child, place=place))
    assert isinstance(house.ledger.append_now(entries), Committed)


def plant(bug: str) -> None:
    """Mistakes that the judge must see."""
    if bug == "look-first":
        real = Authority.expected

        def looked(self: Authority, request: Any, amount: Any, now: Any) -> list[Any]:
            rules = real(self, request, amount, now)
            with house.ledger.read() as reader:
                return [one for one in rules if not one.test(reader.get(one.row, *one.key))]

        Authority.expected = looked
    if bug == "leaf-only":
        whole = Authority.expected

        def own(self: Authority, request: Any, amount: Any, now: Any) -> list[Any]:
            rules = whole(self, request, amount, now)
            return [one for one in rules if one.key[0] == request.permit]

        Authority.expected = own


def load(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("guard_conftest", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


kit = load(sys.argv[1])
house = kit.House(Path(sys.argv[2]), SystemClock())
plant(os.environ.get("PERMIT_BUG", ""))


async def main() -> None:
    with house.ledger.read() as reader:
        run, known = reader.get(kit.RunRow, kit.RUN_NAME), reader.get(PermitRow, "top")
    house.run_attempt = run.attempt if run is not None else 0
    house.begin()
    if known is None:
        mint()
    seed = int(sys.argv[3])
    provider = Provider(house.folder.with_name("book"), Random(seed))
    door = Door(house.ledger, house.clock, Random(seed), policies=lambda *_: POLICY)
    say("begun")
    await asyncio.gather(*(caller(number, seed, door, provider) for number in range(CALLERS)))
    await door.close()


asyncio.run(main())
house.ledger.close()
