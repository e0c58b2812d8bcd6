"""What is asked of anchors: how they stand, to anchor now, and to verify the ledger against them.

What it is not: the places themselves; `tildawn.runtime.anchors` asks them.
"""

import asyncio
import os

import msgspec

from tildawn.ledger.checkpoint import parse_checkpoint
from tildawn.ledger.keyring import SigningRow
from tildawn.ledger.note import Verifier
from tildawn.ledger.reader import Reader
from tildawn.ledger.verify import verify
from tildawn.projections.anchor import origin_now
from tildawn.runtime.anchors import Anchors, Standing
from tildawn.runtime.debts import AnchorLine, anchor_lines
from tildawn.runtime.house import House
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.operations.house import Nothing
from tildawn.runtime.places import places_of
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY


ALONE = (
    "what you run yourself shows what another disk or machine saw; it proves nothing to those who"
    " do not trust you"
)
"""Said with every proof: none of these places is independent of its owner."""


class AnchorList(msgspec.Struct, frozen=True, kw_only=True):
    """Every anchor of the settings, and the key that a witness needs to know (empty for none)."""

    anchors: tuple[AnchorLine, ...]
    key: str


class AnchorInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which anchors; all when empty."""

    names: tuple[str, ...] = ()


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What came of asking; `exit_code` is 0 when all have it, 4 broken, 3 anything missing."""

    standings: tuple[Standing, ...]
    #: Of the newest checkpoint, 0 for none.
    facts: int
    #: What it comes to, or why nobody was asked.
    what: str
    #: What these places cannot prove.
    note: str = ALONE
    exit_code: int


async def _list(desk: Desk, _: Nothing) -> AnchorList:
    house = desk.house
    with house.ledger.read() as reader:
        lines = anchor_lines(reader, house.settings.anchor, desk.clock.wall())
        return AnchorList(anchors=lines, key=_key(reader))


async def _now(desk: Desk, given: AnchorInput) -> Asked:
    house = desk.house
    await asyncio.to_thread(house.ledger.checkpoint)
    if house.anchors is not None:
        return _told(house, await house.anchors.now(given.names))
    anchors = _made(desk)
    try:
        return _told(house, await anchors.now(given.names))
    finally:
        await anchors.close()


async def _verify(desk: Desk, given: AnchorInput) -> Asked:
    house = desk.house
    # The tree is taken from marks and leaves; that these are those of the bodies is shown here.
    found = await asyncio.to_thread(
        verify, house.folder, registry=REGISTRY, projections=PROJECTIONS, hashes_only=True
    )
    if found.exit_code:
        return Asked(standings=(), facts=found.size, what=found.what, exit_code=found.exit_code)
    anchors = _made(desk)
    try:
        return _told(house, await anchors.check(given.names))
    finally:
        await anchors.close()


def _made(desk: Desk) -> Anchors:
    house = desk.house
    places = places_of(
        house.settings.anchor, folder=house.folder, clock=house.clock, env=os.environ
    )
    return Anchors(house.ledger, places, house.clock)


def _told(house: House, standings: tuple[Standing, ...]) -> Asked:
    with house.ledger.read() as reader:
        note = reader.checkpoint()
    size = 0 if note is None else parse_checkpoint(note.text).size
    if not standings:
        what = "no anchor is set: nobody else knows how long this ledger was"
        return Asked(standings=(), facts=size, what=what, exit_code=3)
    codes = {one.exit_code for one in standings}
    code = 4 if 4 in codes else max(codes)  # noqa: PLR2004 - broken outweighs missing
    return Asked(standings=standings, facts=size, what=_WHAT[code], exit_code=code)


_WHAT = {
    0: "every place has seen the beginning of this ledger",
    3: "not every place could say that it has seen the beginning of this ledger",
    4: "a place has seen a longer or another ledger",
}


def _key(reader: Reader) -> str:
    row = reader.get(SigningRow, 0)
    if row is None or not row.public:
        return ""
    return Verifier(origin_now(reader), bytes.fromhex(row.public)).dump()


LIST = Operation(
    name="anchor.list", input=Nothing, output=AnchorList, effect=Effect.READ,
    permission=Permission.LOOK, run=_list,
    help="Say what each anchor has of the ledger, and since when it owes more.",
)  # fmt: skip
NOW = Operation(
    name="anchor.now", input=AnchorInput, output=Asked, effect=Effect.WRITE,
    permission=Permission.OWN, run=_now,
    help="Sign the ledger as it is and have the anchors keep it, now.",
)  # fmt: skip
VERIFY = Operation(
    name="anchor.verify", input=AnchorInput, output=Asked, effect=Effect.READ,
    permission=Permission.LOOK, run=_verify,
    help="Prove the ledger against what each anchor has: 0 proven, 4 broken, 3 missing.",
)  # fmt: skip
