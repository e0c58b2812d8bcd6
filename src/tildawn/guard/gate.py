"""The gate: whether a call of a route may be sent now, and what its end says about the route.

What it is not: the rules; each is a pure file of its own.  The gate asks them in order (breaker,
limiter, bulkhead), keeps count of who is inside, and writes the facts of what they decided.
"""

from random import Random
from typing import cast

import msgspec

from tildawn.clock import Clock
from tildawn.errors import Busy
from tildawn.facts.call import CallDispatched, CallSettled
from tildawn.facts.fact import FactData
from tildawn.facts.route import RouteChecked, RouteLimitMoved, RoutePolicyAdopted, RouteTurned
from tildawn.guard import breaker, limiter, recovery
from tildawn.guard.deadline import Alarms
from tildawn.guard.health import FREE_TESTS, WORDS_EVERY, Flight, Health, Place, Waiting, turn_of
from tildawn.guard.mode import TRIALS, effective
from tildawn.guard.policy import Class, Mode, PolicyOf
from tildawn.guard.request import PROBES, Attempt, CallRequest, Later
from tildawn.guard.timeout import Limit
from tildawn.ledger.entry import Committed, Outcome
from tildawn.ledger.fold import Expect, Row
from tildawn.ledger.ledger import Ledger
from tildawn.projections import attempts
from tildawn.projections.attempts import BAD, kind_of, probes
from tildawn.projections.route import (
    PRESSURE,
    HealthRow,
    Sent,
    checked,
    health_of,
    out_of_service,
    turned,
    word_of,
)
from tildawn.units import MILLISECOND, SECOND, Micros, MicroUsd, Seq


SHORT_WAIT = Micros(10 * SECOND)
"""Waits up to this long are made at the gate; longer ones are the engine's."""

AGAIN = Micros(2 * SECOND)
"""When to come again while another attempt tests the route, or has its place."""

CROWD = 25
"""So many more that wait put that off by a second: a thousand must not knock all the time."""

CHECK_TAKES = Micros(3 * SECOND)
"""The longest that a free check may take; whoever waits comes when it is over."""

MOVED = Micros(5 * SECOND)
"""A change of the limit that is worth a fact."""

EVERYWHERE = "*"


class Pass(msgspec.Struct, kw_only=True):
    """Leave to send one attempt; `Gate.leave` takes it back."""

    health: Health
    place: Place
    mode: Mode
    limit: Limit
    generation: int
    #: Sent to find out whether the other side is back.
    probe: bool = False
    turn: Micros = Micros(0)
    turn_tokens: Micros = Micros(0)
    tokens: int = 0
    queued: Micros = Micros(0)
    would: str = ""
    inside: bool = False

    def sends(self, attempt: Attempt) -> None:
        """The attempt is being made from here on.

        Raises:
            Nothing.
        """
        flight = self.health.flying.get(self.place)
        if flight is not None:
            flight.attempt = attempt


