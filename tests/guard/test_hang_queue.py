"""Time in our own queue for a connection is nobody's timeout."""

import asyncio
from random import Random

import pytest

from tildawn.guard.attempt import LOOK, Ran, Try
from tildawn.guard.deadline import Alarms
from tildawn.guard.request import Answer, Attempt
from tildawn.providers.port import Wire
from tildawn.testing.clock import ManualClock
from tildawn.units import SECOND, Micros


async def tried(clock: ManualClock, *waits: tuple[str, int], limit: int, until: int) -> Ran[Answer]:
    """A try that waits in our queue and works in turns, so many seconds each."""

    async def nobody(_pid: int, _started: str) -> None:
        raise AssertionError

    async def work(attempt: Attempt) -> Answer:
        wire = attempt.wire = Wire()
        for what, seconds in waits:
            if what == "work":
                wire.sent = True
                await clock.sleep(Micros(seconds * SECOND))
                continue
            wire.queue(clock.mono())
            try:
                await clock.sleep(Micros(seconds * SECOND))
            finally:
                wire.unqueue(clock.mono())
        return Answer(value=b"1")

    now = clock.mono()
    attempt = Attempt(
        key="k", number=1, deadline=Micros(now + limit * SECOND), child_started=nobody,
        until=Micros(now + until * SECOND),
    )  # fmt: skip
    alarms = Alarms(clock)
    going = asyncio.create_task(Try(clock, alarms, attempt, work).run())
    while not going.done():
        for _ in range(8):
            await asyncio.sleep(0)
        due = clock.next_due()
        if due is not None and not going.done():
            clock.advance(due)
    alarms.close()
    return going.result()


def test_waiting_for_a_connection_puts_the_end_off_and_is_no_latency() -> None:
    """A pool of ours that is full says nothing about the provider, so it must not look slow."""
    clock = ManualClock()
    ran = asyncio.run(tried(clock, ("queue", 70), ("work", 4), limit=5, until=600))
    assert ran.answer is not None
    assert (ran.took, ran.queued) == (4 * SECOND, 70 * SECOND)


def test_the_other_side_has_its_whole_limit_after_the_queue_and_no_more() -> None:
    """Otherwise a hang behind a queue would go on for as long as the queue was."""
    clock = ManualClock()
    ran = asyncio.run(tried(clock, ("queue", 70), ("work", 400), limit=5, until=600))
    assert ran.fault is not None
    assert (ran.fault.kind, ran.fault.detail) == ("timeout", "no answer within 5 s")
    assert (ran.took, ran.queued, clock.mono()) == (5 * SECOND, 70 * SECOND, 75 * SECOND)


def test_two_queues_in_one_attempt_are_both_left_out() -> None:
    """A picture is asked for at one host and fetched from another, each with a queue."""
    clock = ManualClock()
    turns = (("queue", 20), ("work", 3), ("queue", 30), ("work", 400))
    ran = asyncio.run(tried(clock, *turns, limit=5, until=600))
    assert ran.fault is not None
    assert ran.fault.kind == "timeout"
    assert (ran.took, ran.queued) == (5 * SECOND, 50 * SECOND)


def test_a_call_that_is_over_while_it_waits_for_a_connection_is_no_fault_of_the_provider() -> None:
    """Nothing was sent: neither the breaker nor the bill may hear of it as a timeout."""
    clock = ManualClock()
    ran = asyncio.run(tried(clock, ("queue", 9_000), limit=5, until=60))
    assert ran.fault is not None
    assert (ran.fault.kind, ran.fault.effect.value) == ("queue", "none")
    assert (ran.took, ran.queued, clock.mono()) == (0, 60 * SECOND, 60 * SECOND)


def test_the_whole_call_bounds_what_a_queue_puts_off() -> None:
    """What waited for long gets only the time that is left, and the fault says how much it was."""
    clock = ManualClock()
    ran = asyncio.run(tried(clock, ("queue", 58), ("work", 400), limit=5, until=60))
    assert ran.fault is not None
    assert (ran.fault.kind, ran.fault.detail) == ("timeout", "no answer within 2 s")
    assert clock.mono() == 60 * SECOND


@pytest.mark.parametrize("seed", range(10))
def test_whatever_the_turns_a_try_ends_at_its_limit_of_time_outside_our_queue(seed: int) -> None:
    """The rule as a sum: time outside of the queue never exceeds the limit by more than a look."""
    rng, clock = Random(seed), ManualClock()
    turns = [(rng.choice(("queue", "work")), rng.randint(1, 9)) for _ in range(12)]
    ran = asyncio.run(tried(clock, *turns, limit=20, until=1_000))
    work = sum(seconds for what, seconds in turns if what == "work") * SECOND
    assert (ran.answer is not None) == (work <= 20 * SECOND)
    assert min(work, 20 * SECOND) <= ran.took <= 20 * SECOND + LOOK
    assert clock.mono() == ran.took + ran.queued
