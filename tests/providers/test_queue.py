"""The queue before the connections to one host."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from tildawn.providers.fault import Fault
from tildawn.providers.port import Wire
from tildawn.providers.wire import EXTRA_CONNECTIONS, KEPT_CONNECTIONS, Outgoing, Wires
from tildawn.testing.clock import ManualClock
from tildawn.units import SECOND, Micros


pytestmark = pytest.mark.anyio

MOST = KEPT_CONNECTIONS + EXTRA_CONNECTIONS


class Host:
    """Answers nobody until it is told to, and remembers who asked in which order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.open = 0
        self.most = 0
        self.answer = asyncio.Semaphore(0)
        self.changed = asyncio.Event()
        self.url = ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk on one connection."""
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            while line := await reader.readline():
                self.asked.append(line.decode().split(" ")[1])
                while (await reader.readline()).strip():
                    pass
                self.changed.set()
                await self.answer.acquire()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        finally:
            self.open -= 1
            self.changed.set()
            writer.close()

    async def until_asked(self, times: int) -> None:
        """Wait until so many requests have come."""
        while len(self.asked) < times:
            self.changed.clear()
            await self.changed.wait()


@asynccontextmanager
async def house() -> AsyncGenerator[tuple[Host, Wires, ManualClock]]:
    """A host on a real socket, and our connections to it."""
    host, clock = Host(), ManualClock()
    server = await asyncio.start_server(host, "127.0.0.1", 0)
    host.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    wires = Wires(clock=clock)
    yield host, wires, clock
    await wires.aclose()
    server.close()
    await server.wait_closed()


async def test_whoever_finds_all_connections_taken_waits_and_is_told_how_long() -> None:
    """A full pool is our queue; booked as latency it would make a healthy provider look slow."""
    async with house() as (host, wires, clock):
        told = [Wire() for _ in range(MOST + 5)]
        calls = list[asyncio.Task[object]]()
        for number, wire in enumerate(told):
            out = Outgoing(method="GET", url=f"{host.url}/{number}")
            calls.append(asyncio.create_task(wires.exchange(out, limit=10, wire=wire)))
            await asyncio.sleep(0)
        await host.until_asked(MOST)
        clock.advance(Micros(7 * SECOND))
        waiting = [wire for wire in told if wire.queues_since is not None]
        assert waiting == told[MOST:]
        assert not any(wire.sent for wire in waiting)
        for _ in told:
            host.answer.release()
        await asyncio.gather(*calls)
        assert [wire.queued for wire in told] == [0] * MOST + [7 * SECOND] * 5
        assert all(wire.sent and wire.queues_since is None for wire in told)
        assert host.most == MOST
        assert host.asked[MOST:] == [f"/{number}" for number in range(MOST, MOST + 5)]


async def test_who_gives_up_in_the_queue_takes_nobodys_turn_and_sent_nothing() -> None:
    """A turn that is lost with its waiter would shrink the pool by one each time, until dawn."""
    async with house() as (host, wires, clock):
        holding = [
            asyncio.create_task(wires.exchange(Outgoing(method="GET", url=host.url), limit=10))
            for _ in range(MOST)
        ]
        await host.until_asked(MOST)
        for _ in range(MOST):
            wire = Wire()
            out = Outgoing(method="GET", url=f"{host.url}/never")
            gone = asyncio.create_task(wires.exchange(out, limit=10, wire=wire))
            await asyncio.sleep(0)
            clock.advance(Micros(SECOND))
            gone.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gone
            assert (wire.sent, wire.queued, wire.queues_since) == (False, SECOND, None)
        last = asyncio.create_task(
            wires.exchange(Outgoing(method="GET", url=f"{host.url}/last"), limit=10)
        )
        for _ in range(MOST + 1):
            host.answer.release()
        await asyncio.gather(*holding, last)
        assert host.asked[MOST:] == ["/last"]


async def test_faults_and_aborts_give_their_turn_back() -> None:
    """Whatever a call ends in, the next one must be able to leave."""
    async with house() as (host, wires, _):
        for _ in range(MOST + 1):
            out = Outgoing(method="GET", url=host.url)
            host.answer.release()
            with pytest.raises(Fault):
                await wires.exchange(out, limit=1)  # an answer of two bytes
        asked, out = len(host.asked), Outgoing(method="GET", url=host.url)
        for number in range(1, MOST + 2):
            call = asyncio.create_task(wires.exchange(out, limit=10))
            await host.until_asked(asked + number)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call


async def test_each_host_has_a_queue_of_its_own() -> None:
    """A provider that hangs must not hold up the shop."""
    async with house() as (slow, wires, _), house() as (quick, _, _):
        hung = [
            asyncio.create_task(wires.exchange(Outgoing(method="GET", url=slow.url), limit=10))
            for _ in range(MOST + 3)
        ]
        await slow.until_asked(MOST)
        quick.answer.release()
        wire = Wire()
        got = await wires.exchange(Outgoing(method="GET", url=quick.url), limit=10, wire=wire)
        assert (got.body, wire.queued) == (b"ok", 0)
        for call in hung:
            call.cancel()
        await asyncio.gather(*hung, return_exceptions=True)
