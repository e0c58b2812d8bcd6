"""A house of notes for every test of the ledger.

What it is not: a mock; each is a real ledger on the real disk.
"""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tildawn.ledger.fold import Expect
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.mirror import Mode, Wish
from tildawn.testing.clock import ManualClock
from tildawn.testing.notebook import Note, open_notebook


class Gate:
    """Holds the writer inside an expectation until it is opened, so that appends queue."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def expect(self) -> Expect:
        """An expectation that waits for the gate."""
        return Expect(row=Note, key=("gate", 0), test=self._wait, why="never")

    def _wait(self, _: object) -> bool:
        self.entered.set()
        return self.open.wait(30)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the house is."""
    return tmp_path / "house"


@pytest.fixture
def clock() -> ManualClock:
    """Time that stands still."""
    return ManualClock()


@pytest.fixture
def house(folder: Path, clock: ManualClock) -> Iterator[Callable[..., Ledger]]:
    """Opens the house; whatever a test leaves open is closed behind it."""
    opened: list[Ledger] = []

    def open_house(**options: Any) -> Ledger:
        ledger = open_notebook(folder, **({"clock": clock} | options))
        opened.append(ledger)
        return ledger

    yield open_house
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(house: Callable[..., Ledger]) -> Ledger:
    """The house, open to write."""
    return house()


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Holds the writer; opened at the end in any case."""
    made = Gate()
    yield made
    made.open.set()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Where the mirror is; its owner made the folder."""
    folder = tmp_path / "copy"
    folder.mkdir()
    return folder


@pytest.fixture
def mirrored(house: Callable[..., Ledger], copy: Path) -> Callable[..., Ledger]:
    """Opens the house with its mirror; the patience is longer than any test."""

    def open_it(mode: Mode = "sync-degrade", **options: Any) -> Ledger:
        wish = Wish(mode=mode, folder=copy, patience=options.pop("patience", 30.0))
        return house(mirror=wish, **options)

    return open_it
