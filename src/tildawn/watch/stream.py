"""From facts to the events of the guard, fact by fact.

What it is not: a second record.  Every event is computed from facts and can be computed again;
payloads are never read, so no prompt, answer or error text can be in one.
"""

from collections.abc import Callable, Iterator
from typing import cast

import msgspec

from tildawn.facts.call import (
    BudgetSet,
    CallDispatched,
    CallDoubted,
    CallRefused,
    CallServed,
    CallSettled,
)
from tildawn.facts.fact import Fact, FactData, RawFact
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
from tildawn.ledger.reader import Reader
from tildawn.projections.run import RunRow
from tildawn.projections.slo import state_at
from tildawn.units import SECOND, Micros, Seq
from tildawn.watch.telemetry import (
    AnyEvent,
    Attempt,
    Budget,
    Flag,
    Limit,
    Probe,
    TimeoutChanged,
    Transition,
)


_STATUS = {"": "success", "timeout": "timeout", "cancelled": "aborted", "invalid_answer": "invalid"}


class Stream:
    """Events of a stretch of the ledger, fact by fact in ledger order."""

    def __init__(self, reader: Reader) -> None:
        """Begin; the reader also knows what happened before."""
        self._reader = reader
        self._sent: dict[tuple[str, str], tuple[CallDispatched, str]] = {}
        self._states: dict[str, tuple[str, Micros]] = {}

    def take(self, seq: Seq, fact: Fact) -> tuple[AnyEvent, ...]:
        """The events of one fact; most facts have none.

        Raises:
            Nothing.
        """
        make = _MAKERS.get(type(fact.data))
        return () if make is None else tuple(make(self, seq, fact))

    def dispatched(self, seq: Seq, fact: Fact) -> Iterator[AnyEvent]:
        """An attempt leaves: its end will tell of it.

        Raises:
            Nothing.
        """
        said = cast("CallDispatched", fact.data)
        self._sent[fact.run, fact.path] = said, self._state(said.route, seq)[0]
        yield from ()

    def settled(self, seq: Seq, fact: Fact) -> Iterator[AnyEvent]:
        """It ended.

        Raises:
            Nothing.
        """
        said = cast("CallSettled", fact.data)
        sent, state = self._sent_before(fact, said.attempt)
        if sent is None:
            return  # answered from what was known: nothing was sent
        known = _STATUS.get(said.fault, "unknown" if said.effect == "unknown" else "error")
        status = "recovered" if sent.probe and not said.fault else known
        yield self._attempt(
            seq, fact, sent, state=state, status=status, attempt=said.attempt, fault=said.fault,
            latency_ms=said.took_ms, ttft_ms=said.first_ms, cost_micro_usd=said.spend_micro_usd,
            cost_source=said.spend_source, tokens_in=said.tokens_in, tokens_out=said.tokens_out,
        )  # fmt: skip
        yield from _learnt(seq, fact, sent, said)

    def heard(self, seq: Seq, fact: Fact) -> Iterator[AnyEvent]:
        """It ended after something else had been served in its place.

        What it cost is not known from this: its bill has a fact of its own, or never comes.

        Raises:
            Nothing.
        """
        said = cast("RouteHeard", fact.data)
        if not 0 <= said.dispatched < seq:
            return
        before, _ = self._reader.fact(Seq(said.dispatched))
        if not isinstance(before, Fact) or not isinstance(before.data, CallDispatched):
            return
        sent = before.data
        known = _STATUS.get(said.fault, "error")
        yield self._attempt(
            seq, msgspec.structs.replace(fact, run=before.run), sent,
            state=state_at(self._reader, sent.route, said.dispatched)[0],
            status="recovered" if sent.probe and not said.fault else known,
            attempt=sent.attempt, fault=said.fault, latency_ms=said.took_ms,
        )  # fmt: skip
        yield from _learnt(seq, fact, sent, said)

    def doubted(self, seq: Seq, fact: Fact) -> Iterator[AnyEvent]:
        """Nobody will ever know from here how it ended.

        Raises:
            Nothing.
        """
        said = cast("CallDoubted", fact.data)
        sent, state = self._sent_before(fact, said.attempt)
        if sent is not None:
            yield self._attempt(
                seq, fact, sent, state=state, status="unknown", attempt=said.attempt, fault="lost",
                cost_micro_usd=sent.reserve_micro_usd, cost_source="held",
            )  # fmt: skip

    def refused(self, seq: Seq, fact: Fact) -> Iterator[AnyEvent]:
        """The door said no before anything was sent.

        Raises:
            Nothing.
        """
        said = cast("CallRefused", fact.data)
        yield self._attempt(
            seq, fact, _bare(said.name, said.route), status="rejected", fault=said.why
        )
        if said.why.startswith("budget"):
            yield Budget(seq=seq, at=fact.at, route=said.route, what="refused", scope="",
                         limit_micro_usd=-1)  # fmt: skip

    def served(self, seq: Seq, fact: Fact) -> Iterator[AnyEvent]:
        """A local tier answered.

        Raises:
            Nothing.
        """
        said = cast("CallServed", fact.data)
        sent = _bare(said.name, said.route, tier=said.tier, instead=said.instead)
        yield self._attempt(seq, fact, sent, status="success", latency_ms=said.took_ms)

    def turned(self, seq: Seq, fact: Fact) -> Iterator[AnyEvent]:
        """The breaker turned.

        Raises:
            Nothing.
        """
        said = cast("RouteTurned", fact.data)
        _, since = self._state(said.route, seq)
        self._states[said.route] = said.state, Micros(fact.at)
        yield Transition(
            seq=seq, at=fact.at, route=said.route, was=said.was, to=said.state, cause=said.cause,
            window=said.why, wait_s=said.wait_ms / 1_000, generation=said.generation,
            lasted_s=(fact.at - since) / SECOND if since else 0.0,
        )  # fmt: skip

    def checked(self, seq: Seq, fact: Fact) -> Iterator[AnyEvent]:
        """A free look.

        Raises:
            Nothing.
        """
        said = cast("RouteChecked", fact.data)
        yield Probe(
            seq=seq, at=fact.at, route=said.route, paid=False, success=said.alive,
            fault=said.fault, next_s=said.wait_ms / 1_000, cost_micro_usd=0,
        )  # fmt: skip

    def moved(self, seq: Seq, fact: Fact) -> Iterator[AnyEvent]:
        """A limit moved.

        Raises:
            Nothing.
        """
        said = cast("RouteLimitMoved", fact.data)
        yield TimeoutChanged(
            seq=seq, at=fact.at, route=said.route, was_ms=said.was_ms, limit_ms=said.limit_ms,
            basis=said.basis,
        )  # fmt: skip

    def budget(self, seq: Seq, fact: Fact) -> Iterator[AnyEvent]:
        """A limit of money was set.

        Raises:
            Nothing.
        """
        said = cast("BudgetSet", fact.data)
        yield Budget(seq=seq, at=fact.at, route="", what="set", scope=kind_of_scope(said.scope),
                     limit_micro_usd=said.limit_micro_usd)  # fmt: skip

    def flagged(self, seq: Seq, fact: Fact) -> Iterator[AnyEvent]:
        """A word of the owner's, or other numbers.

        Raises:
            Nothing.
        """
        match fact.data:
            case RouteModeSet(route=route, mode=mode, until=until):
                what, value = "mode", mode
            case RouteForced(route=route, state=state, until=until):
                what, value = "forced", state
            case RoutePolicyAdopted(route=route, policy=policy):
                what, value, until = "policy", policy, 0
            case RoutePromoted(route=route, policy=policy, watch_at=until):
                what, value = "promoted", policy
            case RouteReviewed(route=route, good=good):
                what, value, until = "reviewed", "good" if good else "bad", 0
            case _:
                return
        yield Flag(seq=seq, at=fact.at, route=route, what=what, value=value, until=until)

    # -- what happened before --------------------------------------------------------------

    def _attempt(  # noqa: PLR0913 - an event has so many fields
        self,
        seq: Seq,
        fact: Fact,
        sent: CallDispatched,
        *,
        status: str,
        state: str = "",
        attempt: int = 0,
        fault: str = "",
        latency_ms: int = 0,
        ttft_ms: int = 0,
        cost_micro_usd: int = 0,
        cost_source: str = "none",
        tokens_in: int = 0,
        tokens_out: int = 0,
    ) -> Attempt:
        reject, timeout_at = would_of(sent.would)
        run = self._reader.get(RunRow, fact.run)
        return Attempt(
            seq=seq, at=fact.at, route=sent.route, run=fact.run, attempt=attempt,
            lane=run.lane if run is not None else "", tier=sent.tier, status=status,
            latency_ms=latency_ms, queue_ms=sent.queue_ms, ttft_ms=ttft_ms,
            timeout_ms=sent.timeout_ms, timeout_basis=sent.basis,
            circuit_state=state or self._state(sent.route, seq)[0], generation=sent.generation,
            fallback_tier=sent.tier, fallback_reason=sent.instead, probe=sent.probe,
            probe_success=not fault if sent.probe else None, fault=fault,
            cost_micro_usd=cost_micro_usd, cost_source=cost_source,
            scopes=tuple(dict.fromkeys(kind_of_scope(scope) for scope in sent.budgets)),
            tokens_in=tokens_in, tokens_out=tokens_out, model=sent.model,
            simulated=sent.simulated, would_reject=reject, would_timeout_at_ms=timeout_at,
        )  # fmt: skip

    def _state(self, route: str, seq: int) -> tuple[str, Micros]:
        known = self._states.get(route)
        if known is None:
            known = self._states[route] = state_at(self._reader, route, seq)
        return known

    def _sent_before(self, fact: Fact, attempt: int) -> tuple[CallDispatched | None, str]:
        """The dispatch of an attempt, and the state under which it was sent."""
        sent, state = self._sent.pop((fact.run, fact.path), (None, ""))
        if sent is not None and sent.attempt == attempt:
            return sent, state
        for seq, before in self._reader.facts(limit=-1, run=fact.run):
            said = before.data if isinstance(before, Fact) and before.path == fact.path else None
            if isinstance(said, CallDispatched) and said.attempt == attempt:
                return said, state_at(self._reader, said.route, seq)[0]
        return None, ""


