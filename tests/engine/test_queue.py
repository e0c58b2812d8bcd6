"""The queue against a small reference model: dictionaries and one sort.

What it is not: about what runs do; each has one step, which lasts until the test ends it.
"""

import asyncio
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tildawn.engine.queue import Limits, Occupied
from tildawn.engine.task import Retry, task
from tildawn.projections.run import RunRow
from tildawn.runtime.context import Context
from tildawn.units import SECOND


EXAMPLES = int(os.environ.get("TILDAWN_QUEUE_EXAMPLES", "30"))
NARROW, AT_ONCE = 1, 3
NUMBERS = count()

Case = dict[str, Any]


class Model:
    """What the queue promises, in the plainest way."""

    def __init__(self) -> None:
        """Nothing was accepted yet."""
        self.now = 0
        self.runs: dict[str, Case] = {}
        self.keys: dict[str, str] = {}

    def enqueue(self, label: str, case: Case) -> str:
        """Accept a run, or say which one has the key; the label of either."""
        if case["key"] and case["key"] in self.keys:
            return self.keys[case["key"]]
        if case["key"]:
            self.keys[case["key"]] = label
        due = self.now + case["wait"] if case["wait"] else 0
        state = "scheduled" if due else "queued"
        self.runs[label] = {**case, "due": due, "state": state, "ran": False, "stop": False}
        self.dispatch()
        return label

    def dispatch(self) -> None:
        """Start what may start: highest priority first, then in order of acceptance."""
        while self._start_some():
            pass

    def _start_some(self) -> bool:
        ready = [run for run in self.runs.values() if self._may_start(run)]
        started = [
            run for run in sorted(ready, key=lambda run: -run["priority"]) if self._take(run)
        ]
        for run in started:
            # A run that was asked to stop while it could not be told ends as soon as it is told.
            run["state"] = "cancelled" if run["stop"] else "running"
        return any(run["stop"] for run in started)

    def _may_start(self, run: Case) -> bool:
        return run["state"] == "queued" or (run["state"] == "scheduled" and run["due"] <= self.now)

    def _take(self, run: Case) -> bool:
        going = self.going()
        if len(going) == AT_ONCE or (
            run["limit"] and run["limit"] in {one["limit"] for one in going}
        ):
            return False
        if run["queue"] == "narrow" and [one["queue"] for one in going].count("narrow") == NARROW:
            return False
        run["state"], run["ran"] = "running", True
        return True

    def going(self) -> list[Case]:
        """What runs now."""
        return [run for run in self.runs.values() if run["state"] == "running"]

    def becomes(self, label: str, state: str) -> None:
        """Move a run, and let others into its place."""
        self.runs[label]["state"] = state
        self.dispatch()

    def cancel(self, label: str) -> None:
        """Ask a run to stop."""
        run = self.runs[label]
        if run["state"] == "queued" and run["ran"]:
            run["stop"] = True
        elif run["state"] in {"queued", "scheduled", "held", "running"}:
            run["state"] = "cancelled"
        self.dispatch()

    def back(self) -> None:
        """The process is gone: what was going on is queued again."""
        for run in self.going():
            run["state"] = "queued"
        self.dispatch()


CASES = st.fixed_dictionaries(
    {
        "key": st.sampled_from(["", "", "", "a", "b"]),
        "priority": st.integers(0, 2),
        "queue": st.sampled_from(["default", "narrow"]),
        "limit": st.sampled_from(["", "shop"]),
        "wait": st.sampled_from([0, 0, 30 * SECOND]),
    }
)


