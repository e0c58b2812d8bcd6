"""What is asked about a quarantine of the house: how it stands, and to lift it.

What it is not: the finding that led to it; `tildawn verify` looks again.
"""

import msgspec

from tildawn.errors import Misused
from tildawn.facts.quarantine import QuarantineLifted
from tildawn.ledger.entry import Committed
from tildawn.ledger.fold import Expect, Row
from tildawn.projections.quarantine import QuarantinedRow, quarantine_of
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.operations.house import Nothing
from tildawn.runtime.stops import Stop, stops_of


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the house is in quarantine, since when (0 for never), and all that stops work."""

    quarantined: bool
    since: int
    why: str
    table: str
    times: int
    stops: tuple[Stop, ...]


class LiftInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why the house may work again; it is kept with the fact."""

    reason: str


async def _show(desk: Desk, _: Nothing) -> Standing:
    house = desk.house
    with house.ledger.read() as reader:
        row, stops = quarantine_of(reader), stops_of(reader, house.folder)
    if row is None:
        return Standing(quarantined=False, since=0, why="", table="", times=0, stops=stops)
    return Standing(
        quarantined=True, since=row.at, why=row.why, table=row.about, times=row.times, stops=stops
    )


async def _lift(desk: Desk, given: LiftInput) -> Standing:
    if not given.reason.strip():
        message = "a quarantine is lifted with a reason"
        raise Misused(message, hint='tildawn quarantine lift --reason "…"')
    house = desk.house
    reason = house.ledger.payload(msgspec.json.encode(given.reason))
    entry = house.ledger.draft(
        QuarantineLifted(reason=reason.digest), actor="owner", payloads=(reason,)
    )
    answer = await house.ledger.append([entry], expect=[_stands()])
    if not isinstance(answer, Committed):
        message = "the house is not in quarantine"
        raise Misused(message, hint="tildawn status")
    house.stops.look()
    return await _show(desk, Nothing())


def _stands() -> Expect:
    def test(row: Row | None) -> bool:
        return isinstance(row, QuarantinedRow) and row.seq >= 0

    return Expect(row=QuarantinedRow, key=(0,), test=test, why="not quarantined")


QUARANTINE = Operation(
    name="quarantine", input=Nothing, output=Standing, effect=Effect.READ,
    permission=Permission.LOOK, run=_show,
    help="Say whether new work may begin in the house, and if not, why.",
)  # fmt: skip
LIFT = Operation(
    name="quarantine.lift", input=LiftInput, output=Standing, effect=Effect.WRITE,
    permission=Permission.OWN, run=_lift,
    help="Let a house in quarantine work again.",
)  # fmt: skip
