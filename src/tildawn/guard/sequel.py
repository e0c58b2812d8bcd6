"""What follows a failed attempt: the end, another one and when, or clearing up first.

What it is not: doing it; `tildawn.guard.call` does, in its order.
"""

import msgspec

from tildawn.errors import Effect
from tildawn.guard import ladder, retry
from tildawn.guard.fault import Seen
from tildawn.guard.gate import Gate
from tildawn.guard.means import Means
from tildawn.guard.record import asked_wait
from tildawn.guard.request import PROBES
from tildawn.guard.turns import still_blocked
from tildawn.guard.visit import Visit
from tildawn.units import Micros


class Next(msgspec.Struct, frozen=True, kw_only=True):
    """What follows a failed attempt: the end, another one at ``due``, or clearing up."""

    step: str
    due: Micros = Micros(0)
    why: str = ""


class Sequel:
    """Decides by the rules for the kind of fault, the retry budget and the state of the route."""

    def __init__(self, means: Means, gate: Gate) -> None:
        """Take the numbers and the clock, and the gate that knows the routes."""
        self._means = means
        self._gate = gate

    def after(self, visit: Visit, fault: Seen) -> Next:
        """What follows a failure.  Whoever goes away leaves the call open for the next entry.

        Raises:
            TildawnError: the house cannot be read.
        """
        if fault.kind == "cancelled":
            return Next(step="stop")
        if fault.effect is Effect.UNKNOWN and not visit.repeatable():
            return Next(step="clear up")
        return self._again(visit, fault)

    def is_test(self, visit: Visit, fault: Seen) -> bool:
        """Whether a failed attempt only found out that its route is not back.

        Raises:
            Nothing.
        """
        leave = visit.leave_of_gate
        return (
            leave is not None
            and fault.kind in ladder.THEIRS
            and self._gate.turns.is_free_test(leave)
        )

    def parked(self, visit: Visit, fault: Seen) -> Next | None:
        """A batch waits for a route that is out of service instead of failing with it.

        Raises:
            Nothing.
        """
        leave = visit.leave_of_gate
        assert leave is not None, "only what was let in can fail"
        interactive = visit.primary.patience == "interactive"
        if still_blocked(leave, fault.kind):
            return Next(step="again", due=self._means.clock.wall(), why=ladder.BLOCKED)
        if visit.request.run == PROBES or not ladder.parks(fault.kind, interactive=interactive):
            return None
        if not self._gate.turns.parks(leave, fault.kind):
            return None
        return Next(step="again", due=self._means.clock.wall(), why=ladder.OPEN)

    def _again(self, visit: Visit, fault: Seen) -> Next:
        """When it is tried again, by the rules for its kind; the end where it is not."""
        means = self._means
        policy = means.policy_of(visit)
        if (asked := asked_wait(fault)) and visit.request.run != PROBES:
            # Nobody's failure: the route is parked, and no retry is spent.
            visit.tries -= 1
            due = means.clock.wall() + retry.jittered(policy, asked, means.rng.random())
            return Next(step="again", due=Micros(due), why=fault.kind)
        wait = retry.wait_before(policy, fault, visit.tries, means.rng.random())
        if wait is None:
            return Next(step="end")
        now = means.clock.wall()
        if not means.may_retry(visit):
            due = Micros(now + max(wait, policy.budget_wait))
            return Next(step="again", due=due, why=ladder.RETRIES)
        if wait <= policy.short_wait and means.clock.mono() + wait >= visit.until:
            return Next(step="end")
        return Next(step="again", due=Micros(now + wait), why=fault.kind)
