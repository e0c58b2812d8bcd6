"""What is asked about the second copy of the ledger: how it stands, whether it is one, and to use it.

What it is not: the copy itself; it is written beside every commit, or soon after.
"""

import asyncio

import msgspec

from tildawn.errors import BadSetting, Misused
from tildawn.facts.mirror import MirrorPrevailed
from tildawn.ledger.layout import Layout
from tildawn.ledger.likeness import compare, standing
from tildawn.ledger.mirror import Wish
from tildawn.ledger.recovery import Recovered, recover
from tildawn.ledger.verdict import Verdict
from tildawn.projections.mirror import MirrorRow
from tildawn.runtime.house import House
from tildawn.runtime.mirror import wish_of
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.operations.house import Nothing
from tildawn.runtime.version import BUILD
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY


class MirrorNow(msgspec.Struct, frozen=True, kw_only=True):
    """How the mirror stands, as its folder and the record say.

    ``behind`` is how many facts it lacks, negative when it has more than the ledger; ``lost``
    and ``since`` are as the record has them, and ``why`` in one word; ``trouble`` says in words
    why the folder cannot be reached now.
    """

    mode: str
    folder: str
    reached: bool
    facts: int
    behind: int
    lost: bool
    since: int
    why: str
    trouble: str
    losses: int
    brought: int


async def _show(desk: Desk, _: Nothing) -> MirrorNow:
    house = desk.house
    wish = wish_of(house.folder, desk.config.settings)
    with house.ledger.read() as reader:
        row = reader.get(MirrorRow, 0)
    if wish is None:
        return MirrorNow(
            mode="off", folder="", reached=False, facts=0, behind=0, lost=False, since=0, why="",
            trouble="", losses=row.losses if row else 0, brought=row.brought if row else 0,
        )  # fmt: skip
    found = await asyncio.to_thread(standing, Layout(house.folder), wish)
    return MirrorNow(
        mode=wish.mode, folder=str(wish.folder), reached=found.reached, facts=found.facts,
        behind=found.behind, lost=row is not None and bool(row.lost),
        since=row.since if row else 0, why=row.why if row else "", trouble=found.why,
        losses=row.losses if row else 0, brought=row.brought if row else 0,
    )  # fmt: skip


class MirrorVerified(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a comparison; `exit_code` is 0 the same, 4 another, 3 not all there."""

    state: str
    what: str
    #: The first fact concerned, None where there is none.
    seq: int | None
    facts: int
    root: str
    exit_code: int


async def _verify(desk: Desk, _: Nothing) -> MirrorVerified:
    found = await asyncio.to_thread(_compared, desk)
    return MirrorVerified(
        state=found.state.value, what=found.what, seq=found.seq, facts=found.size,
        root=found.root, exit_code=found.exit_code,
    )  # fmt: skip


def _compared(desk: Desk) -> Verdict:
    assert desk.folder is not None, "a face names the folder"
    return compare(Layout(desk.folder), _wish(desk))


async def _recover(desk: Desk, _: Nothing) -> Recovered:
    if desk.folder is None:
        message = "no house was named"
        raise Misused(message)
    wish = _wish(desk)
    made = recover(
        desk.folder, wish.folder, registry=REGISTRY, projections=PROJECTIONS, clock=desk.clock,
        build=BUILD,
    )  # fmt: skip
    # A crash here leaves a whole house whose record does not say that it was made anew.
    with House.open(desk.folder, desk.config.settings, mode="write", clock=desk.clock) as house:
        said = MirrorPrevailed(count=made.facts, whole=True)
        await house.ledger.append([house.ledger.draft(said, actor="owner")])
    return made


def _wish(desk: Desk) -> Wish:
    if desk.folder is None:
        message = "no house was named"
        raise Misused(message)
    wish = wish_of(desk.folder, desk.config.settings)
    if wish is None:
        message = "this house has no mirror"
        raise BadSetting(message, hint='set ledger.mirror to "sync-degrade" and name a folder')
    return wish


MIRROR = Operation(
    name="mirror", input=Nothing, output=MirrorNow, effect=Effect.READ,
    permission=Permission.LOOK, run=_show,
    help="Say how the second copy of the ledger stands.",
)  # fmt: skip
MIRROR_VERIFY = Operation(
    name="mirror.verify", input=Nothing, output=MirrorVerified, effect=Effect.NONE,
    permission=Permission.LOOK, run=_verify,
    help="Compare the second copy with the ledger, fact by fact.",
)  # fmt: skip
MIRROR_RECOVER = Operation(
    name="mirror.recover", input=Nothing, output=Recovered, effect=Effect.NONE,
    permission=Permission.OWN, run=_recover,
    help="Make a lost ledger anew from its second copy; nothing that is there is replaced.",
)  # fmt: skip
