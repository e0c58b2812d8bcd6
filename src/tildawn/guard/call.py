"""The door: every call to the outside passes here, in one order, and leaves its facts.

What it is not: the calling.  ``perform`` of the request does that; the door decides whether and
when, and what is known afterwards.  Waits over ten seconds are the engine's (`Later`), and what
nobody can know is the owner's (`Hold`).

The order, outermost first.  Each rule is a file of its own.

 1. mode              on, shadow or off for 3, 6, 7, 8 and 10 (`mode`); all else always holds
 2. deadline          one absolute limit for everything of this entry
 3. ladder            other models, then what is here already (`fallback`, `ladder`)
 4. retry             rules by kind of fault; one retry budget a route (`retry`)
 5. policy, permit    an unknown price is refused when nobody watches; a permit says no (`permit`)
 6. breaker           admits, or says when to ask again (`gate`, `breaker`, `recovery`)
 7. limiter           waits for its turn; gets its token back from a refused 9 (`limiter`)
 8. bulkhead          so many at once a route (`bulkhead`)
 9. ONE COMMIT        `CallDispatched` with its reservation, judged against budgets and permits
10. attempt timeout   follows the latencies of the route (`timeout`, `latency`)
11. the call          and the check of its output
12. ONE COMMIT        `CallSettled`: the spend replaces the reservation; the route learns of it

A call that works at once makes no other commit and reads nothing: that it is new is part of
what commit 9 expects, and if it is not, the refusal brings the row.

A crash before 9 leaves nothing.  Between 9 and 12 it leaves a dispatched attempt, which the
next entry doubts on record before it does anything else.
"""

from random import Random
from typing import cast

import msgspec

from tildawn.clock import Clock
from tildawn.errors import Effect, NotPermitted, TildawnError
from tildawn.facts.call import CallDispatched, CallSettled
from tildawn.facts.fact import Fact
from tildawn.guard import budget, ladder, permit
from tildawn.guard.attempt import Ran
from tildawn.guard.authority import Authority, refused_fact
from tildawn.guard.commit import Patience
from tildawn.guard.deadline import Alarms
from tildawn.guard.doubt import Doubts, invalid
from tildawn.guard.fallback import STAY, Fallback, worse
from tildawn.guard.fault import Seen, cancelled
from tildawn.guard.funds import expected
from tildawn.guard.gate import Gate
from tildawn.guard.late import Abandoned
from tildawn.guard.leave import Pass
from tildawn.guard.means import Means, Then
from tildawn.guard.policy import Mode, PolicyOf, preset_of
from tildawn.guard.request import Answer, CallRequest, Ended, Final, Later, Stale, Verdict
from tildawn.guard.sequel import Next, Sequel
from tildawn.guard.turns import alone
from tildawn.guard.visit import Visit
from tildawn.ledger.entry import Committed, Entry, Outcome, Unmet
from tildawn.ledger.ledger import Ledger
from tildawn.projections.call import CallRow
from tildawn.projections.route import HealthRow, Sent
from tildawn.units import SECOND, Micros, Seq


