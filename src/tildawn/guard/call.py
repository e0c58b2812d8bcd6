"""The door: every call to the outside passes here, in one order, and leaves its facts.

What it is not: the calling.  ``perform`` of the request does that; the door decides whether and
when, and what is known afterwards.  Waits over ten seconds are the engine's (`Later`), and what
nobody can know is the owner's (`Hold`).

The order, outermost first.  The places of later policies are marked where they belong:

 1. mode              later: on, shadow or off for 3, 6, 7 and 8; all else always holds
 2. deadline          one absolute limit for everything of this entry
 3. ladder            later: other tiers, each through a door of its own
 4. retry             rules by kind of fault; one retry budget a route
 5. policy, permit    an unknown price is refused when nobody watches; later: permits
 6. breaker           later: admits, or says when to ask again
 7. limiter           later: waits for its turn; gets its token back from a refused 9
 8. bulkhead          later: so many at once a route
 9. ONE COMMIT        `CallDispatched` with its reservation, judged against all budgets
10. attempt timeout   later: adaptive
11. the call          and the check of its output
12. ONE COMMIT        `CallSettled`: the spend replaces the reservation

A call that works at once makes no other commit and reads nothing: that it is new is part of
what commit 9 expects, and if it is not, the refusal brings the row.

A crash before 9 leaves nothing.  Between 9 and 12 it leaves a dispatched attempt, which the
next entry doubts on record before it does anything else.
"""

from random import Random

import msgspec

from tildawn.clock import Clock
from tildawn.errors import Effect, NotPermitted, TildawnError
from tildawn.guard import budget, retry
from tildawn.guard.attempt import Ran
from tildawn.guard.commit import Patience
from tildawn.guard.doubt import Doubts, invalid
from tildawn.guard.fault import Seen, cancelled
from tildawn.guard.late import Abandoned
from tildawn.guard.means import Means
from tildawn.guard.request import Answer, CallRequest, Ended, Final, Stale, Verdict
from tildawn.guard.retry import RetryPolicy
from tildawn.guard.visit import Visit
from tildawn.ledger.entry import Committed, Entry, Unmet
from tildawn.ledger.ledger import Ledger
from tildawn.projections.budget import BudgetRow
from tildawn.projections.call import CallRow
from tildawn.units import SECOND, Micros, MicroUsd


DEADLINE = Micros(600 * SECOND)
"""For everything of one entry, where the request names none."""


class Next(msgspec.Struct, frozen=True, kw_only=True):
    """What follows a failed attempt: the end, another one at ``due``, or clearing up."""

    step: str
    due: Micros = Micros(0)
    why: str = ""


