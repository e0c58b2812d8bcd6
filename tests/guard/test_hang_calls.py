"""Calls that hang, through the whole door and over real sockets: each ends, and leaves nothing.

Time is the test's; that a socket is closed is what the other end of it says.
"""

import asyncio
import gc
import resource
import threading
import tracemalloc
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tildawn.guard.attempt import GRACE
from tildawn.guard.call import Door
from tildawn.guard.request import Answer, Attempt, Ended
from tildawn.guard.retry import RetryPolicy
from tildawn.providers.dialect import dialect
from tildawn.providers.http import HttpRequest, send
from tildawn.providers.openai_compatible import OpenAiCompatible
from tildawn.providers.port import ImageRequest, Wire
from tildawn.providers.sim.model import SimModel
from tildawn.providers.sim.scenario import parse
from tildawn.providers.sim.transport import SimTransport
from tildawn.providers.wire import EXTRA_CONNECTIONS, KEPT_CONNECTIONS, Wires
from tildawn.units import SECOND, Micros


CALLS, PER_HOST = 1_000, 25
"""How many calls hang at once, and at how many of them a host, below what a pool lets out."""

LIMIT = 30
"""Seconds that each of them has."""

HANGS = ("before-headers", "drip", "half-body")
"""Where an answer stops: before its first byte, never while always slow, in the middle."""

ONCE = RetryPolicy(rules={})


class Host:
    """Takes requests, answers none of them to its end, and sees who hangs up."""

    def __init__(self) -> None:
        self.asked = 0
        self.closed = 0
        self.dripping: set[asyncio.StreamWriter] = set()
        self.changed = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk on one connection."""
        path = (await reader.readline()).split(b" ")[1].decode().strip("/")
        while (await reader.readline()).strip():
            pass
        if path == "half-body":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + b"x" * 500)
        elif path == "drip":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
            self.dripping.add(writer)
        self.asked += 1
        self.changed.set()
        with suppress(ConnectionError):
            while await reader.read(1_000):
                pass
        self.dripping.discard(writer)
        self.closed += 1
        self.changed.set()
        writer.close()

    def drip(self) -> None:
        """One more byte to each of the patient."""
        for writer in self.dripping:
            writer.write(b"x")

    async def until(self, asked: int = 0, closed: int = 0) -> None:
        """Wait until so many requests have come and so many connections have gone."""
        while self.asked < asked or self.closed < closed:
            self.changed.clear()
            await self.changed.wait()


@asynccontextmanager
async def hosts(host: Host, ports: int) -> AsyncGenerator[list[str]]:
    """The same host at several ports, as each port has connections of its own."""
    servers = [await asyncio.start_server(host, "127.0.0.1", 0) for _ in range(ports)]
    yield [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers]
    for server in servers:
        server.close()
        await server.wait_closed()


class Asking:
    """The outside of one call: a request on a real socket."""

    def __init__(self, wires: Wires, url: str) -> None:
        self._wires = wires
        self._url = url

    async def perform(self, attempt: Attempt) -> Answer:
        """Ask."""
        wire = attempt.wire = Wire()
        request = HttpRequest(method="POST", url=self._url, json="{}")
        got = await send(request, wires=self._wires, idempotency_key=attempt.key, wire=wire)
        return Answer(value=got.body)


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Room for both ends of a thousand connections; some systems allow 256 unless asked."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = 2 * CALLS + 200
    if hard != resource.RLIM_INFINITY and hard < need:
        pytest.skip(f"this system allows {hard} descriptors to a process, {need} are needed")
    if soft < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def without_breaker(s: Any) -> None:
    """Have each call tried once and ended; limits hold in every mode.

    With it a route that hangs is taken out of service, and calls wait for it.
    """
    s.doors.append(s.door)
    s.door = Door(s.house.ledger, s.clock, s.door._means.rng, environment="off")


def begin(s: Any, wires: Wires, url: str, **fields: Any) -> "asyncio.Task[Any]":
    """A call of its own place in the run, with one try."""
    said = {
        "timeout": Micros(LIMIT * SECOND), "deadline": Micros(600 * SECOND), "retry": ONCE,
        "reserve": 1_000, "budgets": ("night",),
    }  # fmt: skip
    request = s.house.request(Asking(wires, url), **(said | fields))
    s.begun.append(asyncio.create_task(s.door.call(request, s.ear)))
    return s.begun[-1]


@pytest.mark.usefixtures("descriptors")
def test_a_thousand_hung_calls_end_within_their_limit_and_a_second_with_their_sockets(
    play: Any, house: Any
) -> None:
    """Nobody is awake to kill what hangs; a limit that drops of an answer put off is none."""

    async def scene(s: Any) -> None:
        without_breaker(s)
        host, wires = Host(), Wires(clock=s.clock)
        async with hosts(host, CALLS // PER_HOST) as urls:
            calls = [
                begin(s, wires, f"{urls[n % len(urls)]}/{HANGS[n % 3]}", path=f"p{n}")
                for n in range(CALLS)
            ]
            await host.until(asked=CALLS)
            for _ in range(LIMIT - 1):
                s.clock.advance(SECOND)
                host.drip()
                await s.settle()
            assert not any(call.done() for call in calls)
            assert len(host.dripping) > CALLS // 4
            s.clock.advance(SECOND)
            while (
                not all(call.done() for call in calls) and s.clock.mono() < LIMIT * SECOND + GRACE
            ):
                await host.until(closed=CALLS)
                await s.settle()
            assert {type(call.result()) for call in calls} == {Ended}
            assert s.clock.mono() <= (LIMIT + 1) * SECOND
            await host.until(closed=CALLS)
            assert s.door.abandoned() == ()
            await wires.aclose()

    play(scene)
    ends = [fact.data for fact in house.facts() if fact.kind == "CallSettled"]
    assert len(ends) == CALLS
    assert {(end.fault, end.effect, end.took_ms) for end in ends} == {
        ("timeout", "unknown", LIMIT * 1_000)
    }
    budget = house.budget("night")
    assert budget.reserved == 0
    assert budget.spent + getattr(budget, "held", 0) == CALLS * 1_000


def test_calls_that_wait_behind_hung_ones_have_their_whole_limit_once_it_is_their_turn(
    play: Any, house: Any
) -> None:
    """Behind a full pool of hangs everybody would time out unsent, and all be the provider's fault."""
    calls, most = 70, KEPT_CONNECTIONS + EXTRA_CONNECTIONS

    async def scene(s: Any) -> None:
        without_breaker(s)
        host, wires = Host(), Wires(clock=s.clock)
        async with hosts(host, 1) as [url]:
            made = [begin(s, wires, f"{url}/before-headers", path=f"p{n}") for n in range(calls)]
            for wave in range(1, 4):
                await host.until(asked=min(wave * most, calls))
                assert host.asked - host.closed <= most
                s.clock.advance(Micros(LIMIT * SECOND))
                await host.until(closed=min(wave * most, calls))
            await asyncio.wait(made)
            assert s.clock.mono() == 3 * LIMIT * SECOND
            await wires.aclose()

    play(scene)
    ends = [fact.data for fact in house.facts() if fact.kind == "CallSettled"]
    assert len(ends) == calls
    assert {(end.fault, end.took_ms) for end in ends} == {("timeout", LIMIT * 1_000)}


