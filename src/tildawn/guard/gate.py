"""The gate: whether a call of a route may be sent now.

What it is not: the rules; each is a pure file of its own.  The gate asks them in order (breaker,
limiter, bulkhead) and keeps count of who is inside; `tildawn.guard.turns` says what follows.
"""

from itertools import islice
from random import Random
from typing import cast

import msgspec

from tildawn.clock import Clock
from tildawn.facts.call import CallDispatched, CallSettled
from tildawn.guard import breaker, limiter, recovery
from tildawn.guard.deadline import Alarms
from tildawn.guard.health import WORDS_EVERY, Flight, Health, Waiting
from tildawn.guard.leave import Pass
from tildawn.guard.mode import effective
from tildawn.guard.policy import Class, Mode, PolicyOf
from tildawn.guard.request import PROBES, CallRequest, Later
from tildawn.guard.timeout import Limit
from tildawn.guard.turns import Turns
from tildawn.ledger.ledger import Ledger
from tildawn.projections.attempts import kind_of, probes
from tildawn.projections.route import (
    Sent,
    health_of,
    out_of_service,
    word_of,
)
from tildawn.units import MILLISECOND, SECOND, Micros, MicroUsd, Seq


SHORT_WAIT = Micros(10 * SECOND)
"""Waits up to this long are made at the gate; longer ones are the engine's."""

AGAIN = Micros(2 * SECOND)
"""When to come again while another attempt tests the route, or has its place."""

PRESSES = SECOND
"""What is younger is never overdue: a route that answers in a millisecond may take ten."""

CROWD = 25
"""So many more that wait put that off by a second: a thousand must not knock all the time."""

LOOKS_EVERY = Micros(65 * SECOND)
"""How often a call looks whether its owner has freed its route; more than the minute after which
a run that waits leaves memory and is shown as waiting."""

CHECK_TAKES = Micros(3 * SECOND)
"""The longest that a free check may take; whoever waits comes when it is over."""

EVERYWHERE = "*"


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
        self._alarms = alarms
        self._policies = policies
        self._environment: Mode | None = environment
        self._routes: dict[str, Health] = {}
        #: What the ends of attempts make of the routes.
        self.turns = Turns(ledger, clock, rng)

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
            self.turns.adopt(health)
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
            health.flying[leave.place] = Flight()
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
        """Ask the rules in order; nothing is kept of what a refused or cancelled one has taken."""
        try:
            later = await self._asked(leave, request, until)
        except BaseException:
            self._back(leave)
            raise
        if later is not None and leave.mode == "on":
            self._back(leave)
        return later

    async def _asked(self, leave: Pass, request: CallRequest, until: Micros) -> Later | None:
        later = self._admits(leave, request)
        if leave.mode == "shadow":
            wait = self._limited(leave)
            self._take(leave)
            return later or (Later(Micros(self._clock.wall() + wait), "limit") if wait else None)
        if later is None:
            wait = self._limited(leave)
            waits = bool(wait) or leave.health.bulkhead.is_full
            later = await self._turn(leave, until) if wait else None
            if later is None:
                self._take(leave)
                later = await self._room(leave, until)
            if later is None and waits and not leave.probe:
                later = self._admits(leave, request)  # the state may have changed meanwhile
        return later

    def _admits(self, leave: Pass, request: CallRequest) -> Later | None:
        """The breaker."""
        health = leave.health
        forced = self._forced(health)
        if forced == "open":
            assert health.word is not None
            # Its owner may take the word back, so nobody waits for its end without looking.
            soon = self._clock.wall() + LOOKS_EVERY
            return Later(Micros(min(health.word.forced_until, soon)), "route-open")
        if forced == "closed" or health.state in {"closed", "ramp"}:
            leave.generation = health.row.generation
            return self._overdue(health) if not forced else None
        if health.state == "blocked" and not health.retest:
            return Later(Micros(self._clock.wall() + LOOKS_EVERY), "route-blocked")
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
        if leave.mode != "on":
            return Later(self._soon(health), "route-open")  # who only watches, tests nothing
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
        policy, flying = health.policy, health.flying
        if len(flying) < policy.breaker.overdue_least or len(health.ring) < policy.timeout.warm:
            return None
        now = self._clock.mono()
        expected = Micros(max(health.ring.p95_ms() * MILLISECOND, PRESSES))
        # The oldest come first; while those are in time, nobody has to look at all of them.
        oldest = islice(flying.values(), policy.breaker.overdue_least)
        if any(flight.age(now) <= expected for flight in oldest):
            return None
        trip = breaker.overdue(
            [flight.age(now) for flight in flying.values()], expected=expected,
            settled=health.outcomes(), policy=policy.breaker, now=self._clock.wall(),
        )  # fmt: skip
        if trip is None:
            return None
        self.turns.open(health, trip.cause, trip.why)
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
        leave.inside = await leave.health.bulkhead.enter(at_most)
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
        health.flying[leave.place] = Flight()
        leave.queued = Micros(now - began)
        limit = health.limit()
        leave.usual = health.usual()
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
            self.turns.count_test(leave, said)
        self.turns.tell_limit(health)
        kind = kind_of(said.fault, asked_wait=said.asked_wait_ms > 0)
        if kind is not None and not health.turning and sent.generation == before.generation:
            self.turns.judge(leave, kind)
