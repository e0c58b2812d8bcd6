"""Permits: make one, a token for one, look at them, revoke one.

What it is not: the judgement of a call; the guard makes that in the commit of the dispatch.
"""

from typing import cast

import msgspec

from tildawn.errors import BadValue, Misused, NotPermitted, PayloadErased, UnknownName
from tildawn.facts.permit import GROUPS, PermitRevoked, TokenMinted
from tildawn.guard.authority import Link, chain_of, grant_of, unusable
from tildawn.guard.mint import Place, below, checked, minted, standing
from tildawn.guard.permit import Grant
from tildawn.ledger.entry import Committed
from tildawn.ledger.reader import Reader
from tildawn.projections.budget import budget_of
from tildawn.projections.permit import (
    SCOPE,
    PermitRow,
    PermitUseRow,
    TokenRow,
    permits,
    permits_called,
)
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.operations.naming import PART_LEAST, run_meant
from tildawn.runtime.token import fresh_token, put_on_record, token_digest
from tildawn.units import Micros, Seq, duration, usd


NEVER = "never"
"""Instead of a duration: the permit does not expire."""

_PURPOSE = 1
"""The slot of the purpose among the texts of a minted permit."""


class MintInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a new permit allows; with a ``parent``, whatever is left out is as the parent has it.

    ``operations`` are words such as ``chat`` or ``http:GET``, or groups such as ``read``;
    ``expires`` is a duration such as ``8h``, or ``never``; ``max_cost`` an amount such as ``1.00``.
    """

    operations: tuple[str, ...]
    routes: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    run: str = ""
    expires: str = ""
    max_calls: int | None = None
    max_cost: str = ""
    parent: str = ""
    purpose: str = ""
    #: Make a token as well, and say it once.
    token: bool = False


class PermitsInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether those that are over are listed too."""

    everything: bool = False


class PermitInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which permit, by its name or enough of its beginning or end."""

    permit: str


class RevokeInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which permit is to allow nothing any more, and why."""

    permit: str
    reason: str = ""


class PermitLine(msgspec.Struct, frozen=True, kw_only=True):
    """One permit; instants are microseconds since 1970, 0 for never, amounts millionths of a dollar.

    ``resources`` is null where they were erased.  ``state`` is open, spent, expired, revoked, or
    ``cut off`` where a parent is over.
    """

    permit: str
    parent: str
    state: str
    operations: tuple[str, ...]
    routes: tuple[str, ...]
    resources: tuple[str, ...] | None
    run: str
    attempt: int
    night: str
    item: str
    part: str
    minted_at: int
    expires_at: int
    calls: int
    max_calls: int | None
    spent_micro_usd: int
    promised_micro_usd: int
    max_cost_micro_usd: int | None
    refused: int
    tokens: int
    purpose: str


class Permits(msgspec.Struct, frozen=True, kw_only=True):
    """Permits, newest first."""

    permits: tuple[PermitLine, ...]


class Minted(msgspec.Struct, frozen=True, kw_only=True):
    """The new permit, and its token if one was asked for: it is shown this once."""

    permit: PermitLine
    token: str = ""


async def _mint(desk: Desk, given: MintInput) -> Minted:
    ledger, now = desk.house.ledger, desk.clock.wall()
    if not given.operations:
        message = "a permit without operations allows nothing"
        raise Misused(message, hint=f"--operations {','.join(GROUPS)} or one of them")
    if given.token and not (given.expires or given.parent):
        message = "a token needs an end"
        raise Misused(message, hint="--expires 8h, or --expires never if it is to have none")
    with ledger.read() as reader:
        chain = chain_of(reader, _meant(reader, given.parent).permit) if given.parent else ()
        grant = checked(_granted(reader, given, chain, now))
    if chain and (error := below(chain, grant)) is not None:
        await put_on_record(ledger, error)
        raise error
    permit = desk.house.ids.new()
    parent = chain[0].permit if chain else ""
    entries = [minted(ledger, permit, grant, place=Place(parent=parent), purpose=given.purpose)]
    token = fresh_token(desk.house.ids.random) if given.token else ""
    if token:
        entries.append(ledger.draft(TokenMinted(digest=token_digest(token), permit=permit)))
    # A crash here leaves a permit whose token nobody has seen; it is listed and can be revoked.
    answer = await ledger.append(entries, expect=[standing(link.permit, now) for link in chain])
    if not isinstance(answer, Committed):
        over = cast("PermitUseRow", answer.row).permit
        error = NotPermitted(
            f"permit {over} is over, so nothing can hang on it",
            hint=f"tildawn permit show {over}", permit=over, operation="mint", route="",
            reason=unusable(cast("PermitUseRow", answer.row), now),
        )  # fmt: skip
        await put_on_record(ledger, error)
        raise error
    return Minted(permit=_shown(desk, permit), token=token)


