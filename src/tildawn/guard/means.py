"""What the door works with, and the things it does with it: run a try, commit, wait.

What it is not: decisions; those are in `tildawn.guard.call` and `tildawn.guard.doubt`.
"""

from collections.abc import Callable
from random import Random
from typing import TypeVar

from tildawn.clock import Clock
from tildawn.errors import StaleWriter
from tildawn.guard import retry
from tildawn.guard.attempt import Ran, Try, Work
from tildawn.guard.commit import Committer
from tildawn.guard.deadline import Alarms
from tildawn.guard.funds import Funds, funds_of
from tildawn.guard.ladder import share
from tildawn.guard.late import Latecomers
from tildawn.guard.policy import PolicyOf
from tildawn.guard.request import Answer, Attempt, Ended, Later
from tildawn.guard.retry import RetryPolicy
from tildawn.guard.visit import Visit
from tildawn.ledger.entry import Entry, Outcome, Unmet
from tildawn.ledger.ledger import Ledger
from tildawn.projections.tally import recent
from tildawn.units import SECOND, Micros, Seq


Then = Callable[[Outcome], None]
"""Called with the outcome of an append, in ledger order."""

T = TypeVar("T")


class Means:
    """The ledger, the clock, chance, and who is late; of one event loop."""

    def __init__(self, ledger: Ledger, clock: Clock, rng: Random, policies: PolicyOf) -> None:
        """Take what enters from outside."""
        self.ledger = ledger
        self.clock = clock
        self.rng = rng
        self.policies = policies
        self.alarms = Alarms(clock)
        self.committer = Committer(ledger, clock)
        self.latecomers = Latecomers(clock, self.committer)

    def policy_of(self, visit: Visit) -> RetryPolicy:
        """The numbers of retrying that hold for a call.

        Raises:
            Nothing.
        """
        request = visit.request
        return request.retry or self.policies(request.route, request.kind).retry

    def funds(self, visit: Visit, *, probe: bool = False) -> Funds | None:
        """The money of an attempt that begins now; None where its price is unknown and refused.

        Raises:
            BadSetting: the rule of the route for unknown prices is none.
        """
        request = visit.request
        policy = self.policies(request.route, request.kind)
        return funds_of(request, policy=policy, now=self.clock.wall(), probe=probe)

    # -- running ---------------------------------------------------------------------------

    def limit_of(self, visit: Visit) -> Micros:
        """How long an attempt that begins now may take.

        Raises:
            Nothing.
        """
        leave, asked = visit.leave_of_gate, visit.request.timeout
        assert leave is not None, "only who was let in may be sent"
        limit = leave.limit.limit
        if asked is not None:
            # A step that says that it takes longer than such calls do is believed.
            longer = asked > leave.health.policy.timeout.most
            limit = asked if longer else min(asked, limit)
        left = Micros(visit.until - self.clock.mono())
        return Micros(max(min(limit, share(left, self._least_below(visit))), 0))

    def _least_below(self, visit: Visit) -> list[Micros]:
        """What each tier below the present one needs at the least."""
        call = visit.primary
        others = [one for one in call.remotes if one.name not in visit.asked]
        return [
            *(self.policies(one.route, one.kind).timeout.least for one in others),
            *(one.limit for one in call.locals),
        ]

    async def attempt(self, visit: Visit, limit: Micros) -> Ran[Answer]:
        """Do the outside work once; an attempt that would not end is kept as a latecomer.

        Raises:
            Nothing.
        """
        ran = await self.run(visit, visit.request.perform, limit)
        if ran.task is not None:
            self.latecomers.take(visit, ran.task)
        return ran

    async def run(self, visit: Visit, work: Work[T], limit: Micros) -> Ran[T]:
        """Do something outside for at most ``limit``.

        Raises:
            Nothing.
        """
        view = Attempt(
            key=visit.key, number=visit.attempt,
            deadline=Micros(self.clock.mono() + limit), until=visit.until,
            child_started=lambda pid, started: self._child(visit, pid, started),
        )  # fmt: skip
        if visit.leave_of_gate is not None:
            visit.leave_of_gate.sends(view)
            limits = visit.leave_of_gate.health.policy.timeout
            view.first, view.idle = limits.first, limits.idle
        return await Try(self.clock, self.alarms, view, work).run()

    async def _child(self, visit: Visit, pid: int, started: str) -> None:
        """Record a child before it begins: a crash from here on finds and ends it."""
        entry = visit.record.child(pid, started)
        answer = await self.ledger.append([entry], expect=visit.expect())
        if isinstance(answer, Unmet):
            raise StaleWriter
        visit.child = True

    # -- recording -------------------------------------------------------------------------

    async def commit(self, visit: Visit, *entries: Entry, then: Then | None = None) -> bool:
        """Record a step of the call; False when the fence does not hold or the call has moved.

        Raises:
            TildawnError: nothing was recorded, except with `CommitInDoubt`.
            asyncio.CancelledError: the caller was cancelled; what is on record is.
        """
        answer = await self.committer.append(
            entries, expect=visit.expect(), patience=visit, then=then, insist=True
        )
        if isinstance(answer, Unmet):
            return False
        visit.known = answer.first + answer.count - 1
        return True

    async def finish(
        self, visit: Visit, *entries: Entry, then: Then | None = None
    ) -> Ended | Unmet:
        """Record the end of the call; `Unmet` when the fence does not hold or the call has moved.

        Raises:
            TildawnError: nothing was recorded, except with `CommitInDoubt`.
            asyncio.CancelledError: the caller was cancelled; the end is on record if it could be.
        """
        answer = await self.committer.append(
            entries, expect=visit.expect(), patience=visit, then=visit.finishing(entries, then),
            insist=True,
        )  # fmt: skip
        if isinstance(answer, Unmet):
            return answer
        return Ended(Seq(answer.first + answer.count - 1))

    # -- waiting ---------------------------------------------------------------------------

    async def pause(self, visit: Visit, due: Micros, why: str) -> Later | None:
        """Wait until an instant of the wall clock, or say that the engine must.

        Raises:
            asyncio.CancelledError: the caller was cancelled.
        """
        wait = Micros(due - self.clock.wall())
        if wait <= 0:
            return None
        short = self.policy_of(visit).short_wait
        if wait > short or self.clock.mono() + wait >= visit.until:
            return Later(due, why)
        await self.clock.sleep(wait)
        return None

    def until_gone(self) -> Later:
        """Ask again in a second: a child of the last attempt may be alive.

        `tildawn.guard.recover.prove_gone` ends it and puts that on record.

        Raises:
            Nothing.
        """
        return Later(Micros(self.clock.wall() + SECOND), "child-process")

    def may_retry(self, visit: Visit) -> bool:
        """Whether the route's retry budget has room; its history is a projection.

        Raises:
            TildawnError: the house cannot be read.
        """
        with self.ledger.read() as reader:
            calls, retries = recent(reader, visit.request.route, now=self.clock.wall())
        return retry.in_budget(self.policy_of(visit), calls=calls, retries=retries)
