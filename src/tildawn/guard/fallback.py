"""Leaving a tier that does not serve, for one call: another model, or what is here already.

What it is not: the rules; those are in `tildawn.guard.ladder`.
"""

import asyncio
from typing import Literal

from tildawn.errors import Effect
from tildawn.facts.route import RouteHeard
from tildawn.guard import budget, ladder
from tildawn.guard.attempt import Ran
from tildawn.guard.fault import Seen
from tildawn.guard.gate import Gate
from tildawn.guard.means import Means
from tildawn.guard.record import asked_wait
from tildawn.guard.request import Answer, Ended, Need, Remote, Stale, Verdict
from tildawn.guard.visit import Visit
from tildawn.ledger.entry import Committed, Outcome
from tildawn.projections.route import heard
from tildawn.units import MILLISECOND, Micros


STAY: Literal["stay"] = "stay"
"""No other tier serves: the call parks or fails as it would without a ladder."""


class Fallback:
    """Takes calls down their ladders."""

    def __init__(self, means: Means, gate: Gate) -> None:
        """Take the way to the ledger, the clock, and the gate that learns of every end."""
        self._means = means
        self._gate = gate

    def patience(self, visit: Visit) -> Micros:
        """Until when a call may wait for leave (steady clock).

        Raises:
            Nothing.
        """
        if not _watched(visit):
            return visit.until
        return Micros(min(visit.until, self._means.clock.mono() + ladder.PATIENCE))

    def spare(self, visit: Visit) -> None:
        """Turn to a cheaper model that the call allows, where its money runs low.

        Only for what may be done twice: an earlier entry may have asked the primary.

        Raises:
            TildawnError: the house cannot be read.
        """
        call = visit.primary
        if not call.remotes or call.repeat != "safe" or visit.asked:
            return
        funds = self._means.funds(visit)
        if funds is None:
            return
        with self._means.ledger.read() as reader:
            strained = budget.strained(funds.scopes, budget.standing(reader, funds.scopes))
        first = ladder.ahead(call.remotes, reserve=call.reserve, strained=strained)
        if first:
            visit.spared = True
            visit.turn_to(first[0], instead=ladder.STRAINED)

    def possible(self, visit: Visit, fault: Seen) -> bool:
        """Whether a failure for good is not the end, as another tier may serve.

        Raises:
            Nothing.
        """
        if visit.spared:
            return fault.kind not in ladder.OURS
        effect = worse(visit.effect, fault.effect)
        return self._rung(visit, fault.kind, effect) != STAY

    async def lower(
        self, visit: Visit, cause: str, error: Seen | None
    ) -> Verdict | Literal["stay"] | None:
        """Leave the present tier.

        Args:
            visit: the entry; it is turned to the other model, where there is one.
            cause: a kind of fault, or why the tier may not be asked.
            error: how it failed, where it did.

        Returns:
            None when another model is to be asked, `STAY`, or the end.

        Raises:
            TildawnError: the house takes no facts.
            asyncio.CancelledError: the caller was cancelled.
        """
        if visit.spared and cause not in ladder.OURS:
            visit.turn_back()
            return None
        visit.decided = self._means.clock.mono()
        rung = self._rung(visit, cause, worse(visit.effect, error.effect if error else Effect.NONE))
        if rung == "remote":
            visit.turn_to(_left(visit)[0], instead=cause)
            return None
        if rung == "local":
            return await self._serve(visit, cause) or STAY
        return STAY

    async def attempt(self, visit: Visit, limit: Micros) -> Ran[Answer] | Ended:
        """Make one attempt; whoever watches is served something else when it takes too long.

        Returns:
            How it ended; `Ended` when a local tier served while it goes on.

        Raises:
            TildawnError: the house takes no facts.
        """
        if not _watched(visit):
            return await self._means.attempt(visit, limit)
        going = asyncio.get_running_loop().create_task(self._means.attempt(visit, limit))
        if not await self._within_patience(going):
            visit.decided = self._means.clock.mono()
            said = await self._served_beside(visit, going)
            if said is not None:
                self._means.latecomers.follow(visit, visit.attempt, going)
                self._hear(visit, going)
                return said
        return await going

    def _hear(self, visit: Visit, going: "asyncio.Task[Ran[Answer]]") -> None:
        """Keep the leave of an attempt that goes on until it ends, and tell its route how.

        A crash before that leaves nothing of it but the dispatch.
        """
        leave, visit.leave_of_gate = visit.leave_of_gate, None
        assert leave is not None, "only what was let in goes on"
        gate, ledger, latecomers = self._gate, self._means.ledger, self._means.latecomers
        route, dispatched, limit_ms = leave.health.row.route, visit.sent_at, visit.limit_ms

        def ended(done: "asyncio.Task[Ran[Answer]]") -> None:
            if done.cancelled() or done.exception() is not None or done.result().cancelled:
                gate.leave(leave)
                return
            ran = done.result()
            said = RouteHeard(
                route=route, generation=leave.generation, dispatched=dispatched,
                limit_ms=limit_ms, fault=ran.fault.kind if ran.fault else "",
                took_ms=ran.took // MILLISECOND,
                asked_wait_ms=-(-asked_wait(ran.fault) // MILLISECOND) if ran.fault else 0,
            )  # fmt: skip
            entry = ledger.draft(said)

            def then(outcome: Outcome) -> None:
                if isinstance(outcome, Committed):
                    end, sent = heard(said)
                    gate.settled(leave, end, sent, Micros(entry.fact.at))
                gate.leave(leave)

            latecomers.put(entry, then)

        going.add_done_callback(ended)

    async def _within_patience(self, going: "asyncio.Task[Ran[Answer]]") -> bool:
        """Whether an attempt ended before whoever watches lost patience."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake(_: object = None) -> None:
            if not over.done():
                over.set_result(None)

        going.add_done_callback(wake)
        alarm = self._means.alarms.set(self._means.clock.mono() + ladder.PATIENCE, wake)
        try:
            await over
        except asyncio.CancelledError:
            # The try ends first, and says that it was cancelled; see `Ran.cancelled`.
            going.cancel()
        finally:
            alarm.cancel()
        return going.done() or bool(going.cancelling())

    async def _served_beside(
        self, visit: Visit, going: "asyncio.Task[Ran[Answer]]"
    ) -> Ended | None:
        try:
            said = await self._serve(visit, ladder.LATE, unless=going)
        except asyncio.CancelledError:
            going.cancel()
            return None
        except BaseException:
            going.cancel()
            await going  # it ends first; what it says is lost with the house
            raise
        return said if isinstance(said, Ended) else None

    async def _serve(
        self, visit: Visit, cause: str, *, unless: "asyncio.Task[Ran[Answer]] | None" = None
    ) -> Ended | Stale | None:
        means, call = self._means, visit.primary
        need = Need(
            reason=cause, args=call.args_digest, decided=visit.decided,
            deadline=Micros(max(means.clock.mono() + ladder.ACTIVATION, visit.decided)),
        )  # fmt: skip
        served = await ladder.climb(
            call.locals, need, clock=means.clock, alarms=means.alarms, validate=call.validate
        )
        if served is None or (unless is not None and unless.done()):
            return None  # the primary was faster after all
        entry = visit.record.served(
            served.answer, tier=served.tier, instead=cause, took=served.took, error=visit.error
        )
        ended = await means.finish(visit, entry)
        if unless is None:
            visit.leave_if_cancelled()
        return ended if isinstance(ended, Ended) else Stale()

    def _rung(self, visit: Visit, cause: str, effect: Effect) -> Literal["remote", "local", "stay"]:
        call = visit.primary
        return ladder.rung(
            cause, repeat=call.repeat, effect=effect, interactive=call.patience == "interactive",
            remotes=len(_left(visit)), tiers=len(call.locals),
        )  # fmt: skip


def worse(one: Effect, other: Effect) -> Effect:
    """What two attempts together may have done.

    Raises:
        Nothing.
    """
    return Effect.UNKNOWN if Effect.UNKNOWN in {one, other} else one


def _watched(visit: Visit) -> bool:
    return visit.primary.patience == "interactive" and bool(visit.primary.locals)


def _left(visit: Visit) -> tuple[Remote, ...]:
    return tuple(
        one for one in ladder.cheapest(visit.primary.remotes) if one.name not in visit.asked
    )
