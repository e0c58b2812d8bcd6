"""Calls as they are now: one row a call, and the money, routes and children that go with it.

What it is not: the door.  Folds only say what a fact means; `tildawn.guard.call` decides.

::

    (none) ──> dispatched ──> settled            a final answer, fault or refusal
                │   │  ^
                │   │  └── ready                 failed for certain; may be sent again
                │   └────> ready, unknown        an attempt failed
                └────────> unknown               it may have happened: again, looked up, or held

A settled call is begun anew only when its run went back to a place before it (`RunRow.void`).
"""

from collections.abc import Iterable
from typing import cast

import msgspec

from tildawn.facts.call import (
    BudgetSet,
    CallAnsweredLate,
    CallDispatched,
    CallDoubted,
    CallHoldExpired,
    CallHoldReleased,
    CallLookedUp,
    CallRefused,
    CallResolved,
    CallServed,
    CallSettled,
    ChildProcessGone,
    ChildProcessStarted,
)
from tildawn.facts.fact import Fact
from tildawn.ledger.fold import Add, Change, Drop, Get, Projection, Put, Table
from tildawn.projections.bill import Bill, When, billed, expired, held, nothing_happened, released
from tildawn.projections.budget import ASSUMED, BUDGETS, HELD, Booking, HeldRow, book, limit
from tildawn.projections.call_row import CallRow, ChildRow
from tildawn.projections.pace import MINUTE, PACE, counted
from tildawn.projections.run import RunRow
from tildawn.projections.usage import USAGE, UsageRow, with_output
from tildawn.units import Seq


CALLS = Table(
    name="call",
    row=CallRow,
    key=("run", "path"),
    checks=(
        "state IN ('ready', 'dispatched', 'settled', 'unknown')",
        # An attempt that is under way was sent after whatever is known of the one before.
        "state <> 'dispatched' OR dispatched > settled",
    ),
    sql=(
        "CREATE INDEX {table}_open ON {table}(state) WHERE state IN ('dispatched', 'unknown')",
        "CREATE INDEX {table}_late ON {table}(late) WHERE late >= 0",
    ),
)
CHILDREN = Table(name="child", row=ChildRow, key=("run", "path", "attempt"))


def may_begin_anew(row: CallRow, run: RunRow | None) -> bool:
    """Whether a settled call may be made again: its run went back to a place before its end.

    Raises:
        Nothing.
    """
    return run is not None and 0 <= run.void <= row.state_at


def _call(fact: Fact, get: Get) -> CallRow | None:
    return get(CallRow, fact.run, fact.path)


def _closed(row: CallRow, fact: Fact, get: Get) -> bool:
    return row.state == "settled" and not may_begin_anew(row, get(RunRow, fact.run))


# -- folds -------------------------------------------------------------------------------