def _learnt(
    seq: Seq, fact: Fact, sent: CallDispatched, said: CallSettled | RouteHeard
) -> Iterator[AnyEvent]:
    """What the end of an attempt says beside itself: that the route is back, or is to be left."""
    cost = said.spend_micro_usd if isinstance(said, CallSettled) else 0
    if sent.probe:
        yield Probe(
            seq=seq, at=fact.at, route=sent.route, paid=cost > 0, success=not said.fault,
            fault=said.fault, next_s=0.0, cost_micro_usd=cost,
        )  # fmt: skip
    if said.asked_wait_ms:
        yield Limit(seq=seq, at=fact.at, route=sent.route, wait_ms=said.asked_wait_ms)


_Maker = Callable[[Stream, Seq, Fact], Iterator[AnyEvent]]

_MAKERS: dict[type[FactData], _Maker] = {
    CallDispatched: Stream.dispatched,
    CallSettled: Stream.settled,
    RouteHeard: Stream.heard,
    CallDoubted: Stream.doubted,
    CallRefused: Stream.refused,
    CallServed: Stream.served,
    RouteTurned: Stream.turned,
    RouteChecked: Stream.checked,
    RouteLimitMoved: Stream.moved,
    BudgetSet: Stream.budget,
    RouteModeSet: Stream.flagged,
    RouteForced: Stream.flagged,
    RoutePolicyAdopted: Stream.flagged,
    RoutePromoted: Stream.flagged,
    RouteReviewed: Stream.flagged,
}


