"""A thousand random interleavings with crashes: never a wrong result, never held without cause.

What it is not: a search for crashes at disk writes; those are in ``tests/faults``.

The checker is the tasks themselves: every step's value names the branch and the number that
asked for it, and steps are asked with a digest of what all branches saw so far, in order.  A
value given to another branch, a step run twice after its record, or branches told in another
order make a wrong result or a mismatch.
"""

import asyncio
import hashlib
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from tildawn.engine.history import History
from tildawn.engine.task import Retry, TaskDef, Tasks, task
from tildawn.errors import StepFailed
from tildawn.runtime.context import Context
from tildawn.units import SECOND, Micros


INTERLEAVINGS = int(os.environ.get("TILDAWN_INTERLEAVINGS", "1000"))
RUNS_AT_ONCE = 20


class World:
    """Holds every step that is under way until the test lets it end."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.open: list[tuple[str, asyncio.Future[str]]] = []
        self.performed: dict[str, int] = {}

    async def work(self, run: str, who: str, saw: str) -> str:
        """End when the world says so, with a value that names who asked."""
        place = f"{run} {who}"
        self.performed[place] = self.performed.get(place, 0) + 1
        gate: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.open.append((place, gate))
        return await gate

    def let_one_end(self) -> bool:
        """End one step at random, now and then badly."""
        self.open = [one for one in self.open if not one[1].done()]
        if not self.open:
            return False
        place, gate = self.open.pop(self.rng.randrange(len(self.open)))
        if self.rng.random() < 0.06:
            gate.set_exception(ValueError(f"bad luck at {place}"))
        else:
            gate.set_result(f"value of {place}")
        return True


def seen(shared: list[str]) -> str:
    """What all branches saw so far, in order."""
    return hashlib.sha256("\n".join(shared).encode()).hexdigest()[:12]


def shapes(world: World) -> list[TaskDef[..., Any]]:
    """Task shapes that follow the rules and share state between branches."""

    async def ask(ctx: Context, who: str, shared: list[str]) -> str:
        value = await ctx.step(world.work, ctx.run, who, seen(shared))
        shared.append(value)
        return value

    async def three(ctx: Context, who: str, shared: list[str], pause: float = 0) -> list[str]:
        found: list[str] = []
        for number in range(3):
            found.append(await ask(ctx, f"{who}{number}", shared))
            if pause:
                await ctx.sleep(pause)
        return found

    @task(name="gathered", retry=RETRY)
    async def gathered(ctx: Context) -> list[list[str]]:
        shared: list[str] = []
        return await ctx.gather(
            three(ctx, "a", shared), three(ctx, "b", shared, 1.5), three(ctx, "c", shared)
        )

    @task(name="grouped", retry=RETRY)
    async def grouped(ctx: Context) -> list[list[str]]:
        shared: list[str] = []
        async with asyncio.TaskGroup() as group:
            branches = [group.create_task(three(ctx, who, shared)) for who in "abc"]
        return [branch.result() for branch in branches]

    @task(name="raced", retry=RETRY)
    async def raced(ctx: Context) -> list[list[str]]:
        shared: list[str] = []
        _, first = await ctx.race(three(ctx, "a", shared), three(ctx, "a", shared))
        try:
            async with asyncio.timeout(3):
                second = await three(ctx, "b", shared, 0.5)
        except TimeoutError:
            second = await three(ctx, "c", shared)
        return [first, second]

    @task(name="listened", retry=RETRY)
    async def listened(ctx: Context) -> list[list[str]]:
        shared: list[str] = []

        async def hear() -> list[str]:
            found = [str(await ctx.event("word")) for _ in range(2)]
            shared.extend(found)
            return found

        heard, said = await ctx.gather(hear(), three(ctx, "b", shared))
        assert heard == ["word 0", "word 1"]
        return [said]

    @task(name="kid", retry=RETRY)
    async def kid(ctx: Context, who: str) -> list[str]:
        return await three(ctx, who, [])

    @task(name="family", retry=RETRY)
    async def family(ctx: Context) -> list[list[str]]:
        shared: list[str] = []
        first, second, third = await ctx.gather(
            ctx.child(kid, "x"), three(ctx, "b", shared), ctx.child(kid, "y")
        )
        named = ctx.random()
        fourth = await three(ctx, f"z{named:.3f}", shared)
        assert len({*first, *third}) == 6
        return [second, fourth]

    @task(name="caught", retry=RETRY)
    async def caught(ctx: Context) -> list[list[str]]:
        shared: list[str] = []

        async def stubborn(who: str) -> list[str]:
            for attempt in range(50):
                try:
                    return await three(ctx, f"{who}{attempt}_", shared)
                except StepFailed:
                    shared.append("failed")
            raise AssertionError

        return await ctx.gather(stubborn("a"), stubborn("b"))

    @task(name="tidied", retry=RETRY)
    async def tidied(ctx: Context) -> list[list[str]]:
        shared: list[str] = []

        async def tidy(who: str) -> list[str]:
            try:
                return await three(ctx, who, shared)
            finally:
                # Runs while the branch unwinds, so a retry finds its record loose.
                await ctx.step(world.work, ctx.run, f"tidy {who}", seen(shared))

        return await ctx.gather(tidy("a"), tidy("b"))

    return [gathered, grouped, raced, listened, family, caught, tidied, kid]


SHAPES = 7


RETRY = Retry(attempts=50, first=Micros(SECOND), longest=Micros(2 * SECOND))


async def campaign(workshop: Any, seed: int, *, crashes: float) -> dict[str, int]:
    """Run `RUNS_AT_ONCE` runs through one random history; returns what was counted."""
    rng = random.Random(seed)
    world = World(rng)
    kinds = shapes(world)
    workshop.tasks = Tasks(kinds)
    await workshop.crash()
    runs = [await workshop.enqueue(kinds[n % SHAPES]) for n in range(RUNS_AT_ONCE)]
    words = {run: 0 for run in runs if workshop.row(run).task == "listened"}
    count = {"crashes": 0, "held": 0}
    for _ in range(4_000):
        if all(workshop.row(run).state in {"done", "held"} for run in runs):
            break
        await act(workshop, world, rng, words, count, crashes)
    for run in runs:
        check(workshop, run, count)
    recorded_once(workshop, runs)
    count["runs"] = len(runs)
    return count


async def act(
    workshop: Any,
    world: World,
    rng: random.Random,
    words: dict[str, int],
    count: dict[str, int],
    crashes: float,
) -> None:
    """Do one thing at random."""
    for _ in range(rng.randint(1, 8)):
        world.let_one_end()
    for run in words:
        if words[run] < 2 and rng.random() < 0.2:
            await workshop.owner.emit(run, "word", f"word {words[run]}")
            words[run] += 1
    for _ in range(rng.randint(0, 3)):
        await asyncio.sleep(0)
    if rng.random() < crashes:
        count["crashes"] += 1
        world.open.clear()
        await workshop.crash()
    elif rng.random() < 0.5:
        workshop.clock.advance(Micros(rng.randrange(2 * SECOND)))
        await workshop.settle(1)
    else:
        await workshop.settle(1)


def check(workshop: Any, run: str, count: dict[str, int]) -> None:
    """Every value belongs to the place that asked for it."""
    row = workshop.row(run)
    if row.state == "held":
        count["held"] += 1
        count.setdefault("example", 0)
        message = f"{row.task} was held: {row.why} {workshop.why(run)}"
        raise AssertionError(message)
    assert "done" == row.state, f"{row.task} is {row.state}"
    for branch in json.loads(workshop.result(run)):
        letters = {value.removeprefix(f"value of {run} ")[:1] for value in branch}
        numbers = [value[-1] for value in branch]
        assert ["0", "1", "2"] == numbers, branch
        assert 1 == len(letters), branch


def recorded_once(workshop: Any, runs: list[str]) -> None:
    """No question of a run has two results: a place together with what was asked there."""
    for run in runs:
        places = [
            (fact.path, fact.data.args)
            for _, fact in workshop.history(run)
            if fact.kind == "StepRecorded"
        ]
        assert len(places) == len(set(places))


@pytest.mark.timeout(300)
def test_a_thousand_interleavings_with_crashes_give_no_wrong_result(
    workshop: Any, tmp_path: Path
) -> None:
    """0 silently wrong, 0 held for code that follows the rules."""

    async def story() -> None:
        await workshop.start()
        total: dict[str, int] = {}
        for seed in range(INTERLEAVINGS // RUNS_AT_ONCE):
            for name, number in (await campaign(workshop, seed, crashes=0.12)).items():
                total[name] = total.get(name, 0) + number
        print(f"interleavings: {total}")
        assert INTERLEAVINGS // RUNS_AT_ONCE * RUNS_AT_ONCE == total["runs"]
        assert total["crashes"] > INTERLEAVINGS // 10

    asyncio.run(story())


def test_the_checker_sees_a_replay_that_answers_at_once(
    workshop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted bug: recorded results are told in the order of asking, not of the ledger."""

    def eager(self: History, asked: Any) -> Any:
        self._reach()
        for entry in list(self._binding):
            if getattr(entry, "path", "") and asked(entry):
                self._binding.remove(entry)
                return entry
        return None

    monkeypatch.setattr(History, "take_loose", eager)
    assert seen_wrong(workshop)


def test_the_checker_sees_a_retry_that_keeps_the_old_order(
    workshop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted bug: after a retry, records behind the failed one still bind the order."""

    def keep_all(self: History, _seq: int, void: int) -> None:
        kept = [entry for entry in self._binding if entry.seq != void]
        self._binding = type(self._binding)(kept)

    monkeypatch.setattr(History, "_loosen", keep_all)
    assert seen_wrong(workshop)


def seen_wrong(workshop: Any) -> bool:
    """Whether some campaign ends in a wrong or held run."""

    async def story() -> bool:
        await workshop.start()
        for seed in range(20):
            try:
                await campaign(workshop, seed, crashes=0.12)
            except AssertionError:
                return True
        return False

    return asyncio.run(story())
