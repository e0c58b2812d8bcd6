"""A house, joined: ledger, tasks, engine and owner, opened to read or to write.

What it is not: a place for decisions.  It only hands each part what it needs.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from tildawn.clock import Clock, SystemClock
from tildawn.engine.asking import Asking
from tildawn.engine.engine import Engine, MakeContext
from tildawn.errors import HouseUnusable
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.runtime.anchors import Anchors
from tildawn.runtime.mirror import wish_of
from tildawn.runtime.reconcile import Reconciliation
from tildawn.runtime.secret import configure
from tildawn.runtime.setting import Settings
from tildawn.runtime.stops import Stops
from tildawn.runtime.task import HouseTasks
from tildawn.runtime.version import BUILD
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY, engine_of, owner_of


NAME = ".tildawn"
"""The folder that makes its parent a project with a house."""

Mode = Literal["read", "write"]


class House:
    """An open house.

    Opened to read it holds nothing and changes nothing; opened to write it holds the pen, takes
    what the owner asks, and works while `tildawn.runtime.working` says so.
    """

    def __init__(self, folder: Path, settings: Settings, *, ledger: Ledger, clock: Clock) -> None:
        """Join the parts; use `House.open`."""
        self.folder = folder
        self.settings = settings
        self.ledger = ledger
        self.clock = clock
        self.ids = Ids(clock)
        self.tasks = HouseTasks(ledger, folder.parent)
        self.engine: Engine = engine_of(
            ledger, tasks=self.tasks, clock=clock, settings=settings.engine, context=self._context,
            folder=folder,
        )  # fmt: skip
        self.stops = Stops(ledger, folder, wake=self.engine.wake)
        self.engine.stopped = self.stops.why
        self.books = Reconciliation(ledger, folder, clock=clock, zone=settings.house.zone)
        self.owner = owner_of(self.engine, self.ids)
        #: The anchors of a house that works; None in any other.
        self.anchors: Anchors | None = None
        #: Whether the engine has been started.
        self.working = False
        self._make_context: MakeContext | None = None

    @classmethod
    def open(
        cls,
        folder: Path,
        settings: Settings,
        *,
        mode: Mode,
        clock: Clock | None = None,
        takeover: bool = False,
    ) -> Self:
        """Open the house in a folder; to write, it is founded where there is none.

        Args:
            folder: the house itself, such as ``.tildawn``.
            settings: read and checked.
            mode: ``read`` neither takes the pen nor changes anything.
            clock: the machine's when absent.
            takeover: a person decided to take over; recorded with the pen.

        Raises:
            BadSetting: a mirror is wished for and no folder is named.
            HouseLocked: another process holds the pen.
            HouseUnusable: the disk, the key or SQLite will not do, or there is nothing to read.
            HouseTooNew: a newer version of Tildawn wrote it.
            LedgerBroken: the tail does not verify, the file is damaged, or it contradicts its
                mirror.
        """
        time = clock or SystemClock()
        ledger = Ledger.open(
            folder, registry=REGISTRY, projections=PROJECTIONS, clock=time, ids=Ids(time),
            build=BUILD, mode=mode, takeover=takeover,
            checkpoint_folder=_folder(settings.ledger.checkpoint_folder),
            mirror=wish_of(folder, settings) if mode == "write" else None,
        )  # fmt: skip
        configure(ledger.secrets, settings, os.environ)
        return cls(folder, settings, ledger=ledger, clock=time)

    def furnish(self, make_context: MakeContext) -> None:
        """Say what tasks get as their context; before the engine starts."""
        self._make_context = make_context

    def close(self) -> None:
        """Close the ledger; the pen is laid down.

        Raises:
            Nothing.
        """
        self.ledger.close()

    def __enter__(self) -> Self:
        """The house itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _context(self, asking: Asking) -> object:
        assert self._make_context is not None, "a house that works was furnished"
        return self._make_context(asking)


def _folder(named: str) -> Path | None:
    return Path(named).expanduser().absolute() if named else None


def find_house(
    start: Path, *, chosen: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Path:
    """The house that a command means.

    Args:
        start: the folder to look upwards from.
        chosen: the folder that the user named, house or project; it wins.
        environ: ``TILDAWN_HOME`` names a folder likewise.

    Returns:
        The folder of the house; with ``chosen`` or the variable it need not exist yet.

    Raises:
        HouseUnusable: there is no house from ``start`` upwards.
    """
    named = chosen or (Path(environ["TILDAWN_HOME"]) if environ.get("TILDAWN_HOME") else None)
    if named is not None:
        named = named.absolute()
        return named if named.name == NAME or (named / "ledger.db").exists() else named / NAME
    here = start.absolute()
    for folder in (here, *here.parents):
        if (folder / NAME).is_dir():
            return folder / NAME
    message = f"there is no house in {here} or above it"
    raise HouseUnusable(message, hint="tildawn init")
