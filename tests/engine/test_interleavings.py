"""A thousand random interleavings with crashes: never a wrong result, never held without cause.

What it is not: a search for crashes at disk writes; those are in ``tests/faults``.

The checker is the tasks themselves: every step's value names the branch and the number that
asked for it, and steps are asked with a digest of what all branches saw so far, in order.  A
value given to another branch, a step run twice after its record, or branches told in another
order make a wrong result or a mismatch.
"""

import asyncio
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from tildawn.engine.history import History
from tildawn.engine.task import Tasks
from tildawn.units import SECOND, Micros


INTERLEAVINGS = int(os.environ.get("TILDAWN_INTERLEAVINGS", "1000"))
RUNS_AT_ONCE = 20


SHAPES = 7
"""How many of the shapes a run may have; the last one is a child of another."""


async def campaign(workshop: Any, seed: int, *, crashes: float) -> dict[str, int]:
    """Run `RUNS_AT_ONCE` runs through one random history; returns what was counted."""
    rng = random.Random(seed)
    world = workshop.world(rng)
    kinds = world.shapes()
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
    world: Any,
    rng: random.Random,
    words: dict[str, int],
    count: dict[str, int],
    crashes: float,
) -> None:
    """Do one thing at random."""
    for _ in range(rng.randint(1, 8)):
        world.let_one_end()
    for run, said in words.items():
        if said < 2 and rng.random() < 0.2:
            await workshop.owner.emit(run, "word", f"word {said}")
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
        print(f"interleavings: {total}")  # noqa: T201  reported with n
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
