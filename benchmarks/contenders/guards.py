"""Policies of others for one call, and ours: for what a guarded call costs and how it behaves.

What it is not: an opinion of what others are for; only what is asked of them here.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import msgspec

from benchmarks.contenders.ours import open_ledger
from tildawn.clock import SystemClock
from tildawn.engine.work import fence_of
from tildawn.facts.call import CallDispatched, CallSettled
from tildawn.facts.fact import Fact
from tildawn.facts.run import RunAccepted, RunStarted
from tildawn.guard.attempt import Try
from tildawn.guard.call import Door
from tildawn.guard.policy import PRESETS, RATES, Class, RecoveryPolicy, RoutePolicy
from tildawn.guard.request import Answer, Attempt, CallRequest, Ended, Later
from tildawn.guard.retry import RetryPolicy
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.projections.route import Sent
from tildawn.units import SECOND, Micros, MicroUsd, Seq


Work = Callable[..., Awaitable[object]]
Guarded = Callable[..., Awaitable[object]]
Wrap = Callable[[Work], Guarded]

FAILURES = 5
"""After how many failures in a row the breakers of others open."""

OPEN = 0.15
"""Seconds that breakers stay open here."""

PEERS = (
    "aiobreaker", "circuitbreaker", "purgatory", "hyx", "pybreaker", "interlock-cb",
)  # fmt: skip


class Boom(Exception):
    """The other side did not answer in time: a whole failure for everybody.

    For ours a 5xx weighs 0.8, so that every other one alone is no half of a window.
    """

    kind = "timeout"
    detail = "boom"
    sent = True
    retry_after = None
    status = None


class Shut(Exception):
    """The guard said no."""


def breaker(name: str) -> Wrap:
    """A breaker of somebody else's, set as near to the others as it goes.

    Raises:
        ImportError: it is not installed.
    """
    return _BREAKERS[name]()


def _aiobreaker() -> Wrap:
    from datetime import timedelta  # noqa: PLC0415 - only where it is measured

    import aiobreaker  # noqa: PLC0415

    return aiobreaker.CircuitBreaker(fail_max=FAILURES, timeout_duration=timedelta(seconds=OPEN))


def _circuitbreaker() -> Wrap:
    import circuitbreaker  # noqa: PLC0415

    return circuitbreaker.CircuitBreaker(failure_threshold=FAILURES, recovery_timeout=OPEN)


def _purgatory() -> Wrap:
    import purgatory  # noqa: PLC0415

    made = purgatory.AsyncCircuitBreakerFactory(default_threshold=FAILURES, default_ttl=OPEN)
    return made("one")


def _hyx() -> Wrap:
    from hyx.circuitbreaker import consecutive_breaker  # noqa: PLC0415

    # In order: what counts, after how many it opens, for how long, and after how many it closes.
    return consecutive_breaker(Exception, FAILURES, OPEN, 1)


def _interlock() -> Wrap:
    import interlock  # noqa: PLC0415

    config = interlock.Config(
        window_size=25, minimum_number_of_calls=FAILURES, failure_rate_threshold=0.5,
        wait_duration_in_open=OPEN, permitted_calls_in_half_open=1,
    )  # fmt: skip
    return interlock.CircuitBreaker(name="one", config=config)


def _pybreaker() -> Wrap:
    """It knows no asyncio: each call is made in a thread, with a loop of its own."""
    import pybreaker  # noqa: PLC0415

    made = pybreaker.CircuitBreaker(fail_max=FAILURES, reset_timeout=OPEN)

    def wrap(work: Work) -> Guarded:
        def blocking(*args: object) -> object:
            return made.call(lambda: asyncio.run(_awaited(work, *args)))

        async def guarded(*args: object) -> object:
            return await asyncio.to_thread(blocking, *args)

        return guarded

    return wrap


async def _awaited(work: Work, *args: object) -> object:
    return await work(*args)


_BREAKERS: dict[str, Callable[[], Wrap]] = {
    "aiobreaker": _aiobreaker,
    "circuitbreaker": _circuitbreaker,
    "purgatory": _purgatory,
    "hyx": _hyx,
    "interlock-cb": _interlock,
    "pybreaker": _pybreaker,
}


# -- ours ----------------------------------------------------------------------------------


def everything(route: str, kind: Class) -> RoutePolicy:
    """The numbers of a class with every rule in use, and no wait at a limiter."""
    return msgspec.structs.replace(
        PRESETS[kind], requests=msgspec.structs.replace(RATES["chat"], burst=10**9, every=1),
        concurrency=64,
    )  # fmt: skip


def brisk(route: str, kind: Class) -> RoutePolicy:
    """The numbers of a class, open for as long as the others are and never retrying."""
    wait = Micros(round(OPEN * SECOND))
    return msgspec.structs.replace(
        PRESETS[kind], recovery=RecoveryPolicy(first=wait, longest=wait, jitter_ppm=0),
        retry=RetryPolicy(rules={}),
    )  # fmt: skip


class OurDoor:
    """Our own door over a real ledger; every call is a call of a run of its own."""

    def __init__(self, folder: Path, *, calls: int = 2_000) -> None:
        """Found a house with one run."""
        self.clock = SystemClock()
        self.ledger: Ledger = open_ledger(folder, self.clock)
        self.run = Ids(self.clock).new()
        begun = [RunAccepted(task="t", args=""), RunStarted(attempt=1)]
        self.ledger.append_now([self.ledger.draft(fact, run=self.run) for fact in begun])
        self._number = 0

    def wrap(self, work: Work) -> Guarded:
        """Work behind a door and a route of its own."""
        self._number += 1
        door = Door(self.ledger, self.clock, Random(0), policies=brisk)
        route = f"route{self._number}"

        async def guarded(*args: object) -> object:
            async def perform(attempt: Attempt) -> Answer:
                await work(*args)
                return Answer(value=b'"done"')

            self._number += 1
            verdict = await door.call(self.request(route, f":{self._number}#1", perform), take)
            if isinstance(verdict, Later):
                raise Shut(verdict.why)
            if isinstance(verdict, Ended) and self._failed(verdict.seq):
                raise Boom
            return None

        return guarded

    def request(
        self, route: str, path: str, perform: Callable[[Attempt], Awaitable[Answer]]
    ) -> CallRequest:
        """A call of the run."""
        return CallRequest(
            run=self.run, path=path, run_attempt=1, fence=fence_of(self.run, 1), name="null",
            route=route, repeat="safe", args_digest="a" * 43, body_digest="b" * 43,
            perform=perform, deadline=Micros(60 * SECOND),
        )  # fmt: skip

    def _failed(self, seq: Seq) -> bool:
        with self.ledger.read() as reader:
            fact, _ = reader.fact(seq)
        return isinstance(fact, Fact) and bool(getattr(fact.data, "fault", ""))


def take(seq: Seq, fact: Fact, text: bytes | None) -> None:
    """Take a final record."""


def in_memory(folder: Path, *, attempt: bool = True) -> Guarded:
    """The whole guard around a call, but for its two commits.

    Mode, breaker, limiter, bulkhead, adaptive limit, deadline, and the history that follows from
    the end of the attempt; without ``attempt`` the work is awaited as it is, under no limit.
    """
    ours = OurDoor(folder)
    door = Door(ours.ledger, ours.clock, Random(0), policies=everything)
    gate, clock, alarms = door.gate, ours.clock, door.alarms
    said = CallDispatched(
        name="null", route="null", attempt=1, key="", args="", repeat="safe", deadline=0,
        timeout_ms=60_000,
    )  # fmt: skip
    answered = CallSettled(attempt=1, final=True, effect="applied", took_ms=3_000)

    async def perform(attempt: Attempt) -> Answer:
        return _ANSWER

    async def child(pid: int, started: str) -> None:
        """There is none."""

    request = ours.request("null", ":null#1", perform)

    async def guarded() -> object:
        until = Micros(clock.mono() + 60 * SECOND)
        leave = await gate.enter(request, until=until)
        assert not isinstance(leave, Later)
        limit = min(leave.limit.limit, 60 * SECOND)
        gate.dispatched(leave, said, Seq(7), clock.wall())
        view = Attempt(key="", number=1, deadline=Micros(clock.mono() + limit), child_started=child)
        if attempt:
            answer = (await Try(clock, alarms, view, request.perform).run()).answer
        else:
            answer = await request.perform(view)
        sent = Sent(dispatched=7, generation=leave.generation, limit_ms=60_000)
        gate.settled(leave, answered, sent, clock.wall())
        gate.leave(leave)
        return answer

    return guarded


_ANSWER = Answer(value=b'"done"', spend=MicroUsd(0))