class Machine(RuleBasedStateMachine):
    """Does the same to the model and to an engine with a real ledger, then compares."""

    workshop_in: ClassVar[Callable[[Path, Limits], Any]]
    base: ClassVar[Path]

    def __init__(self) -> None:
        """Open a fresh house."""
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.names: dict[str, str] = {}
        self.gates: dict[str, asyncio.Future[str]] = {}
        limits = Limits(resident=AT_ONCE, queues={"narrow": NARROW})
        self.shop = type(self).workshop_in(self.base / f"q{next(NUMBERS)}", limits)

        async def work(label: str) -> str:
            gate = self.gates[label] = asyncio.get_running_loop().create_future()
            return await gate

        @task(name="gated", retry=Retry(attempts=1))
        async def gated(ctx: Context, label: str) -> str:
            return await ctx.step(work, label)

        self.task = gated
        self.do(self.shop.start())

    def do(self, what: Any, turns: int = 3) -> Any:
        """Run a coroutine and let everything settle."""

        async def both() -> Any:
            result = await what
            await self.shop.settle(turns)
            return result

        return self.runner.run(both())

    def pick(self, number: int, *states: str) -> str | None:
        """A run in one of the states."""
        found = [label for label, run in self.model.runs.items() if run["state"] in states]
        return found[number % len(found)] if found else None

    # -- what may happen -----------------------------------------------------------------

    @rule(cases=st.lists(CASES, min_size=1, max_size=3))
    def enqueue(self, cases: list[Case]) -> None:
        """Accept some runs."""
        for case in cases:
            label = f"r{len(self.names)}"
            said = self.model.enqueue(label, case)
            due = self.shop.clock.wall() + case["wait"] if case["wait"] else 0
            rest = {name: case[name] for name in ("key", "priority", "queue")}
            accepted = self.shop.enqueue(self.task, label, due=due, limit_key=case["limit"], **rest)
            name = self.do(accepted)
            if said == label:
                self.names[label] = name
            assert name == self.names[said], "a key was accepted for two runs, or for none"
        self.compare()

    @precondition(lambda self: self.model.going())
    @rule(number=st.integers(0, 9), well=st.booleans())
    def end(self, number: int, well: bool) -> None:
        """A step that is under way ends, well or badly."""
        label = self.pick(number, "running")
        assert label is not None
        gate = self.gates[label]
        if well:
            gate.set_result(label)
        else:
            gate.set_exception(ValueError("bad luck"))
        self.model.becomes(label, "done" if well else "held")
        self.do(asyncio.sleep(0))
        self.compare()

    @rule(number=st.integers(0, 9))
    def cancel(self, number: int) -> None:
        """The owner asks a run to stop."""
        label = self.pick(number, "queued", "scheduled", "running", "held", "done")
        if label is not None:
            self.model.cancel(label)
            self.do(self.shop.owner.cancel(self.names[label]))
        self.compare()

    @rule(number=st.integers(0, 9))
    def pause(self, number: int) -> None:
        """The owner pauses a run."""
        label = self.pick(number, "queued", "scheduled", "running")
        if label is not None and not self.model.runs[label]["stop"]:
            self.model.becomes(label, "held")
            assert self.do(self.shop.owner.pause(self.names[label]))
        self.compare()

    @precondition(lambda self: self.pick(0, "held") is not None)
    @rule(number=st.integers(0, 9))
    def go_on(self, number: int) -> None:
        """The owner lets a paused or failed run go on."""
        label = self.pick(number, "held")
        assert label is not None
        owner, name = self.shop.owner, self.names[label]
        self.model.becomes(label, "queued")
        paused = self.shop.row(name).why == "paused"
        assert self.do(owner.resume(name) if paused else owner.retry(name))
        self.compare()

    @rule(wait=st.sampled_from([SECOND, 30 * SECOND]))
    def pass_time(self, wait: int) -> None:
        """Time goes by."""
        self.model.now += wait
        self.model.dispatch()
        self.do(self.shop.tick(wait))
        self.compare()

    @rule(orderly=st.booleans())
    def come_back(self, orderly: bool) -> None:
        """The process ends, in order or not, and another begins."""
        self.model.back()
        self.do(self.shop.reopen() if orderly else self.shop.crash())
        self.compare()

    # -- what must hold ------------------------------------------------------------------

    def compare(self) -> None:
        """Soon every run is where the model says, and in memory with its step if it is going on."""
        said = {label: run["state"] for label, run in self.model.runs.items()}
        going = {label for label, state in said.items() if state == "running"}
        for _ in range(200):
            if said == self.states() and going == self.at_work():
                return
            self.do(asyncio.sleep(0), 1)
        assert said == self.states()
        assert going == self.at_work()

    def at_work(self) -> set[str]:
        """The runs in memory, those whose step is under way; all of them, or the test waits."""
        resident = {one.row.run for one in self.shop.engine.residents.values()}
        held = {label for label, gate in self.gates.items() if not gate.done()}
        found = {label for label in held if self.names.get(label) in resident}
        return found if len(found) == len(resident) else {"somebody else"}

    def states(self) -> dict[str, str]:
        """The state of every run."""
        rows: dict[str, RunRow] = {label: self.shop.row(run) for label, run in self.names.items()}
        return {label: row.state for label, row in rows.items()}

    def teardown(self) -> None:
        """Close the house."""
        self.shop.engine.abandon()
        self.runner.run(self.shop.settle(1))
        self.shop.ledger.close()
        self.runner.close()


HOW = settings(
    max_examples=EXAMPLES,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.mark.timeout(180)
def test_the_queue_does_what_its_model_says(workshop: Any, tmp_path: Path) -> None:
    """Keys, priorities, limits, due times, the owner's hand and crashes, in any order."""
    Machine.workshop_in, Machine.base = type(workshop), tmp_path
    run_state_machine_as_test(Machine, settings=HOW)


def keyless(self: Occupied, row: RunRow) -> bool:
    """A planted bug: runs with one limit key go on together."""
    return TAKE(self, msgspec.structs.replace(row, exclusive=""))


def roomy(self: Occupied, queue: str) -> int:
    """A planted bug: a queue has no limit of its own."""
    return AT_ONCE


TAKE = Occupied.take


@pytest.mark.parametrize(("name", "bug"), [("take", keyless), ("room", roomy)])
def test_the_model_sees_a_planted_bug(
    workshop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, bug: Any
) -> None:
    """A model that agrees with a broken queue proves nothing."""
    monkeypatch.setattr(Occupied, name, bug)
    Machine.workshop_in, Machine.base = type(workshop), tmp_path
    # A group where the broken queue did not even do the same twice.
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(Machine, settings=settings(HOW, phases=[Phase.generate]))
