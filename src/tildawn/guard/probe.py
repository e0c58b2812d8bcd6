"""Finding out whether the other side of a route is back, on a way of its own.

What it is not: the gate; that is closed while this goes on.  First the other side is asked for a
sign of life, which costs nothing; when it gives one, the cheapest call that waits is let through
(`tildawn.guard.gate`), and only where none waits something is paid for to be thrown away.
"""

import asyncio
from typing import Protocol

import msgspec

from tildawn.facts.route import RouteChecked
from tildawn.guard import breaker
from tildawn.guard.attempt import Ran, Try, Work
from tildawn.guard.call import Door
from tildawn.guard.gate import CHECK_TAKES
from tildawn.guard.health import Health, turn_of
from tildawn.guard.policy import Class
from tildawn.guard.request import PROBES, Answer, Attempt, CallRequest, Perform
from tildawn.guard.retry import RetryPolicy
from tildawn.guard.timeout import Limit
from tildawn.ledger.fold import Expect, Row
from tildawn.projections.route import HealthRow
from tildawn.units import MILLISECOND, SECOND, Micros, MicroUsd


TRIAL_TAKES = Micros(30 * SECOND)
"""The longest that a paid probe may take."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is paid for and thrown away; the cheapest of its kind."""

    perform: Perform
    #: The most that it can cost; None where nobody knows, and then it is not sent.
    reserve: MicroUsd | None
    tokens: int = 0
    what: str = ""


class Signs(Protocol):
    """Ways to ask the other side of a route."""

    def alive(self, kind: Class) -> Work[Answer] | None:
        """What gets an answer of any kind, free of charge; None where there is nothing."""
        ...

    def trial(self, kind: Class, model: str) -> Trial | None:
        """The cheapest real request; None where there is nothing."""
        ...


class Prober:
    """Asks for all routes of a door that are out of service; each turn does what is due."""

    def __init__(self, door: Door, signs: Signs) -> None:
        """Take up the routes that were out of service when the last process ended.

        Raises:
            TildawnError: the house cannot be read.
        """
        self._door = door
        self._gate = door.gate
        self._signs = signs
        self._clock = door.clock
        self._gate.remember()

    async def turn(self) -> None:
        """Ask where it is time to.

        Raises:
            TildawnError: the house cannot be read or takes no facts.
        """
        due = [health for health in self._gate.known() if self._is_due(health)]
        if due:
            await asyncio.gather(*(self._ask(health) for health in due))

    def _is_due(self, health: Health) -> bool:
        if health.turning or health.testing or health.state not in {"open", "probing"}:
            return False
        if health.state == "open" and self._clock.mono() < health.due:
            return False
        return self._gate.mode(health) == "on" and self._signs.alive(health.kind) is not None

    async def _ask(self, health: Health) -> None:
        if health.state == "open":
            await self._check(health)
        if health.state == "probing" and not health.testing:
            await self._try(health)

    async def _check(self, health: Health) -> None:
        """Ask for a sign of life."""
        work, row = self._signs.alive(health.kind), health.row
        assert work is not None, "asked for before"
        ran: Ran[Answer] = await self._run(work, CHECK_TAKES)
        if health.turning or health.row.state != row.state:
            return
        if ran.fault is None:
            fact = RouteChecked(
                route=row.route, generation=row.generation, alive=True, wait_ms=row.wait_ms
            )
            then = turn_of(health, "probing", cause="alive", why="it gave a sign of life")
            self._gate.turns.checked(fact, then, health)
            await self._settled(health)
            return
        remembered, wait = self._gate.turns.next_wait(health)
        fact = RouteChecked(
            route=row.route, generation=row.generation, alive=False, fault=ran.fault.kind,
            due=self._clock.wall() + wait, wait_ms=remembered // MILLISECOND,
        )  # fmt: skip
        trip = breaker.blocks(ran.fault.kind)
        blocked = turn_of(health, "blocked", cause=trip.cause, why=trip.why) if trip else None
        self._gate.turns.checked(fact, blocked, health)

    async def _settled(self, health: Health) -> None:
        """Wait until a change of state that is on its way is on record."""
        while health.turning:
            await self._clock.sleep(Micros(5 * MILLISECOND))

    async def _try(self, health: Health) -> None:
        """Pay for a try that nobody needs, where nobody waits whose call could be the try."""
        first, now = health.first(), self._clock.wall()
        if first is not None and self._gate.payable(health, first[1]) <= now:
            return
        trial = self._signs.trial(health.kind, health.model)
        if trial is None or trial.reserve is None:
            return
        if self._gate.payable(health, trial.reserve) > now:
            return
        limit = Micros(min(TRIAL_TAKES, health.limit().limit))
        leave = self._gate.testing(health, limit=Limit(limit, "fixed"))
        await self._door.test(self._request(health, trial), leave)

    def _request(self, health: Health, trial: Trial) -> CallRequest:
        row = health.row
        return CallRequest(
            run=PROBES, path=f"{row.route}#{self._clock.wall()}", run_attempt=1,
            fence=_same(row.route, row.generation), name="probe", route=row.route, repeat="safe",
            args_digest="", body_digest="", perform=trial.perform, reserve=trial.reserve,
            reserve_tokens=trial.tokens, model=health.model,
            what=trial.what, kind=health.kind, retry=RetryPolicy(rules={}), sign=True,
        )  # fmt: skip

    async def _run(self, work: Work[Answer], limit: Micros) -> Ran[Answer]:
        until = Micros(self._clock.mono() + limit)
        attempt = Attempt(key="", number=1, deadline=until, child_started=_no_child)
        return await Try(self._clock, self._door.alarms, attempt, work).run()


async def _no_child(_pid: int, _started: str) -> None:
    message = "a sign of life needs no process"
    raise AssertionError(message)


def _same(route: str, generation: int) -> Expect:
    def same(row: Row | None) -> bool:
        return isinstance(row, HealthRow) and row.generation == generation

    return Expect(row=HealthRow, key=(route,), test=same, why="route")