class Gate:
    """The routes of a house; belongs to one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        rng: Random,
        *,
        alarms: Alarms,
        policies: PolicyOf,
        environment: Mode | None = None,
    ) -> None:
        """Open it.

        Args:
            ledger: folds `tildawn.projections.route`.
            clock: of the loop.
            rng: for the jitter of waits.
            alarms: of the loop.
            policies: the numbers of each route.
            environment: what ``GEN_BREAKER_ENABLED`` says, if anything.
        """
        self._ledger = ledger
        self._clock = clock
        self._rng = rng
        self._alarms = alarms
        self._policies = policies
        self._environment: Mode | None = environment
        self._routes: dict[str, Health] = {}

    def health(self, route: str, kind: Class) -> Health:
        """A route; read from the ledger when it is first asked for.

        Raises:
            TildawnError: the house cannot be read.
        """
        health = self._routes.get(route)
        if health is None:
            with self._ledger.read() as reader:
                row = health_of(reader, route)
            health = Health(row, self._policies(route, kind), self._clock, self._alarms)
            self._routes[route] = health
            self._adopt(health)
        return health

    def known(self) -> list[Health]:
        """The routes that are in use.

        Raises:
            Nothing.
        """
        return list(self._routes.values())

    def remember(self) -> None:
        """Take up the routes that were out of service when the last process ended.

        Raises:
            TildawnError: the house cannot be read.
        """
        with self._ledger.read() as reader:
            rows = out_of_service(reader)
        for row in rows:
            self.health(row.route, cast("Class", row.kind or "http"))

    def mode(self, health: Health) -> Mode:
        """Whether the rules act on a route now; the owner's words are read every second.

        Raises:
            TildawnError: the house cannot be read.
        """
        now = self._clock.mono()
        if health.words_read is None or now - health.words_read >= WORDS_EVERY:
            with self._ledger.read() as reader:
                health.word = word_of(reader, health.row.route)
                health.everywhere = word_of(reader, EVERYWHERE)
                promoted = health_of(reader, health.row.route).promoted
            health.row = msgspec.structs.replace(health.row, promoted=promoted)
            health.words_read = now
        row = health.row
        return effective(
            environment=self._environment, word=health.word, everywhere=health.everywhere,
            policy=health.policy, trials=row.trials, adopted=row.policy,
            promoted=row.promoted, now=self._clock.wall(),
        )  # fmt: skip

    def _adopt(self, health: Health) -> None:
        """Put on record that other numbers hold from now on; those of a user are watched first."""
        policy, row = health.policy, health.row
        if row.policy == policy.digest or not (policy.custom or row.policy):
            return
        shadow = TRIALS if policy.custom else 0
        fact = RoutePolicyAdopted(route=row.route, policy=policy.digest, shadow=shadow)
        self._write(fact, msgspec.structs.replace(
            row, policy=policy.digest, trials=0 if shadow else row.trials
        ), health)  # fmt: skip

    def retest(self, request: CallRequest) -> None:
        """Let one attempt find out whether a blocked route is free again.

        Raises:
            TildawnError: the house cannot be read.
        """
        self.health(request.route, request.kind).retest = True

    # -- before an attempt -----------------------------------------------------------------

    async def enter(self, request: CallRequest, *, until: Micros) -> Pass | Later:
        """Ask for leave to send an attempt.

        Args:
            request: the call.
            until: instant of the steady clock at which its entry is over.

        Returns:
            The leave, or when to come again and why.

        Raises:
            TildawnError: the house cannot be read.
            asyncio.CancelledError: the caller went away; nothing is held.
        """
        health = self.health(request.route, request.kind)
        health.kind, health.model = request.kind, request.model
        began = self._clock.mono()
        leave = Pass(
            health=health, place=(request.run, request.path), mode=self.mode(health),
            limit=Limit(health.policy.timeout.most, "fixed"), generation=health.row.generation,
            tokens=request.reserve_tokens,
        )  # fmt: skip
        if leave.mode == "off":
            health.flying[leave.place] = Flight(began)
            return leave
        later = await self._pass(leave, request, until)
        if later is not None:
            if leave.mode == "on":
                if later.why == "route-open":
                    self._wait(health, request, later)
                return later
            leave.would = later.why
        self._go(leave, began)
        return leave

    async def _pass(self, leave: Pass, request: CallRequest, until: Micros) -> Later | None:
        later = self._admits(leave, request)
        if leave.mode == "shadow":
            wait = self._limited(leave)
            self._take(leave)
            return later or (Later(Micros(self._clock.wall() + wait), "limit") if wait else None)
        if later is None:
            waits = bool(self._limited(leave)) or leave.health.bulkhead.is_full
            later = await self._turn(leave, until) or await self._room(leave, until)
            if later is None and waits and not leave.probe:
                later = self._admits(leave, request)  # the state may have changed meanwhile
        if later is not None:
            self._back(leave)
        return later

    def _admits(self, leave: Pass, request: CallRequest) -> Later | None:
        """The breaker."""
        health = leave.health
        forced = self._forced(health)
        if forced == "open":
            assert health.word is not None
            return Later(Micros(health.word.forced_until), "route-open")
        if forced == "closed" or health.state in {"closed", "ramp"}:
            leave.generation = health.row.generation
            return self._overdue(health) if not forced else None
        if health.state == "blocked" and not health.retest:
            wait = health.policy.recovery.longest
            return Later(Micros(self._clock.wall() + wait), "route-blocked")
        return self._tests(leave, request)

    def _tests(self, leave: Pass, request: CallRequest) -> Later | None:
        """One attempt at a time finds out whether the other side is back: the cheapest that waits."""
        health, now = leave.health, self._clock.mono()
        if health.turning:
            return Later(self._soon(health), "route-open")  # when it is tested is not known yet
        if health.state == "open" and (request.sign or now < health.due):
            # Who can be asked for a sign of life is, before anybody pays for a try.
            wait = max(health.due - now, 0) + (CHECK_TAKES if request.sign else 0)
            return Later(Micros(self._clock.wall() + max(wait, AGAIN)), "route-open")
        first = health.first()
        if health.testing or (
            first is not None and first < health.rank(leave.place, request.reserve)
        ):
            return Later(self._soon(health), "route-open")
        allowed = self.payable(health, request.reserve or MicroUsd(0))
        if allowed > self._clock.wall():
            return Later(allowed, "route-open")
        leave.probe = health.testing = True
        leave.generation = health.row.generation
        return None

    def payable(self, health: Health, cost: MicroUsd) -> Micros:
        """When a try that may cost so much may be paid for; what waits is paid for like any other.

        Raises:
            Nothing.
        """
        if not cost:
            return Micros(0)
        paid, now = probes(health.row.probes), self._clock.wall()
        return recovery.paid_allowed(paid, health.policy.recovery, cost=cost, now=now)

    def _soon(self, health: Health) -> Micros:
        waiting = len(health.waiting) + health.bulkhead.waiting
        return Micros(self._clock.wall() + AGAIN + waiting // CROWD * SECOND)

    def _forced(self, health: Health) -> str:
        word = health.word
        if word is None or not word.forced or word.forced_until <= self._clock.wall():
            return ""
        return word.forced

    def _overdue(self, health: Health) -> Later | None:
        """Open early when too many attempts under way take longer than they should."""
        if (
            len(health.flying) < health.policy.breaker.overdue_least
            or len(health.ring) < health.policy.timeout.warm
        ):
            return None
        now = self._clock.mono()
        trip = breaker.overdue(
            [flight.age(now) for flight in health.flying.values()],
            expected=Micros(health.ring.p95_ms() * MILLISECOND), settled=health.outcomes(),
            policy=health.policy.breaker, now=self._clock.wall(),
        )  # fmt: skip
        if trip is None:
            return None
        self._open(health, trip.cause, trip.why)
        return Later(Micros(self._clock.wall() + AGAIN), "route-open")

    def _limited(self, leave: Pass) -> Micros:
        """How long until the limiters give a token; 0 when they do now."""
        health = leave.health
        policy, wait = health.policy, health.parked() if health.row.parked else Micros(0)
        if policy.requests is None and policy.tokens is None:
            return wait
        now = self._clock.wall()
        if policy.requests is not None:
            wait = max(wait, limiter.wait(health.turn, policy.requests, now=now))
        if policy.tokens is not None:
            turn = health.turn_tokens
            wait = max(wait, limiter.wait(turn, policy.tokens, cost=leave.tokens, now=now))
        return Micros(wait)

    async def _turn(self, leave: Pass, until: Micros) -> Later | None:
        """The limiters, and the wait that the other side asked for."""
        health = leave.health
        while wait := self._limited(leave):
            why = "asked-wait" if health.parked() else "limit"
            if wait > SHORT_WAIT or self._clock.mono() + wait >= until:
                return Later(Micros(self._clock.wall() + wait), why)
            await self._clock.sleep(wait)
        self._take(leave)
        return None

    def _take(self, leave: Pass) -> None:
        health = leave.health
        policy = health.policy
        if policy.requests is None and policy.tokens is None:
            return
        now = self._clock.wall()
        if policy.requests is not None:
            health.turn = leave.turn = limiter.taken(health.turn, policy.requests, now=now)
        if policy.tokens is not None:
            leave.turn_tokens = limiter.taken(
                health.turn_tokens, policy.tokens, cost=leave.tokens, now=now
            )
            health.turn_tokens = leave.turn_tokens

    async def _room(self, leave: Pass, until: Micros) -> Later | None:
        """The bulkhead."""
        at_most = Micros(min(until, self._clock.mono() + SHORT_WAIT))
        try:
            leave.inside = await leave.health.bulkhead.enter(at_most)
        except BaseException:
            self._back(leave)
            raise
        if leave.inside:
            return None
        return Later(self._soon(leave.health), "full")

    def _back(self, leave: Pass) -> None:
        """Give back what was taken for an attempt that is not sent."""
        health, now = leave.health, self._clock.wall()
        if leave.turn and health.policy.requests is not None:
            health.turn = limiter.returned(health.turn, health.policy.requests, now=now)
        if leave.turn_tokens and health.policy.tokens is not None:
            health.turn_tokens = limiter.returned(
                health.turn_tokens, health.policy.tokens, cost=leave.tokens, now=now
            )
        leave.turn = leave.turn_tokens = Micros(0)
        if leave.inside:
            leave.inside = False
            health.bulkhead.leave()
        if leave.probe:
            leave.probe = health.testing = False

    def _wait(self, health: Health, request: CallRequest, later: Later) -> None:
        comes = Micros(self._clock.mono() + later.due - self._clock.wall())
        place = (request.run, request.path)
        health.waiting[place] = Waiting(health.rank(place, request.reserve), comes)

    def _go(self, leave: Pass, began: Micros) -> None:
        health = leave.health
        health.waiting.pop(leave.place, None)
        now = self._clock.mono()
        health.flying[leave.place] = Flight(now)
        leave.queued = Micros(now - began)
        limit = health.limit()
        if leave.mode == "on":
            leave.limit = limit
        elif limit.limit < leave.limit.limit:
            said = f"timeout {limit.limit // MILLISECOND} ms"
            leave.would = f"{leave.would}, {said}" if leave.would else said

    def testing(self, health: Health, *, limit: Limit) -> Pass:
        """Leave for an attempt that nobody needs, past all rules but that there is only one.

        Raises:
            Nothing.
        """
        health.testing = True
        return Pass(
            health=health, place=(PROBES, health.row.route), mode="on", limit=limit,
            generation=health.row.generation, probe=True,
        )  # fmt: skip

    # -- after an attempt ------------------------------------------------------------------

    def unsent(self, leave: Pass) -> None:
        """The attempt was not sent after all: its commit was refused, or its caller went away.

        Raises:
            Nothing.
        """
        leave.health.flying.pop(leave.place, None)
        self._back(leave)

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

    def leave(self, leave: Pass) -> None:
        """The attempt is over, on record or not.

        Raises:
            Nothing.
        """
        health = leave.health
        health.flying.pop(leave.place, None)
        if leave.inside:
            leave.inside = False
            health.bulkhead.leave()
        if leave.probe:
            leave.probe = health.testing = False

    def dispatched(self, leave: Pass, said: CallDispatched, seq: Seq, at: Micros) -> None:
        """The dispatch is on record; called in ledger order.

        Raises:
            Nothing.
        """
        if said.probe or said.turn or said.turn_tokens:
            leave.health.sent(said, seq, at)

    def settled(self, leave: Pass, said: CallSettled, sent: Sent, at: Micros) -> None:
        """The end of an attempt is on record; called in ledger order.

        Raises:
            TildawnError: the house takes no facts.
        """
        health = leave.health
        before = health.row
        health.settle(said, sent, at)
        if leave.mode == "off":
            return
        if leave.probe:
            self._count_test(leave, said)
        self._tell_limit(health)
        kind = kind_of(said.fault, asked_wait=said.asked_wait_ms > 0)
        if kind is not None and not health.turning and sent.generation == before.generation:
            self._judge(leave, kind)

    def _count_test(self, leave: Pass, said: CallSettled) -> None:
        failed = leave.health.failed_tests
        if said.fault in BAD:
            failed[leave.place] = failed.get(leave.place, 0) + 1
        elif not said.fault:
            failed.clear()

    def _judge(self, leave: Pass, kind: str) -> None:
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
        shadow = leave.mode != "on" and row.state in {"open", "probing"}
        if row.state == "open" and row.cause == PRESSURE and not leave.probe:
            why = "attempts that took long were answered after all"
            self.turn_to(turn_of(health, "closed", cause="answered", why=why), health)
        elif (row.state in {"open", "probing", "blocked"} and leave.probe) or shadow:
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
                self._open(health, "probe", "the attempt that tested it failed")
            return
        if (row.state == "ramp" or row.fresh) and recovery.relapsed(row.relapses, policy.recovery):
            self._open(health, "relapse", f"{row.relapses} failures soon after it came back")
            return
        trip = breaker.tripped(health.outcomes(), policy.breaker, now=self._clock.wall())
        if trip is not None:
            self._open(health, trip.cause, trip.why)

    def _open(self, health: Health, cause: str, why: str) -> None:
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

    def _tell_limit(self, health: Health) -> None:
        row, limit = health.row, health.limit()
        limit_ms = limit.limit // MILLISECOND
        capped = limit.basis == "cap" != row.basis
        if abs(limit_ms - health.told) * MILLISECOND <= MOVED and not capped:
            return
        fact = RouteLimitMoved(
            route=row.route, was_ms=health.told, limit_ms=limit_ms, basis=limit.basis
        )
        health.told = limit_ms
        health.row = msgspec.structs.replace(row, limit_ms=limit_ms, basis=limit.basis)
        self._submit(fact, relaxed=True)

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
        self._ledger.submit(entries, expect=[expect], done=done)
        health.turning = then.state if then is not None else row.state

    def _reload(self, health: Health) -> None:
        with self._ledger.read() as reader:
            health.adopt(health_of(reader, health.row.route))

    def _write(self, fact: FactData, row: HealthRow, health: Health) -> None:
        health.row = row
        self._submit(fact, relaxed=False)

    def _submit(self, fact: FactData, *, relaxed: bool) -> None:
        self._ledger.submit([self._ledger.draft(fact)], relaxed=relaxed)


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
