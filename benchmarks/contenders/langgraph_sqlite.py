"""LangGraph with its SqliteSaver, durability sync: one thread a run, one superstep a step.

What it is not: asked for a queue; the library has none.
"""

import itertools
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

from benchmarks.contenders.contender import Hits


THREADS = 16

stamps: list[float] = []
hits: list[Hits] = []


class State(TypedDict):
    """Which run, how far, and until when."""

    run: int
    number: int
    steps: int


def node(state: State) -> dict[str, int]:
    """One step."""
    if hits:
        hits[0].hit(state["run"], state["number"])
    stamps.append(time.perf_counter())
    return {"number": state["number"] + 1}


def _more(state: State) -> str:
    return "step" if state["number"] < state["steps"] else END


def _config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}, "recursion_limit": 100_000}


class Engine:
    """A graph of one node that comes back to itself."""

    def __init__(self, name: str, folder: Path) -> None:
        """Nothing is opened yet."""
        self._path = folder / "langgraph.db"

    def start(self) -> None:
        """See `Contender`."""
        self._connection = sqlite3.connect(self._path, check_same_thread=False)
        graph: Any = StateGraph(State)
        graph.add_node("step", node)
        graph.add_edge(START, "step")
        graph.add_conditional_edges("step", _more, ["step", END])
        self._graph = graph.compile(checkpointer=SqliteSaver(self._connection))

    def _fresh(self, thread: str, run: int, steps: int) -> None:
        first = {"run": run, "number": 0, "steps": steps}
        self._graph.invoke(first, _config(thread), durability="sync")

    def sequential(self, steps: int) -> list[float]:
        """See `Contender`."""
        stamps.clear()
        self._fresh(f"sequential{time.perf_counter()}", 0, steps)
        return [after - before for before, after in itertools.pairwise(stamps)]

    def crowd(self, runs: int, steps: int) -> float:
        """See `Contender`."""
        began = time.perf_counter()
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda run: self._fresh(f"{began} {run}", run, steps), range(runs)))
        return time.perf_counter() - began

    def pickup(self, count: int) -> list[float]:
        """See `Contender`: there is no queue."""
        return []

    def carry_on(self, runs: int, steps: int, hits_of: Hits) -> None:
        """See `Contender`."""
        hits.append(hits_of)

        def one(run: int) -> None:
            thread = f"crash {run}"
            state = self._graph.get_state(_config(thread))
            if not state.values:
                self._fresh(thread, run, steps)
            elif state.values["number"] < steps or state.next:
                # ``next`` alone is empty when the last write came without its checkpoint.
                self._graph.invoke(None, _config(thread), durability="sync")

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(one, range(runs)))

    def stop(self) -> None:
        """See `Contender`."""
        self._connection.close()
