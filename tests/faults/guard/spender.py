"""Spends money through the door with many callers at once, until it is killed.

What it is not: a test; test_money_kill.py starts it, kills it and judges what it left.

Usage: spender.py CONFTEST HOUSE SEED MODE.  MODE is ``spend``, which goes on for ever, or
``finish``, which clears up what earlier processes left and ends.  It prints one line whenever an
attempt has left for the provider.
"""

import asyncio
import importlib.util
import os
import sys
from functools import partial
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec

from tildawn.clock import SystemClock
from tildawn.facts.run import RunCancelled
from tildawn.guard import budget, funds
from tildawn.guard.call import Door
from tildawn.guard.policy import PRESETS
from tildawn.guard.recover import doubt_ended
from tildawn.guard.request import Answer
from tildawn.guard.retry import RetryPolicy, Rule
from tildawn.projections.budget import BudgetRow
from tildawn.projections.call import CallRow
from tildawn.units import MILLISECOND, SECOND, Micros, MicroUsd


CALLERS = 200
RAISE = 3_000
"""So much is added to the limit of the night whenever it has refused a hundred times."""
ROUTES = {"shop:create": None, "art:hero": MicroUsd(6_000)}
"""The routes, and what each may spend on a day."""

POLICIES = {
    route: msgspec.structs.replace(PRESETS["http"], mode="off", usd_a_day=cap)
    for route, cap in ROUTES.items()
}
RETRY = RetryPolicy(
    rules=dict.fromkeys(("timeout", "server"), Rule(2, Micros(5 * MILLISECOND))),
    budget_least=1_000_000, budget_ppm=1_000_000,
)  # fmt: skip


def say(line: str) -> None:
    """Tell whoever counts."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Provider:
    """Takes money at its own pace: its book of bills outlives us, as theirs do."""

    def __init__(self, book: Path, rng: Random) -> None:
        self.rng = rng
        self.book = os.open(book, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def performs(self, path: str, reserve: int) -> Any:
        return partial(self._perform, path, reserve)

    async def _perform(self, path: str, reserve: int, attempt: Any) -> Answer:
        say(path)
        rng = self.rng
        fate = rng.random()
        if fate < 0.1:
            raise kit.Fault(kind="bad_request", status=422)
        cost = rng.randint(0, reserve)
        os.write(self.book, f"{path} {attempt.number} {cost}\n".encode())
        await asyncio.sleep(rng.random() * 0.01)
        if fate < 0.2:
            raise kit.Fault(kind="server", status=500)
        if fate < 0.25:
            await self._stubborn()
        elif fate < 0.3:
            await asyncio.Event().wait()
        said: dict[str, Any] = (
            {} if fate < 0.4 else {"spend": MicroUsd(cost), "spend_source": "reported"}
        )
        return Answer(value=b"1", **said)

    async def _stubborn(self) -> None:
        """Would not be cancelled, and answers late."""
        until = asyncio.get_running_loop().time() + 0.15
        while (left := until - asyncio.get_running_loop().time()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                continue


class Spender:
    """All callers of one process."""

    def __init__(self, house: Any, seed: int, *, finishing: bool) -> None:
        self.house = house
        self.rng = Random(seed)
        self.seed = seed
        self.finishing = finishing
        self.door = Door(
            house.ledger, house.clock, Random(seed), policies=lambda route, _: POLICIES[route]
        )
        self.provider = Provider(house.folder.with_name("book"), self.rng)
        self.refused = 0

    def left(self) -> list[CallRow]:
        with self.house.ledger.read() as reader:
            return reader.rows(CallRow, "state = 'dispatched'")

    async def call(self, path: str, route: str, reserve: int) -> None:
        request = self.house.request(
            SimpleNamespace(perform=self.provider.performs(path, reserve)), path=path, route=route, reserve=MicroUsd(reserve), retry=RETRY,
            timeout=Micros(50 * MILLISECOND), deadline=Micros(5 * SECOND),
            budgets=(f"run/{kit.RUN_NAME}", "night"), repeat="safe",
        )  # fmt: skip
        await self.door.call(request, self.heard)

    def heard(self, _seq: Any, fact: Any, _text: Any) -> None:
        self.refused += fact.kind == "CallRefused"

    async def caller(self, number: int) -> None:
        rng = Random(self.seed * CALLERS + number)
        for turn in range(1_000_000):
            if self.refused > 100:
                self.refused = 0
                await self.more()
            path = f"{self.seed}.{number}.{turn}"
            await self.call(path, rng.choice(list(ROUTES)), rng.randint(1, 40))

    async def more(self) -> None:
        with self.house.ledger.read() as reader:
            row = reader.get(BudgetRow, "night")
        fact = kit.BudgetSet(scope="night", limit_micro_usd=(row.cap or 0) + RAISE)
        await self.house.ledger.append([self.house.ledger.draft(fact)])

    async def spend(self) -> None:
        """Ask again for what was under way, as the engine would, and go on with new calls."""
        again = [self.call(row.path, row.route, 7) for row in self.left()]
        await asyncio.gather(*again, *(self.caller(number) for number in range(CALLERS)))

    async def finish(self) -> None:
        """Ask again for half of what was under way; the run ends, and nobody asks for the rest."""
        await asyncio.gather(*(self.call(row.path, row.route, 7) for row in self.left()[::2]))
        await self.door.close()
        await self.house.ledger.append([self.house.ledger.draft(RunCancelled(), run=kit.RUN_NAME)])
        await doubt_ended(self.house.ledger)


def plant(bug: str) -> None:
    """Mistakes that the judge must see."""
    if bug == "look-first":

        def looked(request: Any, money: Any) -> list[Any]:
            rules = budget.reservation(money.scopes, money.amount)
            with house.ledger.read() as reader:
                return [one for one in rules if not one.test(reader.get(BudgetRow, *one.key))]

        funds.expected = looked
        from tildawn.guard import call  # noqa: PLC0415 - only here

        call.expected = looked


def load(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("guard_conftest", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


kit = load(sys.argv[1])
plant(os.environ.get("SPENDER_BUG", ""))
house = kit.House(Path(sys.argv[2]), SystemClock())


async def main() -> None:
    with house.ledger.read() as reader:
        run = reader.get(kit.RunRow, kit.RUN_NAME)
    house.run_attempt = run.attempt if run is not None else 0
    house.begin()
    if run is None:
        house.limit("night", RAISE)
    spender = Spender(house, int(sys.argv[3]), finishing=sys.argv[4] == "finish")
    say("begun")
    await (spender.finish() if spender.finishing else spender.spend())


asyncio.run(main())
house.ledger.close()
