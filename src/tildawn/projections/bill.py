"""What the end of an attempt does to money: its reservation is spent, held, or free again.

What it is not: a table; the folds of `tildawn.projections.call` ask here and book through
`tildawn.projections.budget`.

::

    reserved ──> spent                     a bill, or an answer without one (assumed)
        │
        └──────> held ──> spent            a bill after all, or a day without one (assumed)
                   └────> (free)           it is known that nothing happened
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from tildawn.ledger.fold import Change, Drop, Get, Put
from tildawn.projections.budget import AssumedRow, Booking, HeldRow, book, book_all
from tildawn.projections.call_row import CallRow
from tildawn.units import Seq


HELD, ASSUMED, NONE = "held", "assumed", "none"


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What a fact says about the cost of an attempt."""

    attempt: int
    spend: int
    #: As in `tildawn.facts.call.CallSettled`.
    source: str
    #: 0 where nobody said: then as many were used as were promised, unless nothing happened.
    tokens: int = 0
    nothing: bool = False
    #: Nobody knows whether anything happened.
    unknown: bool = False
    #: A bill may come after this.
    open: bool = False


class When(NamedTuple):
    """Position and instant of the fact that is folded."""

    seq: Seq
    at: int


Billed = tuple[CallRow, tuple[Change, ...]]


def billed(when: When, row: CallRow, bill: Bill, get: Get) -> Billed:
    """Book what an attempt cost: against its reservation, or against what is held or assumed.

    Raises:
        Nothing.
    """
    if row.state == "dispatched" and row.attempt == bill.attempt:
        return held(when, row, get) if _lost(row, bill) else _spent(when, row, bill, get)
    if bill.source in {NONE, ASSUMED, HELD}:
        return row, ()
    return _after_all(when, row, bill, get)


def _lost(row: CallRow, bill: Bill) -> bool:
    """Whether nobody knows what was used; who reserves tokens alone has no money to hold."""
    silent = bill.source == NONE and not bill.tokens
    return bill.source == HELD or (silent and bill.unknown and row.reserve_tokens > 0)


def held(when: When, row: CallRow, get: Get) -> Billed:
    """Hold all that the attempt under way has reserved.

    Raises:
        Nothing.
    """
    booking = Booking(
        reserved=-row.reserve, held=row.reserve,
        tokens_reserved=-row.reserve_tokens, tokens_held=row.reserve_tokens,
    )  # fmt: skip
    kept = _kept(when, row, amount=row.reserve, tokens=row.reserve_tokens)
    changed = msgspec.structs.replace(
        row, reserve=0, reserve_tokens=0, held=row.held + row.reserve, source=HELD
    )
    return changed, (*book(when.seq, row.budgets, booking, get), Put(kept))


def _kept(when: When, row: CallRow, *, amount: int, tokens: int) -> HeldRow:
    return HeldRow(
        run=row.run, path=row.path, attempt=row.attempt, amount=amount, tokens=tokens,
        worst=row.worst, budgets=row.budgets, key=row.key, since=when.at, seq=when.seq,
    )  # fmt: skip


def _spent(when: When, row: CallRow, bill: Bill, get: Get) -> Billed:
    guessed = bill.spend if bill.source == ASSUMED else 0
    over = max(bill.spend - row.reserve, 0)
    used = bill.tokens or (0 if bill.nothing else row.reserve_tokens)
    booking = Booking(
        reserved=-row.reserve, spent=bill.spend, assumed=guessed, overrun=over,
        stops=bill.spend > max(row.reserve, row.worst), tokens_reserved=-row.reserve_tokens,
        tokens=used if row.reserve_tokens else 0,
    )  # fmt: skip
    changes = list(book(when.seq, row.budgets, booking, get))
    if guessed:
        changes.append(Put(_assumption(when, row, guessed)))
    elif bill.open:
        changes.append(Put(_kept(when, row, amount=0, tokens=0)))
    changed = msgspec.structs.replace(
        row,
        reserve=0,
        reserve_tokens=0,
        spend=row.spend + bill.spend,
        assumed=row.assumed + guessed,
        overrun=row.overrun + over,
        source=bill.source,
    )
    return changed, tuple(changes)


def _assumption(when: When, row: CallRow, amount: int) -> AssumedRow:
    return AssumedRow(
        run=row.run, path=row.path, attempt=row.attempt, amount=amount, budgets=row.budgets,
        seq=when.seq, worst=row.worst,
    )  # fmt: skip


