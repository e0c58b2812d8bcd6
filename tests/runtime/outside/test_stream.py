"""A declared call that hears an answer while it is made, from the simulator over real HTTP."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tildawn.guard.policy import IDLE
from tildawn.guard.request import Answer, Attempt
from tildawn.guard.stream import StreamTimeout
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.providers.dialect import dialect
from tildawn.providers.openai_compatible import OpenAiCompatible
from tildawn.providers.prices import Prices
from tildawn.providers.sim.model import SimModel
from tildawn.providers.sim.scenario import parse
from tildawn.providers.sim.server import SimServer
from tildawn.providers.wire import Wires
from tildawn.runtime.outside.call import CallDef, Outside, call
from tildawn.runtime.outside.world import Models, World
from tildawn.runtime.policies import Policies
from tildawn.runtime.setting import RouteSettings
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.testing.clock import ManualClock
from tildawn.units import SECOND, Micros


@call(name="tell", repeat="safe")
async def tell(out: Outside) -> str:
    """All that the model says."""
    return "".join([piece.text async for piece in out.stream("a red heart mug")])


@call(name="begin", repeat="safe")
async def begin(out: Outside) -> str:
    """The first piece, and away without closing anything."""
    async for piece in out.stream("a red heart mug"):
        return piece.text
    raise AssertionError


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A house."""
    clock = ManualClock()
    opened = Ledger.open(
        tmp_path / ".tildawn", registry=REGISTRY, projections=PROJECTIONS, clock=clock,
        ids=Ids(clock), build="test",
    )  # fmt: skip
    yield opened
    opened.close()


class Stage:
    """A simulator and the world that asks it."""

    def __init__(self, world: World, server: SimServer, clock: ManualClock) -> None:
        self.world = world
        self.server = server
        self.clock = clock

    def start(self, made: CallDef[[], str], **limits: Micros) -> "asyncio.Task[Answer]":
        """Begin an attempt."""
        attempt = Attempt(key="k", number=1, deadline=Micros(0), child_started=_no_child)
        attempt.first, attempt.idle = limits.get("first"), limits.get("idle")
        prepared = made.prepare(self.world, (), {}, simulated=True)
        return asyncio.ensure_future(prepared.perform(attempt))

    async def drive(self, going: "asyncio.Task[Answer]") -> None:
        """Let time pass, tenth by tenth of a second, while the attempt goes on."""
        while not going.done():
            for _ in range(20):
                await asyncio.sleep(0)
            if not going.done() and self.clock.next_due() is not None:
                self.clock.advance(Micros(SECOND // 10))


@asynccontextmanager
async def stage(ledger: Ledger, scenario: str) -> AsyncGenerator[Stage]:
    """Open the simulator."""
    clock = ManualClock()
    async with SimServer(SimModel(scenario=parse(scenario)), clock=clock) as server:
        wires = Wires(clock=clock)
        provider = OpenAiCompatible(
            dialect("sim"), wires=wires, key="sim", base_url=f"{server.url}/v1"
        )
        world = World(
            ledger, clock, wires=wires, prices=Prices.shipped(), connected=provider,
            models=Models(chat="sim-chat", image="sim-image"), env={}, folder=Path(),
        )  # fmt: skip
        yield Stage(world, server, clock)
        await world.aclose()


def play(ledger: Ledger, scenario: str, scene: Callable[[Stage], Awaitable[None]]) -> None:
    """Run a scene in a loop of its own."""

    async def main() -> None:
        async with stage(ledger, scenario) as opened:
            await scene(opened)

    asyncio.run(main())


async def _no_child(_pid: int, _started: str) -> None:
    raise AssertionError


def rule(fault: str) -> str:
    return f"[[rule]]\nfault = {{ {fault} }}\n"


def test_a_streamed_answer_has_its_bill_and_the_time_to_its_first_piece(ledger: Ledger) -> None:
    """Slow first tokens are how a provider begins to fail; the whole answer's time hides them."""

    async def scene(s: Stage) -> None:
        going = s.start(tell)
        await s.drive(going)
        got = going.result()
        assert b"mug" in got.value
        assert got.first_ms == 2_000
        assert got.spend == s.server.model.meter.billed_micro_usd > 0
        assert (got.spend_source, got.tokens_out > 0) == ("reported", True)

    play(ledger, rule("kind = 'late', delay = '2s'"), scene)


def test_a_stream_that_is_left_is_closed_with_the_attempt_and_its_bill_is_unknown(
    ledger: Ledger,
) -> None:
    """Whoever forgets to close a stream must not pay with a socket, nor with a bill of nothing."""

    async def scene(s: Stage) -> None:
        going = s.start(begin)
        await s.drive(going)
        got = going.result()
        assert got.spend_source == "none"
        await s.server.until(lambda model: model.meter.disconnects == 1)

    play(ledger, rule("kind = 'drip', every = '100ms', size = 400"), scene)


@pytest.mark.parametrize(
    ("fault", "limit", "at"),
    [("kind = 'hang'", "first", 8), ("kind = 'drip', every = '3s', size = 150", "first", 8)],
)
def test_a_stream_without_a_first_piece_ends_and_its_socket_with_it(
    ledger: Ledger, fault: str, limit: str, at: int
) -> None:
    """Half an event every few seconds is bytes, and still not a word."""

    async def scene(s: Stage) -> None:
        going = s.start(tell, first=Micros(8 * SECOND))
        await s.server.until(lambda model: model.meter.requests == 1)
        await s.drive(going)
        error = going.exception()
        assert isinstance(error, StreamTimeout)
        assert (error.limit, s.clock.mono()) == (limit, at * SECOND)
        await s.server.until(lambda model: model.meter.disconnects == 1)

    play(ledger, rule(fault), scene)


def test_a_stream_that_falls_silent_ends_and_its_socket_with_it(ledger: Ledger) -> None:
    """A hang in the middle of an answer is the commonest one of long answers."""

    async def scene(s: Stage) -> None:
        going = s.start(tell, first=Micros(60 * SECOND), idle=Micros(5 * SECOND))
        await s.server.until(lambda model: model.meter.requests == 1)
        await s.drive(going)
        error = going.exception()
        assert isinstance(error, StreamTimeout)
        assert (error.limit, error.sent) == ("idle", True)
        await s.server.until(lambda model: model.meter.disconnects == 1)

    # The first drop holds some pieces; the next one comes too late.
    play(ledger, rule("kind = 'drip', every = '7s', size = 700"), scene)


def test_the_silence_that_a_route_allows_is_a_setting() -> None:
    """One model thinks for a minute before its first word; another one is dead by then."""
    said = RouteSettings(timeout_first=Micros(90 * SECOND), timeout_idle=Micros(SECOND))
    limits = Policies({"slow:*": said}).of("slow:thinker", "chat").timeout
    assert (limits.first, limits.idle) == (90 * SECOND, SECOND)
    usual = Policies({}).of("slow:thinker", "chat").timeout
    assert (usual.first, usual.idle) == (None, IDLE)
