"""The tasks of a house: found by module and function, and found again by their name.

What it is not: the declaration of a task; that is `tildawn.engine.task`.
"""

import importlib
import logging
from pathlib import Path
from typing import Any, cast

import msgspec

from tildawn.engine.task import TaskDef, Tasks
from tildawn.errors import BadTask, TildawnError
from tildawn.facts.plan import TaskRef
from tildawn.facts.task import TaskLocated
from tildawn.ledger.entry import Entry
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.reader import Reader
from tildawn.projections.task import TaskRow
from tildawn.runtime.plan.task import resolve_task
from tildawn.units import Seq


_log = logging.getLogger(__name__)

Declared = TaskDef[..., Any]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the code of a task is: ``folder`` is put in front of Python's path."""

    module: str
    function: str
    folder: str


class HouseTasks(Tasks):
    """The tasks that this process has seen, and those that the ledger says where to find."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        """Take the ledger that remembers places, and the folder that tasks are looked for in."""
        super().__init__()
        self._ledger = ledger
        self._folder = folder
        self._lost: set[str] = set()

    def get(self, name: str) -> Declared | None:
        """The task of that name, imported from where it was found before, or None."""
        known = super().get(name)
        if known is not None or name in self._lost:
            return known
        with self._ledger.read() as reader:
            place = place_of(reader, name)
        if place is None:
            return None
        try:
            return self._import(place)
        except TildawnError as error:
            # Said once; the engine holds the runs of a task that is not to be had.
            self._lost.add(name)
            _log.warning("task %s is not to be had: %s", name, error)
            return None

    def load(self, module: str) -> None:
        """Make every task of a module known.

        Raises:
            BadTask: it cannot be imported, or two tasks have one name.
        """
        resolve_task(self._folder, TaskRef(module, "__name__"))
        for value in vars(importlib.import_module(module)).values():
            if isinstance(value, TaskDef):
                self.add(cast("Declared", value))

    def find(self, reference: str) -> tuple[Declared, Place | None]:
        """A task by its name, or by ``module:function`` from the folder beside the house.

        Returns:
            The task, and its place when the reference names one.

        Raises:
            BadTask: the code cannot be imported, or is no task.
            UnknownName: no task is known by that name.
        """
        module, colon, function = reference.partition(":")
        if not colon:
            return self.named(reference), None
        place = Place(module=module, function=function, folder=str(self._folder))
        return self._import(place), place

    def named(self, name: str) -> Declared:
        """The task of that name; see `get`.

        Raises:
            UnknownName: no task has it.
        """
        return self.get(name) or super().named(name)

    def _import(self, place: Place) -> Declared:
        found = resolve_task(Path(place.folder), TaskRef(place.module, place.function))
        if not isinstance(found, TaskDef):
            message = f"{place.module}:{place.function} is no task"
            raise BadTask(message, hint="declare it with @task")
        declared = cast("Declared", found)
        self.add(declared)
        return declared


def place_of(reader: Reader, task: str) -> Place | None:
    """Where the code of a task was found last, or None.

    Raises:
        LedgerBroken: the record cannot be read.
    """
    row = reader.get(TaskRow, task)
    if row is None:
        return None
    return msgspec.json.decode(reader.payload(Seq(row.seq), 0), type=Place)


def located(ledger: Ledger, task: str, place: Place) -> list[Entry]:
    """The fact that says where a task is; none when the ledger says so already.

    Raises:
        Nothing.
    """
    with ledger.read() as reader:
        if place_of(reader, task) == place:
            return []
    text = ledger.payload(msgspec.json.encode(place))
    return [ledger.draft(TaskLocated(task=task, place=text.digest), payloads=(text,))]
