"""Under whose authority a call goes out: its permit with all the parents of it.

What it is not: the rules; those are in `tildawn.guard.permit`.  What a permit says never changes,
so it is kept in memory and costs a call next to nothing.  What does change (calls, money,
revocation) is judged in the commit of the dispatch alone, where nothing can come between.

A call without a permit acts with the authority of the owner of the house.

# HOLE: what a call that Python code declares does inside is not asked of the permit again; the
# operation ``call`` on its route allows all of it.
# HOLE: a run cannot give its children less than it has; they inherit its permit, and whoever
# enqueues can name a narrower one.
# HOLE: addresses that are erased while a process holds a permit in memory count until it ends.
"""

import functools
from typing import TypeVar

import msgspec

from tildawn.errors import NotPermitted, PayloadErased
from tildawn.facts.permit import PermitRefused
from tildawn.guard.budget import Scope
from tildawn.guard.permit import WHY, Grant, Wanted, bound, sorted_out
from tildawn.guard.request import CallRequest
from tildawn.ledger.fold import Expect, Row
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.sqlite.reader import Reader
from tildawn.projections.budget import BudgetRow
from tildawn.projections.permit import SCOPE, PermitRow, PermitUseRow
from tildawn.units import Micros, MicroUsd, Seq


KEPT_MOST = 4_096
"""Permits, and answers of them, in memory: a few hundred bytes each."""

_SAID = {
    "operation": "does not allow {what}",
    "route": "does not allow the route {route}",
    "resource": "does not allow this address",
    "erased": "cannot say which addresses it allows: they were erased",
    "run": "is for another run",
    "attempt": "was for an earlier attempt of this run",
    "expired": "has expired",
    "revoked": "was revoked",
    "calls": "has no call left",
    "cost": "has too little money left",
    "unknown": "is not on record",
}


K = TypeVar("K")
V = TypeVar("V")


class Link(msgspec.Struct, frozen=True):
    """One permit of a chain."""

    permit: str
    grant: Grant


class Authority:
    """What permits allow; of one house."""

    def __init__(self, ledger: Ledger) -> None:
        """Take the house that has them."""
        self._ledger = ledger
        self._chains: dict[str, tuple[Link, ...]] = {}
        self._answers: dict[tuple[str, str, str, str | None], tuple[str, str]] = {}

    def chain(self, permit: str) -> tuple[Link, ...]:
        """A permit and its parents, itself first; nothing where one of them is not on record.

        Raises:
            TildawnError: the house cannot be read.
        """
        known = self._chains.get(permit)
        if known is None:
            with self._ledger.read() as reader:
                known = chain_of(reader, permit)
            if known:
                _keep(self._chains, permit, known)
        return known

    def refuses(self, request: CallRequest, now: Micros) -> NotPermitted | None:
        """Why the permit of a call does not allow it, as far as that can be said from memory.

        Raises:
            TildawnError: the house cannot be read.
        """
        if not request.permit:
            return None
        wanted = wanted_of(request)
        permit, why = self._sorted_out(request.permit, wanted)
        if not why:
            permit, why = _bound(self.chain(request.permit), wanted, now)
        return refusal(permit, wanted, why) if why else None

    def _sorted_out(self, permit: str, wanted: Wanted) -> tuple[str, str]:
        key = (permit, wanted.operation, wanted.route, wanted.resource)
        known = self._answers.get(key)
        if known is None:
            chain = self.chain(permit)
            if not chain:
                return permit, "unknown"  # not kept: it may be minted yet
            found = ((link.permit, sorted_out(link.grant, wanted)) for link in chain)
            known = next((one for one in found if one[1]), ("", ""))
            _keep(self._answers, key, known)
        return known

    def scopes(self, request: CallRequest) -> tuple[Scope, ...]:
        """The budget scopes of the permit of a call and of its parents, with their limits.

        Raises:
            TildawnError: the house cannot be read.
        """
        if not request.permit:
            return ()
        return tuple(_scope(link) for link in self.chain(request.permit))

    def expected(self, request: CallRequest, amount: MicroUsd, now: Micros) -> list[Expect]:
        """What must hold in the commit of a dispatch, of a permit and of all its parents.

        Raises:
            TildawnError: the house cannot be read.
        """
        if not request.permit:
            return []
        expect: list[Expect] = []
        for link in self.chain(request.permit):
            test = functools.partial(usable, now=now)
            expect.append(Expect(row=PermitUseRow, key=(link.permit,), test=test, why=WHY))
            if amount and link.grant.max_cost >= 0:
                money = functools.partial(affords, amount=amount, most=link.grant.max_cost)
                key = (SCOPE + link.permit,)
                expect.append(Expect(row=BudgetRow, key=key, test=money, why=WHY))
        return expect

    def unmet(
        self, request: CallRequest, row: Row | None, amount: MicroUsd, now: Micros
    ) -> NotPermitted:
        """Why the commit of a dispatch was refused by a permit.

        Args:
            request: the call.
            row: of the expectation that did not hold.
            amount: what the attempt might have cost.
            now: the instant that it was judged by.

        Raises:
            TildawnError: the house cannot be read.
        """
        wanted = wanted_of(request)
        if isinstance(row, PermitUseRow):
            return refusal(row.permit, wanted, unusable(row, now) or "unknown")
        if isinstance(row, BudgetRow):
            return refusal(row.scope.removeprefix(SCOPE), wanted, "cost")
        # Nothing was ever booked on the one that said no: it is the first that is too small.
        small = (
            one.permit for one in self.chain(request.permit) if 0 <= one.grant.max_cost < amount
        )
        return refusal(next(small, request.permit), wanted, "cost")


