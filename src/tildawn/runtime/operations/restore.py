"""What is asked about going back: a plan, the restore itself, and the drill that proves it.

What it is not: run by the process that holds the pen; going back needs the pen free.
"""

import asyncio
import os
import shutil
import tempfile
from contextlib import closing
from pathlib import Path

import msgspec

from tildawn.clock import Clock
from tildawn.errors import HouseUnusable, Misused
from tildawn.facts.call import CallDispatched
from tildawn.ids import Ids
from tildawn.ledger.archive import Archive
from tildawn.ledger.blobs import Blobs
from tildawn.ledger.layout import Layout
from tildawn.ledger.opening import Setup
from tildawn.ledger.pen import Pen
from tildawn.ledger.restore import Wish, restore
from tildawn.ledger.secret import Secrets, secret_in
from tildawn.ledger.source import Source, choose
from tildawn.ledger.sqlite.prefix import Left
from tildawn.ledger.swap import decided
from tildawn.runtime.drill import Drilled, drill
from tildawn.runtime.mirror import wish_of
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.restore import Lost, LostCall, carry, lost_since, point_of
from tildawn.runtime.secret import configure
from tildawn.runtime.version import BUILD
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY


class RestoreInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to go back to: ``latest``, a number of facts, or a time; and from which snapshot.

    ``plan`` only says what would be done.
    """

    to: str
    source: str = ""
    plan: bool = False
    reason: str = ""


class SentSince(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was sent behind the point: its last attempt, and what became of it."""

    seq: int
    at: int
    run: str
    path: str
    name: str
    route: str
    repeat: str
    #: none, applied or unknown.
    effect: str
    spend_micro_usd: int


class Restore(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, or would be with ``planned``.

    The house has ``facts`` of the ``before`` facts that it had; ``source`` is ledger or the name
    of a snapshot.
    """

    planned: bool
    source: str
    facts: int
    before: int
    #: Whether what is left can be read; without it nobody knows what was sent.
    readable: bool
    #: Runs that were accepted behind the point, and are gone with it.
    runs: tuple[str, ...]
    calls: tuple[SentSince, ...]
    #: Runs whose calls must not be sent again, or that are held because nobody knows.
    doubted: int = 0
    #: Facts about payloads that were erased behind the point, and stay erased.
    erased: int = 0
    #: Of the house from now on, and the epoch that the pen goes on from.
    house: str = ""
    epoch: int = 0
    #: Where the old house is.
    aside: str = ""
    #: Blobs that nobody has any more.
    missing: tuple[str, ...] = ()
    #: Keys that are not there; snapshots hold none.
    keys: tuple[str, ...] = ()


async def _restore(desk: Desk, given: RestoreInput) -> Restore:
    return await asyncio.to_thread(_go_back, desk, given)


def _go_back(desk: Desk, given: RestoreInput) -> Restore:
    layout, setup = _layout(desk), _setup(desk.clock)
    wish = Wish(
        to=point_of(given.to, desk.config.settings.house.zone),
        source=Path(given.source).absolute() if given.source else None, reason=given.reason,
    )  # fmt: skip
    if given.plan:
        return _planned(layout, setup, wish)
    _refuse_secret(desk, given.reason)
    mirror = wish_of(layout.folder, desk.config.settings)
    setup = msgspec.structs.replace(setup, mirror=mirror)
    pen = Pen.take(layout.pen, clock=desk.clock, build=BUILD)
    try:
        done = restore(layout, setup, wish, carry)
    finally:
        pen.lay()
    said, lost = done.said, _lost(Layout(done.aside), layout, setup, done.size)
    return msgspec.structs.replace(
        _told(lost, said.source, done.size, said.from_size),
        planned=False, doubted=said.doubted, erased=said.erased, house=said.name,
        epoch=said.epoch, aside=str(done.aside), missing=done.missing, keys=_keys(layout),
    )  # fmt: skip


def _refuse_secret(desk: Desk, reason: str) -> None:
    """No ledger is open yet that would look."""
    secrets = Secrets()
    configure(secrets, desk.config.settings, os.environ)
    what = secrets.found(msgspec.json.encode(reason))
    if what:
        field = "HouseRestored.reason"
        raise secret_in(field, what)


def _planned(layout: Layout, setup: Setup, wish: Wish) -> Restore:
    """Without the pen: the house may go on meanwhile, and then more would be left."""
    if decided(layout) is not None:
        message = "a restore was cut off, and is finished by who writes next"
        raise HouseUnusable(message, hint="tildawn up")
    place = Path(tempfile.mkdtemp(prefix=".plan-", dir=layout.folder))
    try:
        source: Source = choose(layout, wish.to, place=place, only=wish.source)
        lost = _lost(layout, layout, setup, source.size)
        told = _told(lost, source.name, source.size, _size(layout, setup))
    finally:
        shutil.rmtree(place)
    return msgspec.structs.replace(told, keys=_keys(layout))


def _told(lost: Lost | None, source: str, facts: int, before: int) -> Restore:
    return Restore(
        planned=True, source=source, facts=facts, before=before, readable=lost is not None,
        runs=lost.runs if lost else (),
        calls=tuple(_sent_since(one) for one in lost.calls) if lost else (),
    )  # fmt: skip


def _sent_since(one: LostCall) -> SentSince:
    said: CallDispatched = one.said
    return SentSince(
        seq=one.seq, at=one.at, run=one.run, path=one.path, name=said.name, route=said.route,
        repeat=said.repeat, effect=one.effect, spend_micro_usd=one.spend,
    )  # fmt: skip


def _lost(where: Layout, layout: Layout, setup: Setup, size: int) -> Lost | None:
    with closing(_left(where, layout, setup)) as left:
        if left.reader is None or not left.whole_from(size):
            return None
        return lost_since(left.reader, size)


def _size(layout: Layout, setup: Setup) -> int:
    with closing(_left(layout, layout, setup)) as left:
        return left.reader.head().size if left.reader is not None else 0


def _left(where: Layout, layout: Layout, setup: Setup) -> Left:
    blobs, archive = Blobs(layout.blobs, setup.clock), Archive(where.archive)
    return Left(where.database, setup.projections, setup.registry, blobs, archive)


def _keys(layout: Layout) -> tuple[str, ...]:
    return tuple(str(path) for path in (layout.key, layout.signing_key) if not path.exists())


def _layout(desk: Desk) -> Layout:
    if desk.folder is None:
        message = "no house was named"
        raise Misused(message)
    layout = Layout(desk.folder)
    if not layout.folder.is_dir():
        message = f"there is no house in {layout.folder.parent}"
        raise HouseUnusable(message, hint="tildawn init")
    return layout


def _setup(clock: Clock) -> Setup:
    return Setup(
        registry=REGISTRY, projections=PROJECTIONS, clock=clock, ids=Ids(clock), build=BUILD
    )


class DrillInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The seed of the position that is tried beside the end; a fresh one when absent."""

    seed: int | None = None


async def _drill(desk: Desk, given: DrillInput) -> Drilled:
    return await asyncio.to_thread(drill, _layout(desk), _setup(desk.clock), given.seed)


RESTORE = Operation(
    name="restore", input=RestoreInput, output=Restore, effect=Effect.NONE,
    permission=Permission.OWN, run=_restore,
    help="Go back to an earlier state of the house; what is left is put aside, not deleted.",
)  # fmt: skip
DRILL = Operation(
    name="drill", input=DrillInput, output=Drilled, effect=Effect.NONE,
    permission=Permission.OWN, run=_drill,
    help="Prove on a copy that the newest snapshot can be gone back to.",
)  # fmt: skip
