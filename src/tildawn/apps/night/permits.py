"""The permits of a night: what the runs of an item may do, and what may be done to check them.

What it is not: their judgement; the guard makes that as a call is dispatched.  An item without
a permit does its work with the authority of the owner, whose plan it is; its checks never do.
"""

from msgspec import UNSET

from tildawn.facts.plan import Item, Plan
from tildawn.guard.mint import Place, checked, minted
from tildawn.guard.permit import Grant
from tildawn.ids import Ids
from tildawn.ledger.entry import Entry
from tildawn.ledger.ledger import Ledger
from tildawn.units import Micros


WORK, CHECKS = "work", "checks"
"""The parts of an item that have a permit each."""

_LOOKS = {"http": ("http:GET", "http:HEAD"), "command": ("shell",)}
"""What a check needs beside reading of its own; by the kind of evidence.

# HOLE: a command is trusted to only look; its permit says that it may run, not what it does.
"""


def permits_of(ledger: Ledger, ids: Ids, plan: Plan, night: str, *, now: Micros) -> list[Entry]:
    """The facts that make the permits of a night, for the append that accepts it.

    Args:
        ledger: drafts them.
        ids: names them.
        plan: what is accepted.
        night: its name.
        now: the instant, from which a permit's time counts.

    Raises:
        NotPermitted: the plan names an operation that is none.
        BadValue: the plan names a pattern that is none.
    """
    entries: list[Entry] = []
    for item in plan.items:
        for part, grant in _grants(item, now):
            place = Place(night=night, item=item.id, part=part)
            entries.append(minted(ledger, ids.new(), checked(grant), place=place))
    return entries


def _grants(item: Item, now: Micros) -> list[tuple[str, Grant]]:
    found: list[tuple[str, Grant]] = []
    said = item.permit
    if said is not UNSET:
        found.append((WORK, Grant(
            operations=frozenset(said.operations), routes=said.routes, resources=said.resources,
            expires_at=0 if said.expires is None else now + said.expires,
            max_calls=-1 if said.max_calls is None else said.max_calls,
            max_cost=-1 if said.max_cost is None else said.max_cost,
        )))  # fmt: skip
    if item.evidence:
        needed = {word for one in item.evidence for word in _LOOKS.get(one.kind, ())}
        # Looking costs nothing: a check that could spend could change something.
        found.append((CHECKS, Grant(operations=frozenset(needed), max_cost=0)))
    return found