def _granted(reader: Reader, given: MintInput, chain: tuple[Link, ...], now: Micros) -> Grant:
    parent = chain[0].grant if chain else Grant()
    expires = parent.expires_at
    if given.expires:
        expires = 0 if given.expires == NEVER else now + duration(given.expires)
    if given.max_calls is not None and given.max_calls < 0:
        message = f"{given.max_calls} is no number of calls"
        raise BadValue(message, hint="write a whole number from 0 upwards")
    return Grant(
        operations=frozenset(given.operations),
        routes=given.routes or parent.routes,
        resources=given.resources or parent.resources,
        run=run_meant(reader, given.run).run if given.run else parent.run,
        attempt=parent.attempt,
        expires_at=expires,
        max_calls=parent.max_calls if given.max_calls is None else given.max_calls,
        max_cost=usd(given.max_cost) if given.max_cost else parent.max_cost,
    )


async def _list(desk: Desk, given: PermitsInput) -> Permits:
    now = desk.clock.wall()
    with desk.house.ledger.read() as reader:
        lines = [_line(reader, row, now) for row in permits(reader)]
    shown = [one for one in lines if given.everything or one.state in {"open", "spent"}]
    return Permits(permits=tuple(shown))


async def _show(desk: Desk, given: PermitInput) -> PermitLine:
    with desk.house.ledger.read() as reader:
        return _line(reader, _meant(reader, given.permit), desk.clock.wall())


async def _revoke(desk: Desk, given: RevokeInput) -> PermitLine:
    ledger = desk.house.ledger
    with ledger.read() as reader:
        row = _meant(reader, given.permit)
    reason = ledger.payload(msgspec.json.encode(given.reason)) if given.reason else None
    data = PermitRevoked(permit=row.permit, reason=reason.digest if reason else "")
    await ledger.append([ledger.draft(data, actor="owner", payloads=(reason,))])
    return _shown(desk, row.permit)


def _shown(desk: Desk, permit: str) -> PermitLine:
    with desk.house.ledger.read() as reader:
        return _line(reader, _meant(reader, permit), desk.clock.wall())


def _meant(reader: Reader, said: str) -> PermitRow:
    name = said.strip().lower()
    found = permits_called(reader, name) if len(name) >= PART_LEAST else []
    if len(found) == 1:
        return found[0]
    if not found:
        message = f"no permit is called {said}"
        raise UnknownName(message, hint="tildawn permit list")
    message = f"{said} can mean {len(found)} permits"
    raise Misused(message, hint="write more of its name, or its end")


def _line(reader: Reader, row: PermitRow, now: int) -> PermitLine:
    use = reader.get(PermitUseRow, row.permit)
    assert use is not None, "a permit has a row for its use"
    grant, money = grant_of(reader, row), budget_of(reader, SCOPE + row.permit)
    return PermitLine(
        permit=row.permit, parent=next(iter(row.chain.split("\n")[1:]), ""),
        state=_state(reader, row, now), operations=tuple(sorted(grant.operations)),
        routes=grant.routes, resources=grant.resources, run=row.run, attempt=row.attempt,
        night=row.night, item=row.item, part=row.part, minted_at=row.minted_at,
        expires_at=row.expires_at, calls=use.calls,
        max_calls=row.max_calls if row.max_calls >= 0 else None,
        spent_micro_usd=money.spent if money else 0,
        promised_micro_usd=money.reserved + money.held if money else 0,
        max_cost_micro_usd=row.max_cost if row.max_cost >= 0 else None, refused=use.refused,
        tokens=len(reader.rows(TokenRow, "permit = ?", (row.permit,))),
        purpose=_purpose(reader, row),
    )  # fmt: skip


def _state(reader: Reader, row: PermitRow, now: int) -> str:
    states: list[str] = []
    for one in row.chain.split("\n"):
        use = reader.get(PermitUseRow, one)
        if use is None or use.revoked >= 0:
            states.append("revoked")
        elif use.expires_at and now >= use.expires_at:
            states.append("expired")
        else:
            states.append("spent" if 0 <= use.max_calls <= use.calls else "open")
    if states[0] != "open":
        return states[0]
    return "open" if set(states) == {"open"} else "cut off"


def _purpose(reader: Reader, row: PermitRow) -> str:
    try:
        return msgspec.json.decode(reader.payload(Seq(row.minted), _PURPOSE), type=str)
    except UnknownName:
        return ""
    except PayloadErased:
        return "erased"


PERMITS = Operation(
    name="permits", input=PermitsInput, output=Permits, effect=Effect.READ,
    permission=Permission.LOOK, run=_list,
    help="List permits: what each allows, how much of it is used, when it ends.",
)  # fmt: skip
PERMIT = Operation(
    name="permit", input=PermitInput, output=PermitLine, effect=Effect.READ,
    permission=Permission.LOOK, run=_show,
    help="Show one permit.",
)  # fmt: skip
MINT = Operation(
    name="permit.mint", input=MintInput, output=Minted, effect=Effect.WRITE,
    permission=Permission.OWN, run=_mint,
    help="Make a permit, and a token for somebody outside if asked to.",
)  # fmt: skip
REVOKE = Operation(
    name="permit.revoke", input=RevokeInput, output=PermitLine, effect=Effect.WRITE,
    permission=Permission.OWN, run=_revoke,
    help="End a permit, its children and its tokens at once.",
)  # fmt: skip
