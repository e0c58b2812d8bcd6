"""How often each route was called and asked again, minute by minute, for the retry budget.

What it is not: a table of its own; it is folded with the calls.
"""

import msgspec

from tildawn.ledger.fold import Get, Put, Row, Table


MINUTE = 60_000_000
"""Microseconds of one slot of a route's history."""

SLOTS = 10
"""Slots kept for each route: ten minutes, the window of the retry budget."""


class PaceRow(Row, frozen=True, kw_only=True):
    """One minute of a route: first attempts and retries; the ring holds ten of them."""

    route: str
    slot: int
    #: Minutes since 1970.
    minute: int
    calls: int
    retries: int


PACE = Table(name="route_minute", row=PaceRow, key=("route", "slot"))


def counted(route: str, minute: int, again: bool, get: Get) -> Put:
    """The minute of a route after one more attempt; ``again`` for one that is not the first.

    Raises:
        Nothing.
    """
    slot = minute % SLOTS
    row = get(PaceRow, route, slot)
    if row is None or row.minute != minute:
        row = PaceRow(route=route, slot=slot, minute=minute, calls=0, retries=0)
    return Put(
        msgspec.structs.replace(
            row, calls=row.calls + int(not again), retries=row.retries + int(again)
        )
    )
