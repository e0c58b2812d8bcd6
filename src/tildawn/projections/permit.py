"""Permits as they are now: what each was made with, how much of it is used, and who was refused.

What it is not: money; a permit is a budget scope, ``permit/ID``, and its row says what it cost.
Nor the passing of time: that a permit has expired is judged by whoever knows what time it is.
"""

from collections.abc import Iterable
from typing import cast

import msgspec

from tildawn.facts.call import CallDispatched
from tildawn.facts.fact import Fact
from tildawn.facts.permit import PermitMinted, PermitRefused, PermitRevoked, TokenMinted
from tildawn.ledger.fold import Add, Change, Get, Projection, Put, Row, Table
from tildawn.ledger.sqlite.reader import Reader
from tildawn.units import Seq


SCOPE = "permit/"
"""How the budget scope of a permit begins."""


class PermitRow(Row, frozen=True, kw_only=True):
    """A permit as it was minted; lists are joined by line feeds."""

    permit: str
    #: Itself, its parent, and so on to the first.
    chain: str
    operations: str
    routes: str
    #: 1 where addresses are limited; they stand with the fact at ``minted``.
    addressed: int
    run: str
    attempt: int
    night: str
    item: str
    part: str
    expires_at: int
    max_calls: int
    max_cost: int
    minted: int
    minted_at: int


class PermitUseRow(Row, frozen=True, kw_only=True):
    """What changes about a permit, with the limits that a commit judges it by."""

    permit: str
    max_calls: int
    expires_at: int
    calls: int
    refused: int
    #: Position of its revocation, -1 for none.
    revoked: int


class RefusedRow(Row, frozen=True, kw_only=True):
    """One thing that a permit did not allow."""

    seq: int
    at: int
    permit: str
    run: str
    path: str
    operation: str
    route: str
    why: str


class TokenRow(Row, frozen=True, kw_only=True):
    """The permit of whoever shows the token with this digest."""

    digest: str
    permit: str
    minted: int


TABLES = (
    Table(
        name="permit",
        row=PermitRow,
        key=("permit",),
        sql=("CREATE INDEX {table}_night ON {table}(night, item, part) WHERE night <> ''",),
    ),
    Table(name="permit_use", row=PermitUseRow, key=("permit",)),
    Table(
        name="permit_refused",
        row=RefusedRow,
        key=("seq",),
        sql=("CREATE INDEX {table}_at ON {table}(at)",),
    ),
    Table(name="token", row=TokenRow, key=("digest",)),
)


def _mint(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("PermitMinted", fact.data)
    parent = get(PermitRow, said.parent) if said.parent else None
    # A parent that is not on record stays in the chain: what hangs on it is not allowed.
    above = parent.chain if parent is not None else said.parent
    yield Add(
        PermitRow(
            permit=said.permit,
            chain=f"{said.permit}\n{above}" if above else said.permit,
            operations="\n".join(said.operations),
            routes="\n".join(said.routes),
            addressed=int(bool(said.resources)),
            run=said.run,
            attempt=said.attempt,
            night=said.night,
            item=said.item,
            part=said.part,
            expires_at=said.expires_at,
            max_calls=said.max_calls,
            max_cost=said.max_cost_micro_usd,
            minted=seq,
            minted_at=fact.at,
        )
    )
    yield Put(
        PermitUseRow(
            permit=said.permit, max_calls=said.max_calls, expires_at=said.expires_at, calls=0,
            refused=0, revoked=-1,
        )
    )  # fmt: skip


def _use(_seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    permit = cast("CallDispatched", fact.data).permit
    row = get(PermitRow, permit) if permit else None
    if row is None:
        return
    for one in row.chain.split("\n"):
        use = get(PermitUseRow, one)
        if use is not None:
            yield Put(msgspec.structs.replace(use, calls=use.calls + 1))


def _refuse(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("PermitRefused", fact.data)
    yield Put(
        RefusedRow(
            seq=seq, at=fact.at, permit=said.permit, run=fact.run, path=fact.path,
            operation=said.operation, route=said.route, why=said.why,
        )
    )  # fmt: skip
    use = get(PermitUseRow, said.permit)
    if use is not None:
        yield Put(msgspec.structs.replace(use, refused=use.refused + 1))


def _revoke(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    use = get(PermitUseRow, cast("PermitRevoked", fact.data).permit)
    if use is not None and use.revoked < 0:
        yield Put(msgspec.structs.replace(use, revoked=seq))


def _token(seq: Seq, fact: Fact, _get: Get) -> Iterable[Change]:
    said = cast("TokenMinted", fact.data)
    yield Add(TokenRow(digest=said.digest, permit=said.permit, minted=seq))


PERMIT = Projection(
    name="permit",
    version=1,
    tables=TABLES,
    folds={
        PermitMinted: _mint,
        CallDispatched: _use,
        PermitRefused: _refuse,
        PermitRevoked: _revoke,
        TokenMinted: _token,
    },
)


# -- questions ---------------------------------------------------------------------------


def permits(reader: Reader) -> list[PermitRow]:
    """All permits, newest first.

    Raises:
        Nothing.
    """
    return reader.rows(PermitRow, order="minted DESC")


def permits_called(reader: Reader, name: str) -> list[PermitRow]:
    """The permits whose name begins or ends so.

    Raises:
        Nothing.
    """
    size = len(name)
    return reader.rows(
        PermitRow, "substr(permit, 1, ?) = ? OR substr(permit, -?) = ?", (size, name, size, name)
    )


def permit_for(reader: Reader, night: str, item: str, part: str) -> str:
    """The permit under which an item of a night does its work or its checks, empty for none.

    Raises:
        Nothing.
    """
    found = reader.rows(
        PermitRow, "night = ? AND item = ? AND part = ?", (night, item, part), order="minted"
    )
    return found[0].permit if found else ""


def refused_since(reader: Reader, since: int, until: int) -> list[RefusedRow]:
    """What permits did not allow from one instant up to another, in order.

    Raises:
        Nothing.
    """
    return reader.rows(RefusedRow, "at >= ? AND at < ?", (since, until), order="seq")
