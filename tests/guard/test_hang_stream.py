"""Streams that are silent: before the first piece, between two, and while nobody listens."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from random import Random
from typing import Any

import msgspec
import pytest

from tildawn.guard.call import Door
from tildawn.guard.fault import seen
from tildawn.guard.policy import IDLE, PRESETS, Class, RoutePolicy
from tildawn.guard.request import Answer, Attempt, Ended
from tildawn.guard.stream import StreamTimeout, limited
from tildawn.providers.port import Wire
from tildawn.testing.clock import ManualClock
from tildawn.units import SECOND, Micros


class Source:
    """Says numbers, each after so many seconds, and remembers whether it was closed."""

    def __init__(self, clock: ManualClock, *waits: int) -> None:
        self.clock = clock
        self.waits = waits
        self.closed = False
        self.wire = Wire()

    async def pieces(self) -> AsyncGenerator[int]:
        """Each number after its wait."""
        self.wire.sent = True
        try:
            for number, wait in enumerate(self.waits):
                await self.clock.sleep(Micros(wait * SECOND))
                yield number
        finally:
            self.closed = True


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def drive(clock: ManualClock, listening: "asyncio.Task[None]") -> None:
    """Let time pass whenever nothing else can."""
    while not listening.done():
        await settle()
        due = clock.next_due()
        if due is not None and not listening.done():
            clock.advance(due)


def hear(
    source: Source, *, first: int | None, idle: int | None = None, pause: int = 0
) -> tuple[list[int], BaseException | None]:
    """What a listener gets who takes ``pause`` seconds for each piece, and how it ends."""
    heard = list[int]()

    async def listen() -> None:
        limits = [None if x is None else Micros(x * SECOND) for x in (first, idle)]
        stream = limited(
            source.pieces(), clock=source.clock, first=limits[0], idle=limits[1], wire=source.wire
        )
        async for piece in stream:
            heard.append(piece)
            await source.clock.sleep(Micros(pause * SECOND))

    async def main() -> BaseException | None:
        listening = asyncio.create_task(listen())
        await drive(source.clock, listening)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*left, return_exceptions=True)
        return listening.exception()

    return heard, asyncio.run(main())


@pytest.mark.parametrize(
    ("waits", "first", "idle", "heard", "limit", "at"),
    [
        ((9, 1, 1), 8, 5, 0, "first", 8),
        ((7, 4, 4, 6, 1), 8, 5, 3, "idle", 20),
        ((7, 4, 4), 8, 5, 3, None, 15),
        ((60, 31), None, None, 1, "idle", 90),
        ((8, 5, 5), 9, 6, 3, None, 18),
        ((1, 9), 2, 4, 1, "idle", 5),
        ((4, 2), 9, 1, 1, "idle", 5),
    ],
)
def test_a_silent_stream_ends_and_says_which_limit_it_was(
    waits: tuple[int, ...], first: int | None, idle: int | None, heard: int, limit, at: int
) -> None:
    """A model that thinks long before it speaks is healthy; one that falls silent is not."""
    source = Source(ManualClock(), *waits)
    got, error = hear(source, first=first, idle=idle)
    assert got == list(range(heard))
    assert getattr(error, "limit", None) == limit
    assert (source.clock.mono(), source.closed) == (at * SECOND, True)


def test_the_fault_is_a_timeout_with_an_open_effect() -> None:
    """The rules of retrying read kinds, and what was sent may have been worked on."""
    _, error = hear(Source(ManualClock(), 1, 400), first=8)
    assert isinstance(error, StreamTimeout)
    fault = seen(error, sent=True)
    assert (fault.kind, fault.effect.value, fault.type) == ("timeout", "unknown", "StreamTimeout")
    assert fault.detail == f"no further piece of the stream within {IDLE // SECOND} s"


def test_a_listener_who_takes_time_over_a_piece_is_not_the_streams_silence() -> None:
    """Writing a piece to a slow disk must not look like a hung provider."""
    got, error = hear(Source(ManualClock(), 3, 3, 3), first=4, idle=4, pause=60)
    assert (got, error) == ([0, 1, 2], None)


class Queued(Source):
    """Says its numbers once there is a connection, after fifty seconds."""

    async def pieces(self) -> AsyncGenerator[int]:
        """Each number after its wait."""
        self.wire.queue(self.clock.mono())
        await self.clock.sleep(Micros(50 * SECOND))
        self.wire.unqueue(self.clock.mono())
        async for piece in super().pieces():
            yield piece


def test_time_in_our_queue_is_not_the_streams_silence() -> None:
    """The first piece cannot come before there is a connection."""
    assert hear(Queued(ManualClock(), 3, 1), first=4, idle=4) == ([0, 1], None)
    late = Queued(ManualClock(), 5)
    _, error = hear(late, first=4, idle=4)
    assert isinstance(error, StreamTimeout)
    assert late.clock.mono() == 54 * SECOND


class Broken(Source):
    """Breaks off after one piece."""

    async def pieces(self) -> AsyncGenerator[int]:
        """One, and no more."""
        yield 0
        raise ConnectionError


def test_a_fault_of_the_stream_goes_through() -> None:
    """What broke it off is not a silence."""
    got, error = hear(Broken(ManualClock()), first=1)
    assert got == [0]
    assert isinstance(error, ConnectionError)


@pytest.mark.parametrize("seconds", [0, 2, 7])
def test_a_listener_who_is_cancelled_closes_the_stream_and_is_cancelled(seconds: int) -> None:
    """An abort must not pass for a timeout, and must not leave the socket open."""

    async def main() -> None:
        source = Source(ManualClock(), 5, 5)

        async def listen() -> None:
            async for _ in limited(source.pieces(), clock=source.clock, first=Micros(60 * SECOND)):
                pass

        listening = asyncio.create_task(listen())
        await settle()
        source.clock.advance(Micros(min(seconds, 5) * SECOND))
        await settle()
        source.clock.advance(Micros(max(seconds - 5, 0) * SECOND))
        await settle()
        listening.cancel()
        await asyncio.wait({listening})
        assert listening.cancelled()
        assert source.closed

    asyncio.run(main())


def test_leaving_early_closes_the_stream_and_leaves_no_task() -> None:
    """Half an answer may be enough, and the rest must cost neither socket nor task."""

    async def main() -> None:
        source = Source(ManualClock(), 0, 0, 0)
        stream = limited(source.pieces(), clock=source.clock, first=Micros(60 * SECOND))
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                assert piece == 0
                break
        assert source.closed
        await settle()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_the_limits_of_a_route_reach_the_attempt(play: Any) -> None:
    """How long a model may think before it speaks is the route's business, not the caller's."""
    given = list[tuple[Micros | None, Micros | None]]()

    def policies(_: str, kind: Class) -> RoutePolicy:
        preset = PRESETS[kind]
        limits = msgspec.structs.replace(preset.timeout, first=Micros(8), idle=Micros(5))
        return msgspec.structs.replace(preset, timeout=limits)

    class Listening:
        @staticmethod
        async def perform(attempt: Attempt) -> Answer:
            given.append((attempt.first, attempt.idle))
            return Answer(value=b"1")

    async def scene(s: Any) -> None:
        own = Door(s.house.ledger, s.clock, Random(0), policies=policies)
        for number, door in enumerate((own, s.door)):
            request = s.house.request(Listening(), path=f"p{number}")
            assert isinstance(await door.call(request, s.ear), Ended)
        await own.close()

    play(scene)
    assert given == [(8, 5), (None, IDLE)]