def _after_all(when: When, row: CallRow, bill: Bill, get: Get) -> Billed:
    """The bill of an attempt whose money is held, or was booked without one, has come."""
    place = (row.run, row.path, bill.attempt)
    kept = get(HeldRow, *place)
    if kept is not None:
        over = max(bill.spend - kept.amount, 0)
        booking = Booking(
            held=-kept.amount, spent=bill.spend, overrun=over,
            stops=bill.spend > max(kept.amount, kept.worst), tokens_held=-kept.tokens,
            tokens=(bill.tokens or kept.tokens) if kept.tokens else 0,
        )  # fmt: skip
        return _moved(row, booking, bill.source), (
            *book(when.seq, kept.budgets, booking, get), Drop(HeldRow, place),
        )  # fmt: skip
    assumed = get(AssumedRow, *place)
    if assumed is None:
        return row, ()  # billed before: the same bill again is no second one
    over = max(bill.spend - assumed.amount, 0)
    booking = Booking(
        spent=bill.spend - assumed.amount, assumed=-assumed.amount, overrun=over,
        stops=bill.spend > max(assumed.amount, assumed.worst),
        tokens=bill.tokens - assumed.tokens if assumed.tokens and bill.tokens else 0,
    )  # fmt: skip
    return _moved(row, booking, bill.source), (
        *book(when.seq, assumed.budgets, booking, get), Drop(AssumedRow, place),
    )  # fmt: skip


def _moved(row: CallRow, booking: Booking, source: str) -> CallRow:
    return msgspec.structs.replace(
        row,
        held=row.held + booking.held,
        spend=row.spend + booking.spent,
        assumed=row.assumed + booking.assumed,
        overrun=row.overrun + booking.overrun,
        source=source,
    )


def nothing_happened(seq: Seq, row: CallRow, get: Get) -> Billed:
    """Free what is held, or was assumed, for the attempts of a request that had no effect.

    Raises:
        Nothing.
    """
    bookings: list[tuple[str, Booking]] = []
    changes: list[Change] = []
    for attempt in range(row.attempt, 0, -1):
        found = _unbilled(row, attempt, get)
        if found is not None and found.key == row.key and (found.amount or found.tokens):
            booking = _freeing(found)
            bookings.append((found.budgets, booking))
            row = _moved(row, booking, NONE)
            changes += _zero(seq, found)
    return row, (*book_all(seq, bookings, get), *changes)


def _unbilled(row: CallRow, attempt: int, get: Get) -> HeldRow | AssumedRow | None:
    place = (row.run, row.path, attempt)
    return get(HeldRow, *place) or get(AssumedRow, *place)


def _freeing(found: HeldRow | AssumedRow) -> Booking:
    if isinstance(found, HeldRow):
        return Booking(held=-found.amount, tokens_held=-found.tokens)
    return Booking(spent=-found.amount, assumed=-found.amount, tokens=-found.tokens)


def _zero(seq: Seq, found: HeldRow | AssumedRow) -> tuple[Change, ...]:
    """The attempt is known to have cost nothing; a bill for it nevertheless is an overrun."""
    zero = HeldRow(
        run=found.run, path=found.path, attempt=found.attempt, amount=0, tokens=0, worst=0,
        budgets=found.budgets, key=found.key, since=0, seq=seq,
    )  # fmt: skip
    return (Drop(AssumedRow, (found.run, found.path, found.attempt)), Put(zero))


def released(seq: Seq, row: CallRow, kept: HeldRow, get: Get) -> Billed:
    """Free what is held for one attempt.

    Raises:
        Nothing.
    """
    booking = _freeing(kept)
    changes = (*book(seq, kept.budgets, booking, get), *_zero(seq, kept))
    return _moved(row, booking, NONE), changes


def expired(seq: Seq, row: CallRow, kept: HeldRow, get: Get) -> Billed:
    """Book what is held for an attempt as assumed: a day has brought no bill.

    Raises:
        Nothing.
    """
    booking = Booking(
        held=-kept.amount, spent=kept.amount, assumed=kept.amount,
        tokens_held=-kept.tokens, tokens=kept.tokens,
    )  # fmt: skip
    place = (row.run, row.path, kept.attempt)
    assumed = AssumedRow(
        run=row.run, path=row.path, attempt=kept.attempt, amount=kept.amount,
        budgets=kept.budgets, seq=seq, worst=kept.worst, key=kept.key, tokens=kept.tokens,
    )  # fmt: skip
    changes: Iterable[Change] = book(seq, kept.budgets, booking, get)
    return _moved(row, booking, ASSUMED), (*changes, Drop(HeldRow, place), Put(assumed))
