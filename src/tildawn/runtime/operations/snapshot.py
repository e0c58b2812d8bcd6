"""What is asked of snapshots: take one, list them.

What it is not: the way back; `tildawn.runtime.operations.restore` has that.
"""

import asyncio

import msgspec

from tildawn.errors import Misused
from tildawn.ledger.layout import Layout
from tildawn.ledger.snapshot import Snapshot, snapshots
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.operations.house import Nothing
from tildawn.runtime.snapshot import Keeper


class SnapshotInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why, in the owner's words."""

    reason: str = ""


class SnapshotLine(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot: its name and folder, when and why it was taken, and where it ends."""

    name: str
    folder: str
    #: Microseconds since 1970.
    taken_at: int
    why: str
    facts: int
    root: str
    size_bytes: int
    blobs: int
    #: Blobs that the house did not have whole when it was taken.
    damaged: int


class Snapshots(msgspec.Struct, frozen=True, kw_only=True):
    """The snapshots of a house, oldest first."""

    snapshots: tuple[SnapshotLine, ...]


async def _take(desk: Desk, given: SnapshotInput) -> SnapshotLine:
    house = desk.house
    keeper = Keeper(house.folder, house.settings, desk.clock)
    made = await asyncio.to_thread(keeper.take, house.ledger, "asked", reason=given.reason)
    return _line(made)


async def _list(desk: Desk, _: Nothing) -> Snapshots:
    if desk.folder is None:
        message = "no house was named"
        raise Misused(message)
    return Snapshots(snapshots=tuple(_line(one) for one in snapshots(Layout(desk.folder))))


def _line(one: Snapshot) -> SnapshotLine:
    said = one.manifest
    return SnapshotLine(
        name=one.name, folder=str(one.folder), taken_at=said.taken_at, why=said.why,
        facts=said.size, root=said.root, size_bytes=one.size_bytes, blobs=len(said.blobs),
        damaged=len(said.damaged),
    )  # fmt: skip


SNAPSHOT = Operation(
    name="snapshot", input=SnapshotInput, output=SnapshotLine, effect=Effect.WRITE,
    permission=Permission.OWN, run=_take,
    help="Take a snapshot of the house now; it counts once it was opened and verified.",
)  # fmt: skip
SNAPSHOTS = Operation(
    name="snapshots", input=Nothing, output=Snapshots, effect=Effect.NONE,
    permission=Permission.LOOK, run=_list,
    help="List the snapshots of the house.",
)  # fmt: skip
