"""What keeps new work from beginning in a house: a short list of named stops.

What it is not: an end of what is under way, which may go on; nor a pause of one run.

The engine asks `Stops.why` before it looks for runs.  Who adds a reason adds one function to
`LOOKS`: it is asked in the working house at every look, and by status and doctor in others.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from tildawn.errors import TildawnError
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.reader import Reader
from tildawn.projections.quarantine import quarantine_of
from tildawn.projections.reconcile import drifts
from tildawn.runtime.space import space_of
from tildawn.units import Seq


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """One reason why no new work begins: a short name, a sentence, and what to do."""

    name: str
    says: str
    next: str


Look = Callable[[Reader, Path], Stop | None]
"""Looks at the tables and the folder of a house; cheap, since it is asked every few seconds."""

Told = Callable[[tuple[Stop, ...]], None]
"""Told all stops whenever they change; none means that work begins again."""


class Stops:
    """The stops of a house that is open to work; `why` costs nothing."""

    def __init__(self, ledger: Ledger, folder: Path, *, wake: Callable[[], None]) -> None:
        """Begin without any; nothing is read before the first `look`.

        Args:
            ledger: of the house.
            folder: of the house.
            wake: lets the engine look for runs again.
        """
        self._ledger = ledger
        self._folder = folder
        self._wake = wake
        self._standing: tuple[Stop, ...] = ()
        #: Called on the event loop when the stops change.
        self.on_change: list[Told] = []

    @property
    def standing(self) -> tuple[Stop, ...]:
        """What stood at the last look."""
        return self._standing

    def why(self) -> str:
        """The names of the stops, or an empty text when work may begin.

        Raises:
            Nothing.
        """
        return ", ".join(stop.name for stop in self._standing)

    def look(self) -> tuple[Stop, ...]:
        """Look again now; work begins again when nothing is left.

        Raises:
            TildawnError: the house cannot be read; what stood stays.
        """
        with self._ledger.read() as reader:
            found = stops_of(reader, self._folder)
        changed = {one.name for one in found} != {one.name for one in self._standing}
        self._standing = found
        if changed:
            for tell in self.on_change:
                tell(found)
            if not found:
                self._wake()
        return found


def stops_of(reader: Reader, folder: Path) -> tuple[Stop, ...]:
    """What keeps new work from beginning in a house, working or not.

    Args:
        reader: of the house.
        folder: of the house.

    Raises:
        Nothing.
    """
    found = (look(reader, folder) for look in LOOKS)
    return tuple(stop for stop in found if stop is not None)


def told(stops: tuple[Stop, ...]) -> str:
    """The lines for whoever watches the work.

    Raises:
        Nothing.
    """
    if not stops:
        return "tildawn: work begins again"
    return "\n".join(
        f"tildawn: no new work begins: {stop.says} [{stop.name}]\nNext: {stop.next}"
        for stop in stops
    )


def _quarantined(reader: Reader, folder: Path) -> Stop | None:
    del folder  # it stands in the tables
    row = quarantine_of(reader)
    if row is None:
        return None
    try:
        says = msgspec.json.decode(reader.payload(Seq(row.seq), 0), type=str)
    except (TildawnError, msgspec.DecodeError):
        says = f"{row.why} in table {row.about}, {row.times} times"
    return Stop(
        name="quarantined",
        says=f"the house is in quarantine: {says}",
        next='tildawn verify; then tildawn quarantine lift --reason "…"',
    )


def _drifting(reader: Reader, folder: Path) -> Stop | None:
    del folder  # it stands in the tables
    rows = [row for row in drifts(reader) if row.mended < 0]
    if not rows:
        return None
    tables = ", ".join(sorted({row.about for row in rows}))
    return Stop(
        name="drift",
        says=f"tables are not what the facts make of them, and were not made anew: {tables}",
        next="tildawn rebuild --plan",
    )


def _low_disk(reader: Reader, folder: Path) -> Stop | None:
    del reader  # the disk says it
    try:
        space = space_of(folder)
    except OSError:
        return None
    if not space.low:
        return None
    inodes = "" if space.inodes is None else f" and {space.inodes} names for files"
    return Stop(
        name="disk low",
        says=f"the disk has {space.free_bytes // 1_000_000} MB{inodes} left",
        next=f"free some space on the disk of {folder}; work goes on by itself",
    )


LOOKS: tuple[Look, ...] = (_quarantined, _drifting, _low_disk)
"""Every reason there is, in the order in which they are told."""
