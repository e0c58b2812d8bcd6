"""Tasks as they are known now: where the code of each was found last.

What it is not: the code, nor a check that it is still there; the runtime imports it.
"""

from collections.abc import Iterable
from typing import cast

from tildawn.facts.fact import Fact
from tildawn.facts.task import TaskLocated
from tildawn.ledger.fold import Change, Get, Projection, Put, Row, Table
from tildawn.units import Seq


class TaskRow(Row, frozen=True, kw_only=True):
    """A task by its name; its place is payload 0 of the fact at ``seq``."""

    task: str
    seq: int


TASKS = Table(name="task", row=TaskRow, key=("task",))


def _locate(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("TaskLocated", fact.data)
    yield Put(TaskRow(task=said.task, seq=seq))


TASK = Projection(name="task", version=1, tables=(TASKS,), folds={TaskLocated: _locate})