def events(reader: Reader, *, since: int = 0, limit: int = 1_000) -> Iterator[AnyEvent]:
    """The events of the facts from a position on.

    Args:
        reader: one read transaction.
        since: position of the first fact that is looked at.
        limit: how many facts are looked at, -1 for all.

    Returns:
        Events in ledger order.

    Raises:
        HouseTooNew: a fact is newer than this version of Tildawn.
    """
    stream = Stream(reader)
    for seq, fact in reader.facts(Seq(since - 1), limit):
        if not isinstance(fact, RawFact):
            yield from stream.take(seq, fact)


def would_of(would: str) -> tuple[str, int]:
    """What a guard in shadow would have done: why it would have refused, and its time limit.

    Raises:
        Nothing.
    """
    reject, timeout = "", 0
    for part in filter(None, (part.strip() for part in would.split(","))):
        word, *rest = part.split()
        if word == "timeout" and rest and rest[0].isdigit():
            timeout = int(rest[0])
        else:
            reject = reject or word
    return reject, timeout


def kind_of_scope(scope: str) -> str:
    """What kind of budget a scope is: its name may be a run's, and has no end of values.

    Raises:
        Nothing.
    """
    return scope.replace(":", "/", 1).partition("/")[0]


def _bare(name: str, route: str, *, tier: str = "", instead: str = "") -> CallDispatched:
    """What an attempt that was never sent has of one that was."""
    return CallDispatched(
        name=name, route=route, attempt=0, key="", args="", repeat="", deadline=0, timeout_ms=0,
        tier=tier, instead=instead,
    )  # fmt: skip
