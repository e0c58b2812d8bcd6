"""One route in memory: its row as it is on record, and what is under way on it.

What it is not: a second truth.  The row changes only when a fact is committed, by the function
that the projection itself uses; a process that was killed reads it again and goes on.
"""

from typing import cast

import msgspec

from tildawn.clock import Clock
from tildawn.facts.call import CallDispatched, CallSettled
from tildawn.facts.route import RouteTurned
from tildawn.guard import recovery, timeout
from tildawn.guard.bulkhead import Bulkhead
from tildawn.guard.deadline import Alarms
from tildawn.guard.latency import Ring
from tildawn.guard.policy import Class, RoutePolicy
from tildawn.guard.request import Attempt, queue_time
from tildawn.guard.timeout import Limit
from tildawn.projections.attempts import Outcome, outcomes, samples
from tildawn.projections.route import PRESSURE, HealthRow, Sent, WordRow, sent_on, settled
from tildawn.units import MILLISECOND, SECOND, Micros, MicroUsd, Seq


Place = tuple[str, str]
"""A run and a path in it."""

WORDS_EVERY = SECOND
"""How often the owner's words are read again."""

ASKED_MOST = 3_600 * SECOND
"""The longest wait that another side is believed to ask for."""


class Waiting(msgspec.Struct, frozen=True):
    """A call that was told to come again: its rank, and when it comes (steady clock)."""

    rank: "Rank"
    comes: Micros


Rank = tuple[int, MicroUsd]
"""Who tests a route: who has failed at it least often, and of those the cheapest."""

FREE_TESTS = 3
"""Failed tests that spend no try of a call; a prompt that kills its provider must end, too."""


class Flight:
    """An attempt under way."""

    __slots__ = ("attempt", "sent")

    def __init__(self) -> None:
        """It has leave; nothing of it has been sent."""
        #: When it was sent (steady clock), and as what.
        self.sent = Micros(0)
        self.attempt: Attempt | None = None

    def age(self, now: Micros) -> Micros:
        """How long the other side has had it: without our disk, and our queue for a connection.

        Raises:
            Nothing.
        """
        if self.attempt is None:
            return Micros(0)
        return Micros(now - self.sent - queue_time(self.attempt.wire, now))