def chain_of(reader: Reader, permit: str) -> tuple[Link, ...]:
    """A permit and its parents, as `Authority.chain`.

    Raises:
        TildawnError: the house cannot be read.
    """
    row = reader.get(PermitRow, permit)
    rows = [reader.get(PermitRow, one) for one in row.chain.split("\n")] if row else []
    if not all(rows):
        return ()
    return tuple(Link(one.permit, grant_of(reader, one)) for one in rows if one is not None)


def grant_of(reader: Reader, row: PermitRow) -> Grant:
    """What a permit says.

    Raises:
        TildawnError: the house cannot be read.
    """
    return Grant(
        operations=frozenset(filter(None, row.operations.split("\n"))),
        routes=tuple(filter(None, row.routes.split("\n"))),
        resources=_resources(reader, row),
        run=row.run,
        attempt=row.attempt,
        expires_at=row.expires_at,
        max_calls=row.max_calls,
        max_cost=row.max_cost,
    )


def _resources(reader: Reader, row: PermitRow) -> tuple[str, ...] | None:
    if not row.addressed:
        return ()
    try:
        text = reader.payload(Seq(row.minted), 0)
    except PayloadErased:
        return None
    return msgspec.json.decode(text, type=tuple[str, ...])


def wanted_of(request: CallRequest) -> Wanted:
    """What a call wants of its permit.

    Raises:
        Nothing.
    """
    return Wanted(
        operation=request.operation, route=request.route, resource=request.resource,
        run=request.run, attempt=request.run_attempt,
    )  # fmt: skip


def usable(row: Row | None, now: Micros) -> bool:
    """Whether a permit can be used once more.

    Raises:
        Nothing.
    """
    return isinstance(row, PermitUseRow) and not unusable(row, now)


def unusable(row: PermitUseRow, now: Micros) -> str:
    """Why a permit cannot be used once more: revoked, expired or calls; or nothing.

    Raises:
        Nothing.
    """
    if row.revoked >= 0:
        return "revoked"
    if row.expires_at and now >= row.expires_at:
        return "expired"
    return "calls" if 0 <= row.max_calls <= row.calls else ""


def affords(row: Row | None, amount: int, *, most: int) -> bool:
    """Whether what a permit may cost has room for an amount, in millionths of a dollar.

    A bill above all that it could be stops its permit: a price is wrong.

    Raises:
        Nothing.
    """
    if not isinstance(row, BudgetRow):
        return amount <= most
    return not row.stopped and row.committed + amount <= most


def refusal(permit: str, wanted: Wanted, why: str) -> NotPermitted:
    """The error of what a permit does not allow.

    Raises:
        Nothing.
    """
    said = _SAID[why].format(what=wanted.operation, route=wanted.route)
    return NotPermitted(
        f"permit {permit} {said}", hint=f"tildawn permit show {permit}", reason=why,
        permit=permit, operation=wanted.operation, route=wanted.route,
    )  # fmt: skip


def refused_fact(error: NotPermitted) -> PermitRefused | None:
    """The fact of a refusal by a permit; None where no permit is the reason.

    Raises:
        Nothing.
    """
    said = error.fields
    if not said.get("permit"):
        return None
    return PermitRefused(
        permit=str(said["permit"]), operation=str(said["operation"]), why=str(said["reason"]),
        route=str(said["route"]),
    )  # fmt: skip


def _bound(chain: tuple[Link, ...], wanted: Wanted, now: Micros) -> tuple[str, str]:
    for link in chain:
        why = bound(link.grant, wanted, now)
        if why:
            return link.permit, why
    return "", ""


def _scope(link: Link) -> Scope:
    limit = link.grant.max_cost
    return Scope(SCOPE + link.permit, MicroUsd(limit) if limit >= 0 else None)


def _keep(kept: dict[K, V], key: K, value: V) -> None:
    if len(kept) >= KEPT_MOST:
        kept.clear()  # what is asked for again is read again
    kept[key] = value
