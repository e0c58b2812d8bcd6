"""The large houses that other workloads need: built once a run, a few thousand facts at a time.

What it is not: a measurement, though it says how long it took.  The facts are those that real runs
leave, with payloads and digests; only the engine is left out, which would take longer.
"""

import asyncio
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator

import msgspec

from benchmarks.child import Order
from benchmarks.contenders.ours import House, flow, noop, open_ledger
from benchmarks.workloads.recovery import HANGING, plodding, stuck
from benchmarks.workloads.sleepers import DAY, NIGHTS, START, sleeper, window_of
from tildawn.clock import SystemClock
from tildawn.engine.task import StepDef, TaskDef
from tildawn.facts.run import RunAccepted, RunDone, RunStarted, RunWaited
from tildawn.facts.step import StepRecorded
from tildawn.ids import Ids
from tildawn.ledger.entry import Entry
from tildawn.ledger.ledger import APPEND_FACTS_MAX, Ledger
from tildawn.testing.clock import ManualClock
from tildawn.units import SECOND


STEPS_A_RUN = 10
FACTS_A_RUN = STEPS_A_RUN + 3
ARGUMENTS = StepDef(noop).arguments


def measure(order: Order) -> dict[str, float]:
    """Build what is not there yet; seconds of each."""
    took: dict[str, float] = {}
    for make in (small, long, interrupted, heavy, sleepers):
        began = time.perf_counter()
        make(order)
        took[f"{make.__name__}_s"] = time.perf_counter() - began
    return took


def small(order: Order) -> None:
    """A house with few facts: of runs that are done."""
    _done_runs(order, "small", order.sizes.facts_few)


def long(order: Order) -> None:
    """A house with many facts: of runs that are done."""
    _done_runs(order, "long", order.sizes.facts)


def interrupted(order: Order) -> None:
    """The long house after a crash in which many runs were in the middle of a step."""
    shutil.copytree(order.houses / "long", order.houses / "interrupted")
    _die_after(lambda: asyncio.run(_get_stuck(order)))


def heavy(order: Order) -> None:
    """A house after a crash whose facts are the long histories of the interrupted runs."""

    def write() -> None:
        clock = SystemClock()
        ids, count = Ids(clock), order.sizes.interrupted
        ledger = open_ledger(order.houses / "heavy", clock)
        steps = order.sizes.facts // count - 2
        runs = (_begun(ledger, ids.new(), plodding, steps) for _ in range(count))
        _append(ledger, itertools.chain.from_iterable(runs))

    _die_after(write)


def _die_after(work: Callable[[], None]) -> None:
    """Work in a process that ends as in a crash: the pen is not laid down."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if status:
        message = "a house after a crash was not built"
        raise RuntimeError(message)


async def _get_stuck(order: Order) -> None:
    house = House(order.houses / "interrupted")
    house.tasks.add(stuck)
    await house.engine.start()
    for _ in range(order.sizes.interrupted):
        await house.owner.enqueue(stuck)
    while HANGING.count < order.sizes.interrupted:
        await HANGING.one_more.wait()
        HANGING.one_more.clear()


def sleepers(order: Order) -> None:
    """A house in which many runs sleep: some until a time in each round, most for days."""
    clock = ManualClock(START)
    with open_ledger(order.houses / "sleepers", clock) as ledger:
        # Names in the order of time, as runs accepted one after the other have.
        ids = Ids(SystemClock())
        count, due = order.sizes.sleepers, order.sizes.due
        waits = [wait for night in range(NIGHTS) for wait in window_of(night, due)]
        waits += [30 * DAY + number for number in range(count - len(waits))]
        _append(ledger, itertools.chain.from_iterable(
            _asleep(ledger, ids.new(), wait) for wait in waits
        ))  # fmt: skip
    with open_ledger(order.houses / "nobody", ManualClock(START)):
        pass


def _asleep(ledger: Ledger, run: str, wait: int) -> Iterator[Entry]:
    yield _accepted(ledger, sleeper, run, {"seconds": wait / SECOND})
    yield ledger.draft(RunStarted(attempt=1, fingerprint=sleeper.fingerprint), run=run)
    yield ledger.draft(RunWaited(on="timer", until=START + wait, parked=True), run=run)


def _done_runs(order: Order, name: str, facts: int) -> None:
    clock = SystemClock()
    ids = Ids(clock)
    with open_ledger(order.houses / name, clock) as ledger:
        runs = (_done(ledger, ids.new()) for _ in range(facts // FACTS_A_RUN))
        _append(ledger, itertools.chain.from_iterable(runs))


def _done(ledger: Ledger, run: str) -> Iterator[Entry]:
    yield from _begun(ledger, run, flow, STEPS_A_RUN)
    out = ledger.payload(msgspec.json.encode(STEPS_A_RUN))
    yield ledger.draft(RunDone(out=out.digest), run=run, payloads=(out,))


def _begun(ledger: Ledger, run: str, task: TaskDef[[int], object], steps: int) -> Iterator[Entry]:
    """A run whose last word is a recorded step."""
    yield _accepted(ledger, task, run, {"steps": steps})
    yield ledger.draft(RunStarted(attempt=1, fingerprint=task.fingerprint), run=run)
    for number in range(steps):
        out = ledger.payload(msgspec.json.encode(number))
        digest = ledger.keyed(ARGUMENTS.encode((number,), {}))
        yield ledger.draft(
            StepRecorded(args=digest, out=out.digest), run=run, path=f":noop#{number + 1}",
            payloads=(out,),
        )  # fmt: skip


def _accepted(
    ledger: Ledger, task: TaskDef[..., object], run: str, arguments: dict[str, float]
) -> Entry:
    args = ledger.payload(msgspec.json.encode(arguments))
    fact = RunAccepted(task=task.name, args=args.digest, fingerprint=task.fingerprint)
    return ledger.draft(fact, run=run, payloads=(args, None, None))


def _append(ledger: Ledger, entries: Iterable[Entry]) -> None:
    entries = iter(entries)
    while chunk := list(itertools.islice(entries, APPEND_FACTS_MAX)):
        ledger.append_now(chunk)