class Health:
    """What the gate knows of a route."""

    def __init__(self, row: HealthRow, policy: RoutePolicy, clock: Clock, alarms: Alarms) -> None:
        """Take the route as it is on record."""
        self.policy = policy
        self.clock = clock
        self.bulkhead = Bulkhead(alarms)
        self.word: WordRow | None = None
        self.everywhere: WordRow | None = None
        self.words_read: int | None = None
        #: Of the last call that asked for leave.
        self.kind: Class = cast("Class", row.kind) if row.kind else policy.kind
        self.model = row.model
        #: Set while a change of state is on its way to the disk: the state that comes.
        self.turning: str = ""
        #: Whether an attempt that tests the other side is under way, from its admission on.
        self.testing = False
        self.flying: dict[Place, Flight] = {}
        self.waiting: dict[Place, Waiting] = {}
        #: How often a call has failed when it tested the route.
        self.failed_tests: dict[Place, int] = {}
        #: A route that was blocked when this process began: its owner may have mended the reason.
        self.retest = row.state == "blocked"
        self.adopt(row)
        #: The limit that was last put on record.
        self.told = row.limit_ms or self.limit().limit // MILLISECOND

    @property
    def state(self) -> str:
        """What the route is about to be, where that is known already."""
        return self.turning or self.row.state

    def adopt(self, row: HealthRow) -> None:
        """Take the row as it is on record.

        Raises:
            Nothing.
        """
        self.row = row
        self.ring = Ring(samples(row.samples))
        self.due = self._on_steady_clock(row)
        #: Where the limiters stand in memory: ahead of the record by what is on its way there.
        self.turn, self.turn_tokens = Micros(row.turn), Micros(row.turn_tokens)
        self._limit: Limit | None = None
        self._last = Micros(row.limit_ms * MILLISECOND) if row.limit_ms else None
        self._watch()

    def follow(self, row: HealthRow) -> None:
        """Take a row that a fact has just made of the present one.

        Raises:
            Nothing.
        """
        before, self.row = self.row, row
        if row.samples is not before.samples and row.samples != before.samples:
            self._learn(before, row)
        if (row.due, row.state) != (before.due, before.state):
            self.due = self._on_steady_clock(row)
        self._watch()

    def sent(self, said: CallDispatched, seq: Seq, at: Micros) -> None:
        """An attempt was sent, on record.

        Raises:
            Nothing.
        """
        self.follow(sent_on(self.row, said, seq=seq, at=at))

    def settle(self, said: CallSettled, sent: Sent, at: Micros) -> None:
        """An attempt has ended, on record.

        Raises:
            Nothing.
        """
        self.follow(settled(self.row, said, sent=sent, at=at))

    def limit(self) -> Limit:
        """How long an attempt may take.

        Raises:
            Nothing.
        """
        if self._limit is None:
            self._limit = timeout.limit(self.ring, self.policy.timeout, last=self._last)
            self._last = self._limit.limit
        return self._limit

    def usual(self) -> Micros:
        """What 95 of 100 attempts take, or are expected to while little is known.

        Raises:
            Nothing.
        """
        numbers = self.policy.timeout
        if len(self.ring) < numbers.warm:
            return min(numbers.prior, numbers.most)
        return Micros(self.ring.p95_ms() * MILLISECOND)

    def outcomes(self) -> list[Outcome]:
        """The last attempts, oldest first.

        Raises:
            Nothing.
        """
        return outcomes(self.row.outcomes)

    def parked(self) -> Micros:
        """How long the other side asked us to keep away, from now; 0 when it did not.

        Raises:
            Nothing.
        """
        left = self.row.parked - self.clock.wall()
        return Micros(min(max(left, 0), ASKED_MOST))

    def rank(self, place: Place, cost: MicroUsd | None) -> Rank:
        """How a call stands among those that could test the route; the lowest does.

        Raises:
            Nothing.
        """
        return self.failed_tests.get(place, 0), cost or MicroUsd(0)

    def first(self) -> Rank | None:
        """The rank of the call that waits, is about to come and should test the route, or None.

        Raises:
            Nothing.
        """
        now = self.clock.mono()
        late = [place for place, one in self.waiting.items() if one.comes + 5 * SECOND < now]
        for place in late:
            del self.waiting[place]
        return min((one.rank for one in self.waiting.values()), default=None)

    def _learn(self, before: HealthRow, row: HealthRow) -> None:
        kept = row.samples[:-_SAMPLE_BYTES]
        if kept and kept in {before.samples, before.samples[_SAMPLE_BYTES:]}:
            self.ring.add(samples(row.samples[-_SAMPLE_BYTES:])[0])
        else:
            self.ring = Ring(samples(row.samples))  # what came before was older than a day
        self._limit = None

    def _on_steady_clock(self, row: HealthRow) -> Micros:
        """When the next check is due; a clock that was set can neither free nor freeze it."""
        if not row.due:
            return Micros(0)
        left = min(max(row.due - self.clock.wall(), 0), row.wait_ms * MILLISECOND * 5 // 4)
        return Micros(self.clock.mono() + left)

    def _watch(self) -> None:
        self.bulkhead.limit = recovery.at_once(self.row, self.policy)


_SAMPLE_BYTES = 6


def turn_of(
    health: Health,
    state: str,
    *,
    cause: str,
    why: str = "",
    wait: tuple[Micros, Micros] | None = None,
) -> RouteTurned:
    """The fact of a change of state.

    Args:
        health: the route.
        state: the new one.
        cause: the rule that decided.
        why: its numbers, in words.
        wait: the wait before the next check, to be remembered and to be made; None for none.

    Raises:
        Nothing.
    """
    row = health.row
    anew = state in {"open", "blocked"} and cause != PRESSURE
    anew = anew and (row.state in {"closed", "ramp"} or row.cause == PRESSURE)
    remembered, made = wait or (Micros(row.wait_ms * MILLISECOND), Micros(0))
    return RouteTurned(
        route=row.route,
        was=row.state,
        state=state,
        generation=row.generation + int(anew),
        cause=cause,
        why=why,
        due=health.clock.wall() + made if wait else 0,
        wait_ms=remembered // MILLISECOND,
        kind=health.kind,
        model=health.model,
    )