class Door:
    """The one way out of the house; belongs to one event loop.

    Durability: when ``perform`` runs, the dispatch and its reservation are on the disk; when
    `call` returns `Ended`, so is the end.  After an error of the ledger nothing more was
    recorded, and the attempt, if any, is in doubt.
    """

    def __init__(
        self, ledger: Ledger, clock: Clock, rng: Random, *, policy: RetryPolicy | None = None
    ) -> None:
        """Hang the door.

        Args:
            ledger: an open house that folds `tildawn.projections.call` and ``run``.
            clock: of the same loop.
            rng: for the jitter of waits.
            policy: the numbers of retrying, where a request brings none.
        """
        self._means = Means(ledger, clock, rng, policy or RetryPolicy())
        self._doubts = Doubts(self._means)
        self._inside: dict[tuple[str, str], Visit] = {}

    def abandoned(self) -> tuple[Abandoned, ...]:
        """The tries that would not end when their time was over, for the watch list.

        Raises:
            Nothing.
        """
        return self._means.latecomers.alive()

    def inside(self) -> frozenset[tuple[str, str]]:
        """The runs and paths with a call under way, for the loops of recovery to spare.

        Raises:
            Nothing.
        """
        return frozenset(self._inside)

    async def close(self) -> None:
        """Cancel abandoned tries and alarms; calls that are under way are the engine's.

        Raises:
            Nothing.
        """
        self._means.alarms.close()
        await self._means.latecomers.close()

    async def call(self, request: CallRequest, final: Final) -> Verdict:
        """Make one call, or go on with it.

        Args:
            request: the call; the same one whenever the engine asks again.
            final: takes the final record, inside the callback of its commit.

        Returns:
            `Ended`; `Later` or `Hold` without an end; `Stale` for a zombie.

        Raises:
            TildawnError: the ledger did not take a fact; see the class.
            asyncio.CancelledError: the caller was cancelled; the try was ended first, and its
                end is on record but for a house that takes no facts.
        """
        place = (request.run, request.path)
        await self._alone(place)
        until = Micros(self._means.clock.mono() + (request.deadline or DEADLINE))  # 2
        visit = Visit(self._means.ledger, request, final, until=until)
        self._inside[place] = visit
        try:
            return await self._pass(visit)
        finally:
            del self._inside[place]
            visit.leave()

    async def _alone(self, place: tuple[str, str]) -> None:
        """End what an earlier attempt of the run still does for this call, and wait for it."""
        while (zombie := self._inside.get(place)) is not None:
            zombie.send_away()
            await zombie.left()

    async def _pass(self, visit: Visit) -> Verdict:
        # 1 and 3 go here.
        while True:  # 4
            verdict = await self._admit(visit)
            if verdict is None:
                limit = self._means.limit_of(visit)  # 10
                ran = await self._means.attempt(visit, limit)  # 11
                verdict = await self._settle(visit, ran)
            if verdict is not None:
                return verdict

    # -- before ----------------------------------------------------------------------------

    async def _admit(self, visit: Visit) -> Verdict | None:
        """Everything before the call; None means: it is dispatched, go."""
        request = visit.request
        if request.reserve is None and request.unattended:  # 5
            return await self._refuse(visit, _unknown_price(request))
        # 6, 7 and 8 go here.
        while True:
            answer = await self._dispatch(visit)  # 9
            if isinstance(answer, Committed):
                return await self._unsent(visit) if visit.cancelled else None
            if isinstance(answer.row, BudgetRow):
                error = budget.refusal(answer.row, request.reserve or MicroUsd(0))
                return await self._refuse(visit, error)
            if not isinstance(answer.row, CallRow):
                return Stale()
            verdict = await self._doubts.resume(visit, answer.row)
            if verdict is not None:
                return verdict

    async def _dispatch(self, visit: Visit) -> Committed | Unmet:
        means, request = self._means, visit.request
        limit = means.limit_of(visit)
        entry = visit.record.dispatched(
            visit.attempt + 1, key=visit.key, deadline=Micros(means.clock.wall() + limit),
            limit=limit,
        )  # fmt: skip
        expect = visit.expect()
        expect += budget.reservation(request.budgets, request.reserve or MicroUsd(0))
        answer = await means.committer.append([entry], expect=expect, patience=visit)
        if isinstance(answer, Committed):
            visit.known = answer.first
            visit.child = False
            visit.attempt += 1
            visit.tries += 1
        return answer

    async def _unsent(self, visit: Visit) -> Verdict:
        """The caller went away while the dispatch was on its way: nothing leaves."""
        fault = cancelled(sent=False)
        await self._means.commit(
            visit, visit.record.failed(visit.attempt, fault=fault, ran=None, final=False)
        )
        visit.leave_if_cancelled()
        return Stale()

    async def _refuse(self, visit: Visit, error: TildawnError) -> Verdict:
        while True:
            ended = await self._means.finish(visit, visit.record.refused(error))
            visit.leave_if_cancelled()
            if isinstance(ended, Ended):
                return ended
            if not isinstance(ended.row, CallRow) or ended.row.state_at == visit.known:
                return Stale()
            verdict = await self._doubts.resume(visit, ended.row)
            if verdict is not None:
                return verdict

    # -- after -----------------------------------------------------------------------------

    async def _settle(self, visit: Visit, ran: Ran[Answer]) -> Verdict | None:
        """Put the end of an attempt on record; None means: another one."""
        visit.cancelled |= ran.cancelled
        fault = ran.fault
        if ran.answer is not None:
            fault = invalid(visit.request, ran.answer.value)
            if fault is None:
                return await self._answer(visit, ran, ran.answer)
        assert fault is not None
        then = self._next(visit, fault)
        entry = visit.record.failed(
            visit.attempt, fault=fault, ran=ran, final=then.step == "end", retry_due=then.due
        )
        if then.step == "end":
            return await self._end(visit, entry, ran, fault)
        if not await self._means.commit(visit, entry):  # 12, and not the end
            return await self._outlived(visit, ran, fault)
        visit.leave_if_cancelled()
        if then.step == "clear up":
            verdict = await self._doubts.clear_up(visit, None)
            return verdict or await self._absent(visit, ran, fault)
        if ran.task is not None and visit.child:
            return self._means.until_gone()
        return await self._means.pause(visit, then.due, then.why)

    async def _absent(self, visit: Visit, ran: Ran[Answer], fault: Seen) -> Verdict | None:
        """It is known not to have happened: the rules for its fault decide, as for any other."""
        nothing = msgspec.structs.replace(fault, effect=Effect.NONE)
        then = self._next(visit, nothing)
        if then.step == "end":
            return await self._end(visit, visit.record.given_up(visit.attempt, nothing), ran, fault)
        return await self._means.pause(visit, then.due, then.why)

    async def _answer(self, visit: Visit, ran: Ran[Answer], answer: Answer) -> Verdict:
        entry = visit.record.answered(visit.attempt, answer, ran.took)
        return await self._end(visit, entry, ran, None)

    async def _end(
        self, visit: Visit, entry: Entry, ran: Ran[Answer], fault: Seen | None
    ) -> Verdict:
        ended = await self._means.finish(visit, entry)  # 12
        if isinstance(ended, Ended):
            visit.leave_if_cancelled()
            return ended
        return await self._outlived(visit, ran, fault)

    def _next(self, visit: Visit, fault: Seen) -> Next:
        """What follows a failure.  Whoever goes away leaves the call open for the next entry."""
        means, request = self._means, visit.request
        if fault.kind == "cancelled":
            return Next(step="stop")
        if fault.effect is Effect.UNKNOWN and not visit.repeatable():
            return Next(step="clear up")
        policy = means.policy_of(request)
        wait = retry.wait_before(policy, fault, visit.tries, means.rng.random())
        if wait is None:
            return Next(step="end")
        now = means.clock.wall()
        if not means.may_retry(request):
            due = Micros(now + max(wait, policy.budget_wait))
            return Next(step="again", due=due, why="retry-budget")
        if wait <= policy.short_wait and means.clock.mono() + wait >= visit.until:
            return Next(step="end")
        return Next(step="again", due=Micros(now + wait), why=fault.kind)

    async def _outlived(self, visit: Visit, ran: Ran[Answer], fault: Seen | None) -> Stale:
        """The run has a newer attempt: nothing is settled, but money and effect are booked.

        Without the engine's fence, as it is no news for the run; with the call unmoved, so that
        a newer attempt of the call is never touched.
        """
        if fault is None and ran.answer is not None:
            await self._means.latecomers.record(visit, visit.attempt, ran.answer)
        elif fault is not None:
            entry = visit.record.failed(visit.attempt, fault=fault, ran=ran, final=False)
            await self._means.committer.append(
                [entry], expect=[visit.moved()], patience=Patience(), insist=True
            )
        visit.leave_if_cancelled()
        return Stale()


def _unknown_price(request: CallRequest) -> NotPermitted:
    what = f" of {request.model}" if request.model else ""
    message = (
        f"the price{what} on {request.route} is unknown, and nobody is there to watch the bill"
    )
    return NotPermitted(
        message, hint="name a max_cost for the step, or the price in prices.toml", reason="price"
    )
