"""Routes as they are now: what the last attempts came to, and the state of the breaker.

What it is not: rules.  Folds keep history; `tildawn.guard` judges it by its policy and says what
it decided with facts of its own.  Everything of a route is one row of at most 2 kB, so the guard
of a house that was killed goes on as if nothing had happened.
"""

from collections.abc import Iterable
from typing import cast

import msgspec

from tildawn.facts.call import (
    CallAnsweredLate,
    CallDispatched,
    CallDoubted,
    CallServed,
    CallSettled,
)
from tildawn.facts.fact import Fact
from tildawn.facts.route import (
    RouteChecked,
    RouteForced,
    RouteHeard,
    RouteLimitMoved,
    RouteModeSet,
    RoutePolicyAdopted,
    RoutePromoted,
    RouteReviewed,
    RouteTurned,
)
from tildawn.ledger.fold import Change, Get, Projection, Put, Row, Table
from tildawn.ledger.sqlite.reader import Reader
from tildawn.projections.attempts import (
    BAD,
    DAY,
    OUTCOMES,
    Outcome,
    counts,
    kind_of,
    sample_of,
    samples,
    with_outcome,
    with_probe,
    with_sample,
)
from tildawn.projections.call import CallRow
from tildawn.units import MILLISECOND, Micros, Seq


PRESSURE = "overdue"
"""The cause of an opening that attempts under way can still take back."""


class HealthRow(Row, frozen=True, kw_only=True):
    """One route. Instants are microseconds since 1970, 0 for never."""

    route: str
    #: See `tildawn.facts.route.RouteTurned`.
    state: str
    generation: int
    cause: str
    why: str
    #: Of the calls on it, since its breaker turned for the first time.
    kind: str
    model: str
    #: When the present state began, and when the other side is asked next.
    since: int
    due: int
    wait_ms: int
    #: Attempts proven good in a row since the other side came back, and failures since.
    streak: int
    relapses: int
    #: Attempts after recovery that still count as soon after it.
    fresh: int
    recovered: int
    #: Position of the dispatch of the probe that is in flight, or -1.
    probing: int
    #: Position at which the outage that goes on began, or -1.
    outage: int
    #: The other side asked everybody to wait until then.
    parked: int
    #: What the limiters stand at.
    turn: int
    turn_tokens: int
    #: Digest of the numbers that hold, and attempts since they do.
    policy: str
    trials: int
    promoted: str
    attempts: int
    last: int
    limit_ms: int
    basis: str
    outcomes: bytes
    samples: bytes
    probes: bytes


class WordRow(Row, frozen=True, kw_only=True):
    """What the owner said about a route, or about all of them with ``*``."""

    route: str
    mode: str
    mode_until: int
    forced: str
    forced_until: int
    #: Instants of the looks after a promotion, 0 once they were taken.
    watch_at: int
    review_at: int
    promoted_at: int
    #: Where the words are.
    mode_seq: int
    forced_seq: int


class OutageRow(Row, frozen=True, kw_only=True):
    """A time in which a route was out of service."""

    route: str
    began_seq: int
    cause: str
    began: int
    #: When the other side was proven to be back, 0 while it is not.
    ended: int
    ended_seq: int
    #: 1 where a person had to do something: no outage of the other side.
    blocked: int
    checks: int
    probes: int
    #: When it was last seen to be dead.
    dead_at: int


HEALTH = Table(
    name="route",
    row=HealthRow,
    key=("route",),
    sql=("CREATE INDEX {table}_out ON {table}(state) WHERE state <> 'closed'",),
)
WORDS = Table(name="route_word", row=WordRow, key=("route",))
OUTAGES = Table(
    name="outage",
    row=OutageRow,
    key=("route", "began_seq"),
    sql=("CREATE INDEX {table}_began ON {table}(began)",),
)


