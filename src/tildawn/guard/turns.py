"""The states of routes: what the end of an attempt makes of them, and the facts that say so.

What it is not: the rules; each is a pure file of its own.
"""

from random import Random

import msgspec

from tildawn.clock import Clock
from tildawn.errors import Busy
from tildawn.facts.call import CallSettled
from tildawn.facts.fact import FactData
from tildawn.facts.route import RouteChecked, RouteLimitMoved, RoutePolicyAdopted, RouteTurned
from tildawn.guard import breaker, recovery
from tildawn.guard.health import FREE_TESTS, Health, turn_of
from tildawn.guard.leave import Pass
from tildawn.guard.mode import TRIALS
from tildawn.ledger.entry import Committed, Outcome
from tildawn.ledger.fold import Expect, Row
from tildawn.ledger.ledger import Ledger
from tildawn.projections import attempts
from tildawn.projections.attempts import BAD, kind_of
from tildawn.projections.route import PRESSURE, HealthRow, checked, health_of, turned
from tildawn.units import MILLISECOND, SECOND, Micros


MOVED = Micros(5 * SECOND)
"""A change of the limit that is worth a fact."""


class Turns:
    """Turns routes from state to state; of one event loop."""

    def __init__(self, ledger: Ledger, clock: Clock, rng: Random) -> None:
        """Take the way to the ledger, and chance for the jitter of waits."""
        self._ledger = ledger
        self._clock = clock
        self._rng = rng

    def adopt(self, health: Health) -> None:
        """Put on record that other numbers hold from now on; those of a user are watched first.

        Raises:
            TildawnError: the house takes no facts.
        """
        policy, row = health.policy, health.row
        if row.policy == policy.digest or not (policy.custom or row.policy):
            return
        shadow = TRIALS if policy.custom else 0
        fact = RoutePolicyAdopted(route=row.route, policy=policy.digest, shadow=shadow)
        self._write(fact, msgspec.structs.replace(
            row, policy=policy.digest, trials=0 if shadow else row.trials
        ), health)  # fmt: skip

    def parks(self, leave: Pass, kind: str) -> bool:
        """Whether a failure has, or is about to have, more to do with the route than with the call.

        Args:
            leave: of the attempt that failed.
            kind: of its fault.

        Raises:
            Nothing.
        """
        health = leave.health
        if leave.mode != "on":
            return False
        if leave.probe:
            return self.is_free_test(leave)
        if health.state != "closed":
            return True
        known = kind_of(kind, asked_wait=False)
        if known not in BAD:
            return False
        now = self._clock.wall()
        seen = [*health.outcomes(), attempts.Outcome(known, now)]
        return breaker.tripped(seen, health.policy.breaker, now=now) is not None

    def is_free_test(self, leave: Pass) -> bool:
        """Whether a failed attempt only tested its route, and spends no try of its call.

        Raises:
            Nothing.
        """
        tested = leave.health.failed_tests.get(leave.place, 0)
        return leave.probe and tested < FREE_TESTS

    def count_test(self, leave: Pass, said: CallSettled) -> None:
        """Remember who failed at testing a route, until somebody does not.

        Raises:
            Nothing.
        """
        failed = leave.health.failed_tests
        if said.fault in BAD:
            failed[leave.place] = failed.get(leave.place, 0) + 1
        elif not said.fault:
            failed.clear()

    def judge(self, leave: Pass, kind: str) -> None:
        """Turn a route, if what an attempt came to is the last word that a rule needed.

        Args:
            leave: of the attempt, which was sent under the present generation.
            kind: one of `tildawn.projections.attempts.KINDS`.

        Raises:
            TildawnError: the house takes no facts.
        """
        health = leave.health
        if kind == "":
            self._good(leave)
            return
        trip = breaker.blocks(kind)
        if trip is not None:
            self.turn_to(turn_of(health, "blocked", cause=trip.cause, why=trip.why), health)
        elif kind in BAD:
            self._bad(leave)

    def _good(self, leave: Pass) -> None:
        health = leave.health
        row, policy = health.row, health.policy.recovery
        if row.state == "open" and row.cause == PRESSURE and not leave.probe:
            why = "attempts that took long were answered after all"
            self.turn_to(turn_of(health, "closed", cause="answered", why=why), health)
        elif row.state in {"open", "probing", "blocked"}:
            # It was let through to find out, in shadow, or by its owner's word.
            self.turn_to(
                turn_of(health, "ramp", cause="proven", why="an attempt was answered"), health
            )
        elif row.state == "ramp" and row.streak >= policy.proofs:
            why = f"{row.streak} attempts in a row were answered"
            self.turn_to(turn_of(health, "closed", cause="proven", why=why), health)

    def _bad(self, leave: Pass) -> None:
        health = leave.health
        row, policy = health.row, health.policy
        if row.state in {"probing", "open", "blocked"} and row.cause != PRESSURE:
            if leave.probe:
                self.open(health, "probe", "the attempt that tested it failed")
            return
        if (row.state == "ramp" or row.fresh) and recovery.relapsed(row.relapses, policy.recovery):
            self.open(health, "relapse", f"{row.relapses} failures soon after it came back")
            return
        trip = breaker.tripped(health.outcomes(), policy.breaker, now=self._clock.wall())
        if trip is not None:
            self.open(health, trip.cause, trip.why)

    def open(self, health: Health, cause: str, why: str) -> None:
        """Take a route out of service.

        Raises:
            TildawnError: the house takes no facts.
        """
        self.turn_to(
            turn_of(health, "open", cause=cause, why=why, wait=self.next_wait(health)), health
        )

    def next_wait(self, health: Health) -> tuple[Micros, Micros]:
        """The wait before the next check: without jitter to be remembered, with it to be made.

        Raises:
            Nothing.
        """
        row, policy = health.row, health.policy.recovery
        calm = row.state == "closed" and self._clock.wall() - row.recovered > policy.calm
        before = Micros(0) if calm else Micros(row.wait_ms * MILLISECOND)
        return recovery.next_wait(before, policy, chance=self._rng.random())

    def tell_limit(self, health: Health) -> None:
        """Put on record that the limit of attempts has moved, where it moved by much.

        Raises:
            TildawnError: the house takes no facts.
        """
        row, limit = health.row, health.limit()
        limit_ms = limit.limit // MILLISECOND
        capped = limit.basis == "cap" != row.basis
        if abs(limit_ms - health.told) * MILLISECOND <= MOVED and not capped:
            return
        fact = RouteLimitMoved(
            route=row.route, was_ms=health.told, limit_ms=limit_ms, basis=limit.basis
        )
        if self._submit(fact, relaxed=True):
            health.told = limit_ms
            health.row = msgspec.structs.replace(row, limit_ms=limit_ms, basis=limit.basis)

    # -- facts -----------------------------------------------------------------------------

    def turn_to(self, fact: RouteTurned, health: Health) -> None:
        """Put a change of state on record; the route is taken to have changed at once.

        Raises:
            TildawnError: the house takes no facts.
        """
        entry = self._ledger.draft(fact)

        def done(outcome: Outcome) -> None:
            health.turning = ""
            if isinstance(outcome, Committed):
                row = health.row
                out = fact.state in {"open", "blocked", "probing"}
                outage = -1 if not out else row.outage if row.outage >= 0 else outcome.first
                health.follow(turned(row, fact, at=Micros(entry.fact.at), outage=outage))
            else:
                self._reload(health)

        generation, was = health.row.generation, fact.was
        expect = unchanged(health.row.route, generation=generation, state=was)
        try:
            self._ledger.submit([entry], expect=[expect], done=done)
        except Busy:
            return  # the next attempt that ends says the same
        health.turning, health.retest = fact.state, False

    def checked(self, fact: RouteChecked, then: RouteTurned | None, health: Health) -> None:
        """Put on record what asking for a sign of life gave, and what follows from it.

        Raises:
            TildawnError: the house takes no facts.
        """
        entries = [self._ledger.draft(fact)]
        if then is not None:
            entries.append(self._ledger.draft(then))
        row = health.row
        at = Micros(entries[-1].fact.at)

        def done(outcome: Outcome) -> None:
            health.turning = ""
            if isinstance(outcome, Committed):
                health.follow(checked(health.row, fact))
                if then is not None:
                    outage = -1 if then.state == "closed" else health.row.outage
                    health.follow(turned(health.row, then, at=at, outage=outage))
            else:
                self._reload(health)

        expect = unchanged(row.route, generation=row.generation, state=row.state)
        try:
            self._ledger.submit(entries, expect=[expect], done=done)
        except Busy:
            return  # it is asked again at the next turn
        health.turning = then.state if then is not None else row.state

    def _reload(self, health: Health) -> None:
        with self._ledger.read() as reader:
            health.adopt(health_of(reader, health.row.route))

    def _write(self, fact: FactData, row: HealthRow, health: Health) -> None:
        if self._submit(fact, relaxed=False):
            health.row = row

    def _submit(self, fact: FactData, *, relaxed: bool) -> bool:
        """Whether the ledger took it; where it is busy, the next attempt says the same."""
        try:
            self._ledger.submit([self._ledger.draft(fact)], relaxed=relaxed)
        except Busy:
            return False
        return True


def unchanged(route: str, *, generation: int, state: str) -> Expect:
    """That a route is as it was when somebody looked.

    Raises:
        Nothing.
    """

    def same(row: Row | None) -> bool:
        if not isinstance(row, HealthRow):
            return state == "closed" and generation == 0
        return row.generation == generation and row.state == state

    return Expect(row=HealthRow, key=(route,), test=same, why="route")


def alone(route: str) -> Expect:
    """That no other attempt is on its way to find out whether a route is back.

    Raises:
        Nothing.
    """

    def nobody(row: Row | None) -> bool:
        return not isinstance(row, HealthRow) or row.probing < 0

    return Expect(row=HealthRow, key=(route,), test=nobody, why="probing")


def still_blocked(leave: Pass, kind: str) -> bool:
    """Whether the one call that tested a blocked route met what blocks it.

    Raises:
        Nothing.
    """
    blocks = breaker.blocks(kind) is not None
    return blocks and leave.probe and leave.health.row.state == "blocked"
