"""The making of permits: what must hold, and the fact.

What it is not: the use of them; that is judged as a call is dispatched.
"""

from collections.abc import Sequence

import msgspec

from tildawn.errors import BadValue, NotPermitted
from tildawn.facts.permit import PermitMinted
from tildawn.guard.authority import Link, unusable
from tildawn.guard.glob import check_glob
from tildawn.guard.permit import DEPTH_MOST, WHY, Grant, narrower, spelled
from tildawn.ledger.entry import Entry
from tildawn.ledger.fold import Expect, Row
from tildawn.ledger.ledger import Ledger
from tildawn.projections.permit import PermitUseRow
from tildawn.units import Micros


GLOBS_MOST = 50
"""Routes, or addresses, that one permit names."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a permit belongs: to a parent, or to a part of an item of a night."""

    parent: str = ""
    night: str = ""
    item: str = ""
    part: str = ""


def checked(grant: Grant) -> Grant:
    """The grant with its operations spelled out, if it can be a permit.

    Raises:
        NotPermitted: an operation is none.
        BadValue: a pattern is none, or there are too many, or a limit is below zero.
    """
    resources = grant.resources or ()
    for globs in (grant.routes, resources):
        if len(globs) > GLOBS_MOST:
            message = f"a permit names at most {GLOBS_MOST} patterns, not {len(globs)}"
            raise BadValue(message, hint="use patterns that stand for several, such as shop:*")
        for glob in globs:
            check_glob(glob)
    if grant.max_calls < -1 or grant.max_cost < -1 or grant.expires_at < 0:
        message = "a limit of a permit is below zero"
        raise BadValue(message, hint="leave it out where there is to be none")
    return msgspec.structs.replace(
        grant, operations=frozenset(spelled(grant.operations)), resources=resources
    )


def below(chain: Sequence[Link], grant: Grant) -> NotPermitted | None:
    """Why a child may not hang on a parent, given the parent's chain; None where it may.

    Raises:
        Nothing.
    """
    parent = chain[0]
    hint = f"tildawn permit show {parent.permit}"
    if len(chain) >= DEPTH_MOST:
        message = f"permit {parent.permit} is the child of {len(chain) - 1} others already"
    elif wider := narrower(grant, parent.grant):
        message = f"the {wider} of the child are wider than those of permit {parent.permit}"
    else:
        return None
    return NotPermitted(
        message, hint=hint, reason="wider", permit=parent.permit, operation="mint", route=""
    )


def minted(
    ledger: Ledger, permit: str, grant: Grant, *, place: Place | None = None, purpose: str = ""
) -> Entry:
    """The fact that makes a permit.

    Args:
        ledger: drafts it and salts its texts.
        permit: its name, a fresh UUIDv7.
        grant: see `checked`.
        place: where it belongs.
        purpose: for people.

    Raises:
        BadValue: a value is outside the profile of bodies.
    """
    at = place or Place()
    globs = ledger.payload(msgspec.json.encode(grant.resources)) if grant.resources else None
    why = ledger.payload(msgspec.json.encode(purpose)) if purpose else None
    data = PermitMinted(
        permit=permit, parent=at.parent, operations=tuple(sorted(grant.operations)),
        routes=grant.routes, resources=globs.digest if globs else "", run=grant.run,
        attempt=grant.attempt, night=at.night, item=at.item, part=at.part,
        expires_at=grant.expires_at, max_calls=grant.max_calls,
        max_cost_micro_usd=grant.max_cost, purpose=why.digest if why else "",
    )  # fmt: skip
    return ledger.draft(data, actor="owner", payloads=(globs, why))


def standing(permit: str, now: Micros) -> Expect:
    """What must hold of a parent for a child, or of a permit for a token: it is not over.

    Raises:
        Nothing.
    """

    def stands(row: Row | None) -> bool:
        return isinstance(row, PermitUseRow) and unusable(row, now) in {"", "calls"}

    return Expect(row=PermitUseRow, key=(permit,), test=stands, why=WHY)