def fresh(route: str) -> HealthRow:
    """A route of which nothing is known: no traffic is no failure.

    Raises:
        Nothing.
    """
    return HealthRow(
        route=route, state="closed", generation=0, cause="", why="", kind="", model="", since=0, due=0, wait_ms=0, streak=0, relapses=0, fresh=0, recovered=0, probing=-1, outage=-1, parked=0,
        turn=0, turn_tokens=0, policy="", trials=0, promoted="", attempts=0, last=0, limit_ms=0,
        basis="", outcomes=b"", samples=b"", probes=b"",
    )  # fmt: skip


# -- folds ---------------------------------------------------------------------------------


def _dispatch(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("CallDispatched", fact.data)
    if not (said.probe or said.turn or said.turn_tokens):
        return
    row = get(HealthRow, said.route) or fresh(said.route)
    if said.probe and said.reserve_micro_usd:
        yield from _counted(row, get)
    yield Put(sent_on(row, said, seq=seq, at=Micros(fact.at)))


def sent_on(row: HealthRow, said: CallDispatched, *, seq: Seq, at: Micros) -> HealthRow:
    """A route after an attempt was sent.

    Raises:
        Nothing.
    """
    paid = said.probe and said.reserve_micro_usd
    return msgspec.structs.replace(
        row,
        turn=max(row.turn, said.turn),
        turn_tokens=max(row.turn_tokens, said.turn_tokens),
        probing=seq if said.probe else row.probing,
        probes=with_probe(row.probes, at, said.reserve_micro_usd) if paid else row.probes,
    )


def _counted(row: HealthRow, get: Get) -> Iterable[Change]:
    outage = get(OutageRow, row.route, row.outage)
    if outage is not None:
        yield Put(msgspec.structs.replace(outage, probes=outage.probes + 1))


def _settle(_: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("CallSettled", fact.data)
    call = get(CallRow, fact.run, fact.path)
    if call is None or call.state != "dispatched" or call.attempt != said.attempt:
        return  # looked up, given up or late: it says nothing about the other side now
    row = get(HealthRow, call.route) or fresh(call.route)
    sent = Sent(dispatched=call.dispatched, generation=call.generation, limit_ms=call.limit_ms)
    yield Put(settled(row, said, sent=sent, at=Micros(fact.at)))


class Sent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a route must know of an attempt when it ends: where and as what it was sent.

    ``limit_ms`` is 0 where the attempt had less time than such calls usually take.
    """

    dispatched: int
    generation: int
    limit_ms: int


def settled(row: HealthRow, said: CallSettled, *, sent: Sent, at: Micros) -> HealthRow:
    """A route after an attempt has ended.

    Raises:
        Nothing.
    """
    kind = kind_of(said.fault, asked_wait=said.asked_wait_ms > 0)
    if said.fault == "timeout" and not sent.limit_ms:
        kind = None  # it had less time than such calls take: that says nothing about the route
    current = sent.generation == row.generation
    good, bad = kind == "", kind in BAD
    recovering = current and (row.state == "ramp" or row.fresh > 0)
    asked = at + said.asked_wait_ms * MILLISECOND if said.asked_wait_ms else 0
    return msgspec.structs.replace(
        row,
        outcomes=with_outcome(row.outcomes, Outcome(kind, at))
        if current and kind is not None
        else row.outcomes,
        samples=_with_sample(row, said, sent=sent, at=at),
        parked=max(row.parked, asked),
        streak=(row.streak + 1 if good else 0 if bad else row.streak) if recovering else row.streak,
        relapses=row.relapses + int(recovering and bad),
        fresh=max(row.fresh - 1, 0) if current and row.state == "closed" else row.fresh,
        probing=-1 if row.probing == sent.dispatched else row.probing,
        trials=row.trials + 1,
        attempts=row.attempts + 1,
        last=at,
    )


def _with_sample(row: HealthRow, said: CallSettled, *, sent: Sent, at: Micros) -> bytes:
    if said.fault == "timeout" and not sent.limit_ms:
        return row.samples
    took = Micros(said.took_ms * MILLISECOND)
    sample = sample_of(took, fault=said.fault, limit_ms=sent.limit_ms, at=at)
    if sample is None:
        return row.samples
    before = b"" if row.last and at - row.last > DAY else row.samples
    if not said.fault or counts(sample, samples(before), fault=said.fault):
        return with_sample(before, sample)
    return before


def _forget_test(_: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    call = get(CallRow, fact.run, fact.path)
    if call is None or getattr(fact.data, "attempt", call.attempt) != call.attempt:
        return
    row = get(HealthRow, call.route)
    if row is not None and row.probing == call.dispatched >= 0:
        yield Put(msgspec.structs.replace(row, probing=-1))


def _turn(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RouteTurned", fact.data)
    row = get(HealthRow, said.route) or fresh(said.route)
    if said.generation < row.generation:
        return  # nothing comes back from an older state
    out = said.state in {"open", "blocked", "probing"}
    yield from _outage(seq, fact, row, get)
    yield Put(turned(row, said, at=Micros(fact.at), outage=_outage_of(seq, row, out=out)))


def _outage_of(seq: Seq, row: HealthRow, *, out: bool) -> int:
    if not out:
        return -1
    return row.outage if row.outage >= 0 else seq


def turned(row: HealthRow, said: RouteTurned, *, at: Micros, outage: int) -> HealthRow:
    """A route after its breaker changed state.

    Raises:
        Nothing.
    """
    back = said.state == "ramp" and said.was != "ramp"
    closed = said.state == "closed" and said.was == "ramp"
    # Pressure is a guess about attempts under way; what they come to still counts.
    anew = back or (said.state in {"open", "blocked"} and said.cause != PRESSURE)
    return msgspec.structs.replace(
        row,
        state=said.state,
        generation=said.generation,
        cause=said.cause,
        why=said.why,
        kind=said.kind or row.kind,
        model=said.model or row.model,
        since=at,
        due=said.due,
        wait_ms=said.wait_ms,
        streak=1 if back else 0 if anew else row.streak,
        relapses=0 if anew else row.relapses,
        fresh=OUTCOMES if closed else 0 if anew else row.fresh,
        recovered=at if back else row.recovered,
        outage=outage,
        outcomes=b"" if anew else row.outcomes,
    )


def _outage(seq: Seq, fact: Fact, row: HealthRow, get: Get) -> Iterable[Change]:
    said = cast("RouteTurned", fact.data)
    going = get(OutageRow, row.route, row.outage) if row.outage >= 0 else None
    if said.state in {"open", "blocked", "probing"}:
        blocked = int(said.state == "blocked")
        if going is None:
            yield Put(
                OutageRow(
                    route=row.route, began_seq=seq, cause=said.cause, began=fact.at, ended=0,
                    ended_seq=-1, blocked=blocked, checks=0, probes=0, dead_at=fact.at,
                )
            )  # fmt: skip
        elif said.state != "probing":
            yield Put(msgspec.structs.replace(going, blocked=blocked, dead_at=fact.at))
    elif going is not None:
        yield Put(msgspec.structs.replace(going, ended=fact.at, ended_seq=seq))


def _check(_: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RouteChecked", fact.data)
    row = get(HealthRow, said.route)
    if row is None or said.generation != row.generation:
        return
    yield Put(checked(row, said))
    outage = get(OutageRow, row.route, row.outage)
    if outage is not None:
        dead = outage.dead_at if said.alive else fact.at
        yield Put(msgspec.structs.replace(outage, checks=outage.checks + 1, dead_at=dead))


def checked(row: HealthRow, said: RouteChecked) -> HealthRow:
    """A route after the other side was asked for a sign of life.

    Raises:
        Nothing.
    """
    return msgspec.structs.replace(row, due=said.due, wait_ms=said.wait_ms)


def _adopt(_: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RoutePolicyAdopted", fact.data)
    row = get(HealthRow, said.route) or fresh(said.route)
    trials = 0 if said.shadow else row.trials
    yield Put(msgspec.structs.replace(row, policy=said.policy, trials=trials))


def _promote(_: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RoutePromoted", fact.data)
    row = get(HealthRow, said.route) or fresh(said.route)
    yield Put(msgspec.structs.replace(row, promoted=said.policy))
    word = get(WordRow, said.route) or _silent(said.route)
    yield Put(
        msgspec.structs.replace(
            word, watch_at=said.watch_at, review_at=said.review_at, promoted_at=fact.at
        )
    )


def _review(_: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RouteReviewed", fact.data)
    word = get(WordRow, said.route) or _silent(said.route)
    if said.look == "watch":
        yield Put(msgspec.structs.replace(word, watch_at=0))
    else:
        yield Put(msgspec.structs.replace(word, review_at=0))


def _force(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RouteForced", fact.data)
    word = get(WordRow, said.route) or _silent(said.route)
    yield Put(
        msgspec.structs.replace(word, forced=said.state, forced_until=said.until, forced_seq=seq)
    )


def _mode(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RouteModeSet", fact.data)
    word = get(WordRow, said.route) or _silent(said.route)
    yield Put(msgspec.structs.replace(word, mode=said.mode, mode_until=said.until, mode_seq=seq))


def _move(_: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RouteLimitMoved", fact.data)
    row = get(HealthRow, said.route) or fresh(said.route)
    yield Put(msgspec.structs.replace(row, limit_ms=said.limit_ms, basis=said.basis))


def _hear(_: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RouteHeard", fact.data)
    row = get(HealthRow, said.route) or fresh(said.route)
    end, sent = heard(said)
    yield Put(settled(row, end, sent=sent, at=Micros(fact.at)))


def heard(said: RouteHeard) -> tuple[CallSettled, Sent]:
    """The end of an attempt in whose place something else was served, as of any other.

    Raises:
        Nothing.
    """
    end = CallSettled(
        attempt=0, final=False, effect="", fault=said.fault, took_ms=said.took_ms,
        asked_wait_ms=said.asked_wait_ms,
    )  # fmt: skip
    sent = Sent(dispatched=said.dispatched, generation=said.generation, limit_ms=said.limit_ms)
    return end, sent


def _silent(route: str) -> WordRow:
    return WordRow(
        route=route, mode="", mode_until=0, forced="", forced_until=0, watch_at=0, review_at=0,
        promoted_at=0, mode_seq=-1, forced_seq=-1,
    )  # fmt: skip


ROUTE = Projection(
    name="route",
    version=1,
    tables=(HEALTH, WORDS, OUTAGES),
    folds={
        CallDispatched: _dispatch,
        CallSettled: _settle,
        CallDoubted: _forget_test,
        CallServed: _forget_test,
        CallAnsweredLate: _forget_test,
        RouteTurned: _turn,
        RouteChecked: _check,
        RoutePolicyAdopted: _adopt,
        RoutePromoted: _promote,
        RouteReviewed: _review,
        RouteForced: _force,
        RouteModeSet: _mode,
        RouteLimitMoved: _move,
        RouteHeard: _hear,
    },
)
"""Folded before the calls, whose rows it reads as they were."""


# -- questions -----------------------------------------------------------------------------


def health_of(reader: Reader, route: str) -> HealthRow:
    """How a route is; a fresh one where nothing is on record.

    Raises:
        Nothing.
    """
    return reader.get(HealthRow, route) or fresh(route)


def word_of(reader: Reader, route: str) -> WordRow | None:
    """What the owner said about a route, or None.

    Raises:
        Nothing.
    """
    return reader.get(WordRow, route)


def out_of_service(reader: Reader) -> list[HealthRow]:
    """The routes whose breaker is not closed, by name.

    Raises:
        Nothing.
    """
    return reader.rows(HealthRow, "state <> 'closed'")


def routes(reader: Reader) -> list[HealthRow]:
    """All routes of which anything is known, by name.

    Raises:
        Nothing.
    """
    return reader.rows(HealthRow)


def outages(reader: Reader, *, since: Micros, until: Micros) -> list[OutageRow]:
    """The outages that overlap a stretch of time, by route and beginning.

    Raises:
        Nothing.
    """
    return reader.rows(OutageRow, "began < ? AND (ended = 0 OR ended > ?)", (until, since))