def _dispatch(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("CallDispatched", fact.data)
    before = _call(fact, get)
    row = _sent(seq, fact, before, get)
    if before is None or before.state == "dispatched" or _closed(before, fact, get):
        # Adding a row that is there refuses the append: no second attempt beside a live one,
        # and none after the end.
        yield Add(row)
    else:
        yield Put(row)
    promised = Booking(reserved=row.reserve, tokens_reserved=row.reserve_tokens)
    yield from book(seq, row.budgets, promised, get)
    yield counted(said.route, fact.at // MINUTE, row.tries > 1, get)


def _sent(seq: Seq, fact: Fact, before: CallRow | None, get: Get) -> CallRow:
    said = cast("CallDispatched", fact.data)
    run = get(RunRow, fact.run)
    begun = before or _unsent(fact)
    anew = begun.state == "settled"
    tries = 0 if anew else begun.tries
    return msgspec.structs.replace(
        begun,
        name=said.name,
        route=said.route,
        state="dispatched",
        repeat=said.repeat,
        attempt=said.attempt,
        tries=tries + 1,
        key=said.key,
        args=said.args,
        model=said.model,
        simulated=int(said.simulated),
        budgets="\n".join(said.budgets),
        reserve=said.reserve_micro_usd,
        reserve_tokens=said.reserve_tokens,
        worst=said.worst_micro_usd,
        sunk=begun.spend + begun.held if anew else begun.sunk,
        fault="",
        looked="",
        resolved="",
        resolved_at=-1,
        retry_due=0,
        run_attempt=run.attempt if run is not None else 0,
        generation=said.generation,
        limit_ms=0 if said.short else said.timeout_ms,
        tier=said.tier,
        instead=said.instead,
        first_sent_at=begun.first_sent_at or fact.at,
        sent_at=fact.at,
        ended_at=0,
        dispatched=seq,
        settled=-1,
        state_at=seq,
    )


def _unsent(fact: Fact) -> CallRow:
    return CallRow(
        run=fact.run, path=fact.path, name="", route="", state="ready", repeat="", attempt=0,
        tries=0, failures=0, key="", args="", model="", simulated=0, budgets="", reserve=0,
        reserve_tokens=0, worst=0, held=0, sunk=0, spend=0, assumed=0, overrun=0, source="none", tokens_in=0, tokens_out=0, fault="",
        effect="none", looked="", resolved="", resolved_at=-1, retry_due=0, run_attempt=0,
        child=0, generation=0, limit_ms=0, tier="", instead="", first_sent_at=0, sent_at=0,
        ended_at=0, dispatched=-1, settled=-1, doubted=-1, late=-1, state_at=-1,
    )  # fmt: skip


def _settle(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = _call(fact, get)
    if row is None:
        return
    if _closed(row, fact, get):
        yield Add(row)  # refuses the append: a call ends once
        return
    said = cast("CallSettled", fact.data)
    if said.tokens_out and not said.fault:
        yield _used(row.route, said.tokens_out, get)
    bill = Bill(
        attempt=said.attempt, spend=said.spend_micro_usd, source=said.spend_source,
        tokens=said.tokens_in + said.tokens_out, nothing=said.effect == "none",
        unknown=said.effect == "unknown", open=said.abandoned,
    )  # fmt: skip
    row, changes = billed(When(seq, fact.at), row, bill, get)
    yield from changes
    if row.child and not said.abandoned:
        yield Drop(ChildRow, (row.run, row.path, said.attempt))
    state = "settled" if said.final else "unknown" if said.effect == "unknown" else "ready"
    # Being cancelled is nobody's failure: it uses up no try.
    cancelled = said.fault == "cancelled"
    yield Put(
        msgspec.structs.replace(
            row,
            state=state,
            # Nor does a test of the route, or a wait that is asked of everybody.
            tries=row.tries - int(cancelled or said.test or said.asked_wait_ms > 0),
            failures=row.failures + int(bool(said.fault) and not cancelled),
            fault=said.fault,
            effect=said.effect,
            tokens_in=row.tokens_in + said.tokens_in,
            tokens_out=row.tokens_out + said.tokens_out,
            retry_due=said.retry_due,
            child=row.child if said.abandoned else 0,
            ended_at=fact.at,
            settled=seq,
            state_at=seq,
        )
    )


def _used(route: str, tokens: int, get: Get) -> Put:
    row = get(UsageRow, route) or UsageRow(route=route, outputs=b"")
    return Put(with_output(row, tokens))


def _doubt(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = _call(fact, get)
    said = cast("CallDoubted", fact.data)
    if row is None or row.state != "dispatched" or row.attempt != said.attempt:
        return
    row, changes = held(When(seq, fact.at), row, get)
    yield from changes
    yield Put(
        msgspec.structs.replace(
            row,
            state="unknown",
            effect="unknown",
            fault="lost",
            # A death of ours is no failure of the other side: it uses up no try.
            tries=row.tries - 1,
            failures=row.failures + 1,
            ended_at=fact.at,
            doubted=seq,
            state_at=seq,
        )
    )


def _look_up(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = _call(fact, get)
    if row is None or row.state == "dispatched" or _closed(row, fact, get):
        return
    said = cast("CallLookedUp", fact.data)
    absent = said.answer == "absent"
    if absent:
        row, changes = nothing_happened(seq, row, get)
        yield from changes
    yield Put(
        msgspec.structs.replace(
            row,
            looked=said.answer,
            state="ready" if absent else row.state,
            effect="none" if absent else row.effect,
            tries=0 if row.state == "settled" else row.tries,
            retry_due=0,
            state_at=seq,
        )
    )


def _resolve(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = _call(fact, get)
    if row is None or row.state == "dispatched" or _closed(row, fact, get):
        return
    said = cast("CallResolved", fact.data)
    again = said.choice == "not-applied"
    if again:
        row, changes = nothing_happened(seq, row, get)
        yield from changes
    yield Put(
        msgspec.structs.replace(
            row,
            resolved=said.choice,
            resolved_at=seq,
            state="ready" if again else row.state,
            effect="none" if again else row.effect,
            tries=0 if again else row.tries,
            retry_due=0,
            state_at=seq,
        )
    )


def _answer_late(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = _call(fact, get)
    if row is None:
        return
    said = cast("CallAnsweredLate", fact.data)
    under_way = row.state == "dispatched" and row.attempt == said.attempt
    spend, source = said.spend_micro_usd, said.spend_source
    if under_way and source == "none":
        spend, source = row.reserve, "assumed"
    bill = Bill(
        attempt=said.attempt, spend=spend, source=source, tokens=said.tokens_in + said.tokens_out
    )
    row, changes = billed(When(seq, fact.at), row, bill, get)
    yield from changes
    if under_way:  # its run has a newer attempt, which asks again: nothing is settled
        row = msgspec.structs.replace(
            row,
            state="unknown",
            effect="unknown",
            tries=row.tries - 1,
            ended_at=fact.at,
            state_at=seq,
        )
    yield Put(msgspec.structs.replace(row, late=seq))


def _refuse(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("CallRefused", fact.data)
    before = _call(fact, get)
    row = msgspec.structs.replace(
        before or _unsent(fact),
        name=said.name,
        route=said.route,
        args=said.args,
        state="settled",
        fault=said.why,
        retry_due=0,
        ended_at=fact.at,
        settled=seq,
        state_at=seq,
    )
    yield Add(row) if before is None or _closed(before, fact, get) else Put(row)


def _serve(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("CallServed", fact.data)
    before = _call(fact, get)
    if before is not None and _closed(before, fact, get):
        yield Add(before)  # refuses the append: a call ends once
        return
    row = before or _unsent(fact)
    if row.state == "dispatched":
        # The primary goes on behind it; its bill comes late or never.
        row, changes = held(When(seq, fact.at), row, get)
        yield from changes
    yield Put(
        msgspec.structs.replace(
            row,
            name=said.name,
            route=said.route,
            args=said.args,
            state="settled",
            fault="",
            tier=said.tier,
            instead=said.instead,
            retry_due=0,
            ended_at=fact.at,
            settled=seq,
            state_at=seq,
        )
    )


def _expire(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("CallHoldExpired", fact.data)
    row, kept = _call(fact, get), get(HeldRow, fact.run, fact.path, said.attempt)
    if row is None or kept is None or not (kept.amount or kept.tokens):
        return
    row, changes = expired(seq, row, kept, get)
    yield from (*changes, Put(row))


def _release(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("CallHoldReleased", fact.data)
    row, kept = _call(fact, get), get(HeldRow, fact.run, fact.path, said.attempt)
    if row is None or kept is None:
        return
    row, changes = released(seq, row, kept, get)
    yield from (*changes, Put(row))


def _start_child(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = _call(fact, get)
    if row is None:
        return
    said = cast("ChildProcessStarted", fact.data)
    yield Put(
        ChildRow(
            run=fact.run,
            path=fact.path,
            attempt=row.attempt,
            pid=said.pid,
            started=said.started,
            seq=seq,
        )
    )
    yield Put(msgspec.structs.replace(row, child=1))


def _end_child(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("ChildProcessGone", fact.data)
    yield Drop(ChildRow, (fact.run, fact.path, said.attempt))
    row = _call(fact, get)
    if row is not None and row.attempt == said.attempt:
        yield Put(msgspec.structs.replace(row, child=0))


CALL = Projection(
    name="call",
    version=4,
    tables=(CALLS, PACE, CHILDREN, BUDGETS, HELD, ASSUMED, USAGE),
    folds={
        CallDispatched: _dispatch,
        CallSettled: _settle,
        CallDoubted: _doubt,
        CallLookedUp: _look_up,
        CallResolved: _resolve,
        CallAnsweredLate: _answer_late,
        CallRefused: _refuse,
        CallServed: _serve,
        CallHoldExpired: _expire,
        CallHoldReleased: _release,
        ChildProcessStarted: _start_child,
        ChildProcessGone: _end_child,
        BudgetSet: limit,
    },
)
"""Calls and their money, in one projection: a booking needs the call's open reservation."""