class Door:
    """The one way out of the house; belongs to one event loop.

    Durability: when ``perform`` runs, the dispatch and its reservation are on the disk; when
    `call` returns `Ended`, so is the end.  After an error of the ledger nothing more was
    recorded, and the attempt, if any, is in doubt.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        rng: Random,
        *,
        policies: PolicyOf | None = None,
        environment: Mode | None = None,
    ) -> None:
        """Hang the door.

        Args:
            ledger: an open house that folds `tildawn.projections.call`, ``route`` and ``run``.
            clock: of the same loop.
            rng: for the jitter of waits.
            policies: the numbers of each route; the presets of their classes where absent.
            environment: what ``GEN_BREAKER_ENABLED`` says, if anything.
        """
        numbers = policies or preset_of
        self._means = Means(ledger, clock, rng, numbers)
        self.gate = Gate(
            ledger, clock, rng, alarms=self._means.alarms, policies=numbers, environment=environment
        )
        self._authority = Authority(ledger)
        self._sequel = Sequel(self._means, self.gate)
        self._doubts = Doubts(self._means)
        self._fallback = Fallback(self._means, self.gate)
        self._inside: dict[tuple[str, str], Visit] = {}

    @property
    def clock(self) -> Clock:
        """Of the loop that the door belongs to."""
        return self._means.clock

    @property
    def alarms(self) -> Alarms:
        """Of the loop that the door belongs to."""
        return self._means.alarms

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
        limit = request.deadline or self.gate.health(request.route, request.kind).policy.deadline
        until = Micros(self._means.clock.mono() + limit)  # 2
        visit = Visit(self._means.ledger, request, final, until=until)
        self._inside[place] = visit
        try:
            return await self._pass(visit)
        finally:
            del self._inside[place]
            visit.leave()

    async def test(self, request: CallRequest, leave: Pass) -> None:
        """Make one attempt that no run waits for, to see whether a route is back.

        Args:
            request: of `PROBES` in place of a run.
            leave: of `Gate.testing`; it is given back.

        Raises:
            TildawnError: the ledger did not take a fact.
            asyncio.CancelledError: the caller was cancelled; the try was ended first.
        """
        clock = self._means.clock
        until = Micros(clock.mono() + 2 * leave.limit.limit)
        visit = Visit(self._means.ledger, request, _nobody, until=until)
        place = (request.run, request.path)
        self._inside[place] = visit
        try:
            await self._dispatched(visit, leave)
            if visit.leave_of_gate is not None:
                await self._send(visit)
        finally:
            del self._inside[place]
            visit.leave()

    async def _alone(self, place: tuple[str, str]) -> None:
        """End what an earlier attempt of the run still does for this call, and wait for it."""
        while (zombie := self._inside.get(place)) is not None:
            zombie.send_away()
            await zombie.left()

    async def _pass(self, visit: Visit) -> Verdict:
        self._fallback.spare(visit)
        while True:  # 3 and 4
            verdict = await self._admit(visit)
            if verdict is None:
                verdict = await self._send(visit)
            if verdict is not None:
                return verdict

    # -- before ----------------------------------------------------------------------------

    async def _admit(self, visit: Visit) -> Verdict | None:
        """Everything before the call; None means: it is dispatched, go."""
        while True:
            request = visit.request
            if request.reserve is None and self._means.funds(visit) is None:  # 5
                return await self._refuse(visit, budget.unpriced(request))
            error = self._authority.refuses(request, self._means.clock.wall())  # 5
            if error is not None:
                return await self._forbid(visit, error)
            leave = await self.gate.enter(request, until=self._fallback.patience(visit))  # 6, 7, 8
            if isinstance(leave, Later):
                verdict = await self._not_now(visit, leave)
                if verdict is not None:
                    return verdict
                continue
            verdict = await self._dispatched(visit, leave)
            if visit.leave_of_gate is not None or verdict is not None:
                return verdict

    async def _dispatched(self, visit: Visit, leave: Pass) -> Verdict | None:
        """None with the leave kept: it is dispatched; without it: ask for leave again."""
        visit.leave_of_gate = leave
        try:
            answer = await self._dispatch(visit, leave)  # 9
        except BaseException:
            visit.leave_of_gate = None
            self.gate.unsent(leave)
            raise
        if isinstance(answer, Committed):
            return await self._unsent(visit) if visit.cancelled else None
        visit.leave_of_gate = None
        self.gate.unsent(leave)
        if answer.why == budget.WHY:
            funds = visit.record.funds
            error = budget.refusal(
                answer.row, funds.amount, scopes=funds.scopes, tokens=funds.tokens
            )
            said = await self._fallback.lower(visit, error.code, None)
            return await self._refuse(visit, error) if said == STAY else said
        if answer.why == permit.WHY:
            now = self._means.clock.wall()
            return await self._forbid(
                visit,
                self._authority.unmet(visit.request, answer.row, visit.record.funds.amount, now),
            )
        if isinstance(answer.row, HealthRow):
            return Later(Micros(self._means.clock.wall() + SECOND), "route-open")
        if not isinstance(answer.row, CallRow):
            return Stale()
        return await self._doubts.resume(visit, answer.row)

    async def _not_now(self, visit: Visit, later: Later) -> Verdict | None:
        """The gate says no.  What is on record may need no leave; another tier may serve."""
        with self._means.ledger.read() as reader:
            row = reader.get(CallRow, visit.request.run, visit.request.path)
        if row is not None and row.state_at != visit.known:
            verdict = await self._doubts.resume(visit, row)
            if verdict is not None:
                return verdict
            if row.state == "settled" and later.why == ladder.BLOCKED:
                # Its owner had it begin anew, so whatever blocked the route may be mended.
                self.gate.retest(visit.request)
                return None
        said = await self._fallback.lower(visit, later.why, None)
        return later if said == STAY else said

    async def _dispatch(self, visit: Visit, leave: Pass) -> Committed | Unmet:
        means, request = self._means, visit.request
        limit = means.limit_of(visit)
        funds = means.funds(visit, probe=leave.probe)
        assert funds is not None, "what has no price was refused before it asked for leave"
        permits = self._authority.scopes(request)
        visit.record.funds = msgspec.structs.replace(funds, permits=permits) if permits else funds
        entry = visit.record.dispatched(
            visit.attempt + 1, key=visit.key, leave=leave,
            deadline=Micros(means.clock.wall() + limit), limit=limit,
        )  # fmt: skip
        expect = visit.expect()
        expect += expected(request, funds)
        expect += self._authority.expected(request, funds.amount, Micros(entry.fact.at))
        if leave.probe:
            expect.append(alone(request.route))

        def then(outcome: Outcome) -> None:
            if isinstance(outcome, Committed):
                said = cast("CallDispatched", entry.fact.data)
                self.gate.dispatched(leave, said, outcome.first, Micros(entry.fact.at))

        answer = await means.committer.append([entry], expect=expect, patience=visit, then=then)
        if isinstance(answer, Committed):
            visit.known = answer.first
            visit.sent_at = answer.first
            sent = cast("CallDispatched", entry.fact.data)
            visit.limit_ms = 0 if sent.short else sent.timeout_ms
            visit.child = False
            visit.attempt += 1
            visit.tries += 1
        return answer

    async def _unsent(self, visit: Visit) -> Verdict:
        """The caller went away while the dispatch was on its way: nothing leaves."""
        entry = visit.record.failed(
            visit.attempt, fault=cancelled(sent=False), ran=None, final=False
        )
        try:
            await self._means.commit(visit, entry, then=self._learned(visit, entry))
        finally:
            self._left(visit)
        visit.leave_if_cancelled()
        return Stale()

    async def _forbid(self, visit: Visit, error: NotPermitted) -> Verdict | None:
        """A permit says no: the end of the call, or of the tier that is asked for it."""
        if visit.request is visit.primary:
            return await self._refuse(visit, error)
        if (refused := refused_fact(error)) is not None:
            # Before another tier is asked; a crash here leaves a call that begins again.
            entry, fence = visit.record.not_permitted(refused), visit.request.fence
            await self._means.committer.append([entry], expect=[fence], patience=visit)
        said = await self._fallback.lower(visit, error.code, None)
        if said != STAY:
            return said
        if visit.error is not None:
            return await self._give_up(visit, visit.error)
        return await self._refuse(visit, NotPermitted(error.message, hint=error.hint))

    async def _refuse(self, visit: Visit, error: TildawnError) -> Verdict:
        while True:
            ended = await self._means.finish(visit, *self._refused(visit, error))
            visit.leave_if_cancelled()
            if isinstance(ended, Ended):
                return ended
            if not isinstance(ended.row, CallRow) or ended.row.state_at == visit.known:
                return Stale()
            verdict = await self._doubts.resume(visit, ended.row)
            if verdict is not None:
                return verdict

    @staticmethod
    def _refused(visit: Visit, error: TildawnError) -> list[Entry]:
        said = refused_fact(error) if isinstance(error, NotPermitted) else None
        refused = visit.record.refused(error)
        return [refused] if said is None else [visit.record.not_permitted(said), refused]

    # -- the call --------------------------------------------------------------------------

    async def _send(self, visit: Visit) -> Verdict | None:
        """Make an attempt that is dispatched, and put its end on record; None: another one."""
        limit = self._means.limit_of(visit)  # 10
        try:
            ran = await self._fallback.attempt(visit, limit)  # 11
            if isinstance(ran, Ended):
                visit.leave_if_cancelled()
                return ran  # somebody waited in front of it, and something else was served
            return await self._settle(visit, ran)
        finally:
            self._left(visit)

    def _left(self, visit: Visit) -> None:
        if visit.leave_of_gate is not None:
            self.gate.leave(visit.leave_of_gate)
            visit.leave_of_gate = None

    def _learned(self, visit: Visit, entry: Entry) -> Then:
        """What tells the route of the end of an attempt once it is on record."""
        leave, dispatched = visit.leave_of_gate, visit.sent_at
        assert leave is not None, "only what was let in can end"
        limit_ms = visit.limit_ms

        def then(outcome: Outcome) -> None:
            if isinstance(outcome, Committed):
                sent = Sent(dispatched=dispatched, generation=leave.generation, limit_ms=limit_ms)
                said = cast("CallSettled", entry.fact.data)
                self.gate.settled(leave, said, sent, Micros(entry.fact.at))

        return then

    # -- after -----------------------------------------------------------------------------

    async def _settle(self, visit: Visit, ran: Ran[Answer]) -> Verdict | None:
        """Put the end of an attempt on record; None means: another one."""
        visit.cancelled |= ran.cancelled
        fault = ran.fault
        if ran.answer is not None:
            value = ran.answer.value
            fault = visit.record.secret(value) or invalid(visit.request, value)
            if fault is None:
                entry = visit.record.answered(visit.attempt, ran.answer, ran)
                return await self._end(visit, entry, ran, None)
        assert fault is not None
        test = self._sequel.is_test(visit, fault)
        visit.tries -= int(test)
        then = self._sequel.after(visit, fault)
        lower = then.step == "end" and self._fallback.possible(visit, fault)
        if (test and then.step == "again") or (then.step == "end" and not lower):
            then = self._sequel.parked(visit, fault) or then
        entry = visit.record.failed(
            visit.attempt, fault=fault, ran=ran, final=then.step == "end" and not lower,
            retry_due=0 if then.why == ladder.RETRIES else then.due, test=test,
        )  # fmt: skip
        if then.step == "end" and not lower:
            return await self._end(visit, entry, ran, fault)
        if not await self._means.commit(visit, entry, then=self._learned(visit, entry)):  # 12
            return await self._outlived(visit, ran, fault)
        self._left(visit)
        visit.effect = worse(visit.effect, fault.effect)
        visit.leave_if_cancelled()
        return await self._follow(visit, ran, fault, then)

    async def _follow(
        self, visit: Visit, ran: Ran[Answer], fault: Seen, then: Next
    ) -> Verdict | None:
        """Go on after an attempt that was not the last."""
        if then.step == "clear up":
            verdict = await self._doubts.clear_up(visit, None)
            return verdict or await self._absent(visit, fault)
        if then.step == "end":
            return await self._lower(visit, fault)
        if ran.task is not None and visit.child:
            return self._means.until_gone()
        return await self._means.pause(visit, then.due, then.why)

    async def _lower(self, visit: Visit, fault: Seen) -> Verdict | None:
        """It failed for good here; another tier may serve."""
        visit.error = visit.error or fault
        said = await self._fallback.lower(visit, fault.kind, fault)
        if said != STAY:
            return said
        return await self._give_up(visit, visit.error)

    async def _give_up(self, visit: Visit, fault: Seen) -> Verdict:
        ended = await self._means.finish(visit, visit.record.given_up(visit.attempt, fault))
        visit.leave_if_cancelled()
        return ended if isinstance(ended, Ended) else Stale()

    async def _absent(self, visit: Visit, fault: Seen) -> Verdict | None:
        """It is known not to have happened: the rules for its fault decide, as for any other."""
        nothing = msgspec.structs.replace(fault, effect=Effect.NONE)
        visit.effect = Effect.NONE
        then = self._sequel.after(visit, nothing)
        if then.step != "end":
            return await self._means.pause(visit, then.due, then.why)
        if self._fallback.possible(visit, nothing):
            return await self._lower(visit, nothing)
        return await self._give_up(visit, nothing)

    async def _end(
        self, visit: Visit, entry: Entry, ran: Ran[Answer], fault: Seen | None
    ) -> Verdict:
        ended = await self._means.finish(visit, entry, then=self._learned(visit, entry))  # 12
        if isinstance(ended, Ended):
            visit.leave_if_cancelled()
            return ended
        return await self._outlived(visit, ran, fault)

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
                [entry], expect=[visit.moved()], patience=Patience(),
                then=self._learned(visit, entry), insist=True,
            )  # fmt: skip
        visit.leave_if_cancelled()
        return Stale()


def _nobody(_seq: Seq, _fact: Fact, _text: bytes | None) -> None:
    """Takes the final record of a call that no run waits for."""
