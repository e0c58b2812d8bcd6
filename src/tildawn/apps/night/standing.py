"""Where the nights of a plan file stand when its command is typed: which one is meant.

What it is not: the acceptance.  It reads the house without the pen, and decides what needs no
look at the files that an accepted night no longer rests on.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from tildawn.apps.night.acceptance import Edited, place_of
from tildawn.apps.night.copies import ACCEPTED
from tildawn.clock import Clock
from tildawn.facts.fact import Fact
from tildawn.facts.night import PlanAccepted
from tildawn.facts.plan import Accepted, Night, Role, Source
from tildawn.ids import Ids
from tildawn.ledger.layout import Layout
from tildawn.ledger.ledger import Ledger
from tildawn.projections.night import NightRow, latest_night, night_called
from tildawn.runtime.version import BUILD
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.units import Seq


class Meant(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted night that a command means, whatever has become of its files."""

    row: NightRow
    #: Its hours, as they were accepted.
    night: Night
    #: Files that it was made from and that are not there any more.
    missing: tuple[str, ...] = ()


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a house stands towards a plan file."""

    #: Facts on record; what is accepted from here on is accepted by whoever looks now.
    size: int = 0
    #: The latest night of the file.
    latest: NightRow | None = None
    #: The night to go on with, where no look at the file is needed to know it.
    meant: Meant | None = None


def standing_of(
    folder: Path, plan: Path, clock: Clock, *, edited: Edited, after: int | None = None
) -> Standing:
    """Look how the nights of a plan file stand.

    A worker that takes the place of a dead one asks with the ``after`` of the first: a night
    that was accepted, or that ended, from there on is the one it is to work on, so that neither
    a second new night is begun nor an old one gone on with in place of it.

    Args:
        folder: the house; it may be missing.
        plan: the plan file; it may be missing.
        clock: for the names that opening a house needs.
        edited: what was said about an unfinished night.
        after: the size of the ledger when the command was typed; None for now.

    Returns:
        How they stand.

    Raises:
        TildawnError: the house cannot be read.
    """
    if not Layout(folder).database.is_file():
        return Standing()
    with _reading(folder, clock) as ledger:
        place = place_of(ledger, plan)
        with ledger.read() as reader:
            size, row = reader.head().size, latest_night(reader, place)
        typed = size if after is None else after
        if row is None:
            return Standing(size=size)
        meant = _meant(ledger, row, plan) if _goes_on(row, edited, typed) else None
        if meant is None and edited is Edited.ASK and row.state != "closed":
            meant = _without_files(_meant(ledger, row, plan), ledger, plan)
        return Standing(size=size, latest=row, meant=meant)


def night_meant(folder: Path, name: str, clock: Clock) -> NightRow | None:
    """A night by its number or name, or None.

    Raises:
        TildawnError: the house cannot be read.
    """
    if not Layout(folder).database.is_file():
        return None
    with _reading(folder, clock) as ledger, ledger.read() as reader:
        return night_called(reader, name)


def _reading(folder: Path, clock: Clock) -> Ledger:
    return Ledger.open(
        folder, registry=REGISTRY, projections=PROJECTIONS, clock=clock, ids=Ids(clock),
        build=BUILD, mode="read",
    )  # fmt: skip


def _goes_on(row: NightRow, edited: Edited, typed: int) -> bool:
    """Whether the latest night is meant for certain."""
    if row.accepted >= typed or row.closed >= typed:
        return True  # by the command that is running
    return edited is Edited.CONTINUE and row.state != "closed"


def _meant(ledger: Ledger, row: NightRow, plan: Path) -> Meant:
    accepted = _accepted(ledger, row)
    return Meant(
        row=row, night=accepted.plan.night, missing=tuple(_missing(accepted.sources, plan.parent))
    )


def _accepted(ledger: Ledger, row: NightRow) -> Accepted:
    with ledger.read() as reader:
        fact, _ = reader.fact(Seq(row.accepted))
    assert isinstance(fact, Fact)
    assert isinstance(fact.data, PlanAccepted)
    return msgspec.json.decode(ledger.blobs.get(fact.data.inputs[ACCEPTED]), type=Accepted)


def _missing(sources: Iterable[Source], folder: Path) -> Iterable[str]:
    for one in sources:
        if one.path and one.role is not Role.INPUT and not Path(folder, one.path).exists():
            yield one.path


def _without_files(meant: Meant, ledger: Ledger, plan: Path) -> Meant | None:
    """The night, when files of it are gone and the plan does not say anything else."""
    if not meant.missing:
        return None
    with ledger.read() as reader:
        text = msgspec.json.decode(reader.payload(Seq(meant.row.accepted), 1), type=str)
    try:
        same = plan.read_bytes().decode("utf-8", "replace") == text
    except FileNotFoundError:
        same = True
    return meant if same else None