def test_thirty_aborts_leave_descriptors_threads_tasks_and_memory_as_before(play: Any) -> None:
    """A leak of one socket in each abort ends the night at the thousandth."""

    async def scene(s: Any) -> None:
        without_breaker(s)
        host, wires = Host(), Wires(clock=s.clock)
        async with hosts(host, 1) as [url]:

            async def abort(first: int, count: int) -> None:
                for n in range(first, first + count):
                    begin(s, wires, f"{url}/{HANGS[n % 3]}", path=f"p{n}")
                    await host.until(asked=n + 1)
                    host.drip()
                    await s.settle()
                    s.begun[0].cancel()
                    await asyncio.wait(s.begun)
                    assert s.begun.pop().cancelled()
                    await host.until(closed=n + 1)
                await s.settle()
                gc.collect()

            tracemalloc.start()
            await abort(0, 15)  # whatever is made once
            before, memory = left_behind(), tracemalloc.get_traced_memory()[0]
            await abort(15, 30)
            assert left_behind() == before
            assert tracemalloc.get_traced_memory()[0] - memory < 2 * 1024 * 1024
            tracemalloc.stop()
            await wires.aclose()

    play(scene)


def left_behind() -> tuple[int, int, int]:
    """Open descriptors, threads and tasks."""
    descriptors = sum(1 for _ in Path("/dev/fd").iterdir())
    return descriptors, threading.active_count(), len(asyncio.all_tasks())


@pytest.mark.parametrize(("seconds", "kind"), [(65, "timeout"), (59, "")])
def test_an_answer_after_sixty_five_seconds_is_a_timeout_at_sixty(
    play: Any, house: Any, seconds: int, kind: str
) -> None:
    """The first gallery waited for ever for a picture that took a minute and five seconds."""

    async def scene(s: Any) -> None:
        scenario = f"[[rule]]\nfault = {{ kind = 'late', delay = '{seconds}s' }}\n"
        model = SimModel(scenario=parse(scenario))
        wires = Wires(clock=s.clock, transport=SimTransport(model, clock=s.clock))
        provider = OpenAiCompatible(
            dialect("sim"), wires=wires, key="sim", base_url="http://sim/v1"
        )

        class Drawing:
            @staticmethod
            async def perform(attempt: Attempt) -> Answer:
                wire = attempt.wire = Wire()
                request = ImageRequest(model="sim-image", prompt="mug", size="32x32")
                await provider.image(request, idempotency_key=attempt.key, wire=wire)
                return Answer(value=b'"drawn"')

        request = s.house.request(
            Drawing(), timeout=Micros(60 * SECOND), deadline=Micros(600 * SECOND), retry=ONCE
        )
        await s.drive(asyncio.create_task(s.door.call(request, s.ear)))
        assert s.clock.mono() == min(seconds, 60) * SECOND
        assert model.meter.disconnects == (1 if kind else 0)
        await wires.aclose()

    play(scene)
    end = house.facts()[-1].data
    assert (end.fault, end.took_ms) == (kind, min(seconds, 60) * 1_000)
