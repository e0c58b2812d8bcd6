"""Every way in which a provider goes wrong, as the adapter tells it."""

import asyncio
import contextlib

import pytest

from tildawn.clock import SystemClock
from tildawn.errors import Effect
from tildawn.providers.dialect import dialect
from tildawn.providers.fault import Fault, FaultKind
from tildawn.providers.openai_compatible import OpenAiCompatible
from tildawn.providers.port import ChatRequest, ImageRequest, Message, Wire
from tildawn.providers.wire import EXTRA_CONNECTIONS, KEPT_CONNECTIONS, Outgoing, Wires
from tildawn.units import SECOND, Micros


pytestmark = pytest.mark.anyio

CHAT = ChatRequest(model="sim-chat", messages=(Message("user", "a red heart mug"),))
SHAPED = ChatRequest(
    model="sim-chat",
    messages=CHAT.messages,
    schema='{"type": "object", "properties": {"title": {"type": "string"}}}',
)
IMAGE = ImageRequest(model="sim-image", prompt="a red heart mug", size="32x32")


def rule(fault: str, more: str = "") -> str:
    return f"[[rule]]\n{more}\nfault = {{ {fault} }}\n"


@pytest.mark.parametrize(
    ("fault", "kind", "status", "effect"),
    [
        ("kind = 'rate'", FaultKind.RATE, 429, Effect.NONE),
        ("kind = 'quota'", FaultKind.QUOTA, 429, Effect.NONE),
        ("kind = 'server'", FaultKind.SERVER, 503, Effect.UNKNOWN),
        ("kind = 'server', status = 599", FaultKind.SERVER, 599, Effect.UNKNOWN),
        ("kind = 'server', status = 504", FaultKind.TIMEOUT, 504, Effect.UNKNOWN),
        ("kind = 'refused'", FaultKind.REFUSED_CONTENT, 400, Effect.NONE),
        ("kind = 'reset'", FaultKind.NETWORK, None, Effect.UNKNOWN),
        ("kind = 'cut'", FaultKind.NETWORK, None, Effect.UNKNOWN),
        ("kind = 'cut', keep = 0", FaultKind.NETWORK, None, Effect.UNKNOWN),
        ("kind = 'malformed'", FaultKind.INVALID_ANSWER, None, Effect.UNKNOWN),
        ("kind = 'malformed', where = 'content'", FaultKind.INVALID_ANSWER, None, Effect.UNKNOWN),
    ],
)
async def test_each_failure_has_its_kind_and_its_effect(
    stage, fault: str, kind: FaultKind, status: int | None, effect: Effect
) -> None:
    """The rules about trying again are written in kinds; a wrong one costs money or the night."""
    async with stage(rule(fault)) as s:
        wire = Wire()
        with pytest.raises(Fault) as caught:
            await s.provider.chat(SHAPED, idempotency_key="k", wire=wire)
        seen = caught.value
        assert (seen.kind, seen.status, seen.effect) == (kind, status, effect)
        assert seen.sent
        assert wire.sent


@pytest.mark.parametrize("spelling", ["seconds", "date", "ms"])
async def test_the_time_to_wait_is_read_in_all_three_spellings(stage, spelling: str) -> None:
    """Coming back too early is answered with a longer wait; too late wastes the night."""
    fault = f"kind = 'rate', retry_after = '7s', spelling = '{spelling}'"
    async with stage(rule(fault)) as s:
        with pytest.raises(Fault) as caught:
            await s.provider.chat(CHAT, idempotency_key="k")
        assert caught.value.retry_after == 7 * SECOND


async def test_a_rate_limit_without_a_time_says_none(stage) -> None:
    """No time given is not the same as no time to wait."""
    async with stage(rule("kind = 'rate', spelling = 'none'")) as s:
        with pytest.raises(Fault) as caught:
            await s.provider.chat(CHAT, idempotency_key="k")
        assert caught.value.retry_after is None


async def test_an_empty_address_in_place_of_a_picture_is_no_picture(stage) -> None:
    """The first gallery showed black frames because an empty address counted as success."""
    async with stage(rule("kind = 'empty-url'"), image_format="url") as s:
        with pytest.raises(Fault) as caught:
            await s.provider.image(IMAGE, idempotency_key="k")
        assert caught.value.kind is FaultKind.INVALID_ANSWER
        assert caught.value.cost == 20_000  # it was billed all the same
        assert s.model.meter.answers == 1


async def test_a_picture_that_breaks_off_while_it_is_fetched_is_a_fault_that_was_paid_for(
    stage,
) -> None:
    """The making is billed even if the fetching fails, so the settlement must know the cost."""
    scenario = rule("kind = 'cut'", "path = '/sim/images'")
    async with stage(scenario, image_format="url") as s:
        with pytest.raises(Fault) as caught:
            await s.provider.image(IMAGE, idempotency_key="k")
        assert (caught.value.kind, caught.value.sent) == (FaultKind.NETWORK, True)
        assert caught.value.cost == 20_000


async def test_json_of_another_shape_reaches_the_caller_who_judges_it(stage) -> None:
    """Fitting the schema is the guard's check; the adapter only promises that it is JSON."""
    async with stage(rule("kind = 'wrong-schema'")) as s:
        answer = await s.provider.chat(SHAPED, idempotency_key="k")
        assert answer.json == '{"nobody_asked_for": [true]}'


async def test_after_a_burst_the_same_key_gets_the_answer_and_one_bill(stage) -> None:
    """What was refused was not bought; what was cut off was, and is only sent again."""
    scenario = rule("kind = 'server'", "nth = '1-2'") + rule("kind = 'cut'", "nth = 3")
    async with stage(scenario) as s:
        for _ in range(3):
            with pytest.raises(Fault):
                await s.provider.chat(CHAT, idempotency_key="k")
        await s.provider.chat(CHAT, idempotency_key="k")
        assert s.model.meter.faults == {"server": 2, "cut": 1}
        assert (s.model.meter.answers, s.model.meter.replayed) == (1, 1)


async def test_a_stream_that_breaks_off_is_a_fault_after_the_pieces_that_came(stage) -> None:
    """Half an answer must never pass for a whole one."""
    async with stage(rule("kind = 'cut'")) as s:
        heard = list[str]()

        async def listen() -> None:
            async for piece in s.provider.stream(CHAT, idempotency_key="k"):
                heard.append(piece.text)

        with pytest.raises(Fault) as caught:
            await listen()
        assert "".join(heard)
        assert caught.value.kind is FaultKind.NETWORK


async def test_an_answer_that_never_ends_is_cut_at_the_limit(stage) -> None:
    """A provider must not be able to fill our memory."""
    async with stage() as s:
        out = Outgoing(method="GET", url=f"{s.url}/sim/images/0123456789abcdef-900x900.png")
        with pytest.raises(Fault) as caught:
            await s.wires.exchange(out, limit=1_000)
        assert caught.value.kind is FaultKind.TOO_LARGE
        assert "longer than 1000 bytes" in caught.value.detail


async def test_answers_that_are_thrown_away_give_their_connections_back(stage) -> None:
    """A host that misbehaves all night must not use up the pool."""
    async with stage() as s:
        out = Outgoing(method="GET", url=f"{s.url}/sim/images/0123456789abcdef-900x900.png")
        kept = list[Fault]()  # a fault that is kept on record keeps its frames alive
        for _ in range(KEPT_CONNECTIONS + EXTRA_CONNECTIONS + 1):
            with pytest.raises(Fault) as caught:
                await s.wires.exchange(out, limit=1_000)
            kept.append(caught.value)


@pytest.mark.parametrize(
    ("fault", "moves"),
    [
        ("kind = 'late', delay = '30s'", [30]),
        ("kind = 'drift', by = '2s', limit = '5s'", [2, 4, 5]),
    ],
)
async def test_a_late_answer_is_an_answer_for_who_still_waits(
    stage, fault: str, moves: list[int]
) -> None:
    """Late is not failed: whoever has the time gets what was paid for."""
    async with stage(rule(fault)) as s:
        for number, seconds in enumerate(moves):
            call = asyncio.create_task(s.provider.chat(CHAT, idempotency_key=f"{number}"))
            await s.clock.sleepers()
            assert s.clock.next_due() == seconds * SECOND
            s.clock.advance(Micros(seconds * SECOND))
            assert (await call).text


@pytest.mark.parametrize("fault", ["hang", "accept-then-hang", "late", "drip"])
async def test_cancelling_closes_the_connection_and_tells_that_the_request_was_sent(
    stage, fault: str
) -> None:
    """A call that is given up must not go on costing sockets, here or at the provider."""
    async with stage(rule(f"kind = '{fault}'")) as s:
        wire = Wire()
        call = asyncio.create_task(s.provider.chat(CHAT, idempotency_key="k", wire=wire))
        await s.until(lambda model: model.meter.requests == 1)
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await s.until(lambda model: model.meter.disconnects == 1)
        assert wire.sent
        assert s.model.meter.answers == (0 if fault == "hang" else 1)


async def test_a_dripping_answer_ends_when_the_callers_patience_ends(stage) -> None:
    """A limit on silence alone never ends a drip; only a limit on the whole call does."""
    async with stage(rule("kind = 'drip', every = '200ms', size = 1")) as s:
        patience = asyncio.create_task(s.clock.sleep(Micros(3 * SECOND)))
        call = asyncio.create_task(s.provider.chat(CHAT, idempotency_key="k"))
        while not patience.done():
            await s.clock.sleepers(2)  # the caller's patience and the next drop
            s.clock.advance(Micros(200_000))
            await asyncio.sleep(0)
        assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await s.until(lambda model: model.meter.disconnects == 1)
        assert s.clock.mono() == 3 * SECOND


async def test_thirty_calls_given_up_leave_no_connection_behind(stage) -> None:
    """A night of hangs must not use up the pool, nor the descriptors of the process."""
    async with stage(rule("kind = 'hang'", "nth = '1-30'")) as s:
        for number in range(1, 31):
            call = asyncio.create_task(s.provider.chat(CHAT, idempotency_key="k"))
            await s.until(lambda model, number=number: model.meter.requests == number)
            await asyncio.sleep(0)
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call
        await s.until(lambda model: model.meter.disconnects == 30)
        assert (await s.provider.chat(CHAT, idempotency_key="k")).text


async def test_a_host_that_nobody_serves_is_a_network_fault_with_nothing_sent() -> None:
    """Nothing was sent, so another provider may be asked without fear of a second effect."""
    holder = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = holder.sockets[0].getsockname()[1]
    holder.close()
    await holder.wait_closed()
    wires = Wires(clock=SystemClock())
    base_url = f"http://127.0.0.1:{port}/v1"
    provider = OpenAiCompatible(dialect("sim"), wires=wires, key="sim", base_url=base_url)
    wire = Wire()
    with pytest.raises(Fault) as caught:
        await provider.chat(CHAT, idempotency_key="k", wire=wire)
    assert (caught.value.kind, caught.value.sent) == (FaultKind.NETWORK, False)
    assert caught.value.effect is Effect.NONE
    assert not wire.sent
    await provider.aclose()


async def test_a_host_that_does_not_speak_tls_is_sent_nothing() -> None:
    """The key must not reach whoever answers in place of the provider."""
    got: list[bytes] = []

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A greeting has no end that a server of lines could wait for: any first bytes will do.
        got.append(await reader.read(65_536))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    base_url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    wires = Wires(clock=SystemClock())
    provider = OpenAiCompatible(dialect("sim"), wires=wires, key="secret-key", base_url=base_url)
    with pytest.raises(Fault) as caught:
        await provider.chat(CHAT, idempotency_key="k")
    assert (caught.value.kind, caught.value.sent) == (FaultKind.TLS, False)
    assert got
    assert not any(b"secret-key" in one for one in got)
    await provider.aclose()
    server.close()


@pytest.mark.parametrize("url", ["ftp://example.org/x", "no address", "http://", "http://[::1"])
async def test_what_is_no_web_address_is_our_mistake(url: str) -> None:
    """A typing error in a plan must not look like an outage."""
    wires = Wires(clock=SystemClock())
    with pytest.raises(Fault) as caught:
        await wires.exchange(Outgoing(method="GET", url=url), limit=10)
    assert (caught.value.kind, caught.value.sent) == (FaultKind.BAD_REQUEST, False)
    await wires.aclose()


async def test_a_header_that_cannot_be_sent_is_our_mistake_and_does_not_show_the_key() -> None:
    """A key with a line break in it (a copied secret) must fail early, and not be printed."""

    async def closed(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(closed, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    wires = Wires(clock=SystemClock())
    provider = OpenAiCompatible(dialect("sim"), wires=wires, key="gold\nfish", base_url=url)
    with pytest.raises(Fault) as caught:
        await provider.chat(CHAT, idempotency_key="k")
    assert (caught.value.kind, caught.value.sent) == (FaultKind.BAD_REQUEST, False)
    assert "gold" not in caught.value.detail
    assert "fish" not in caught.value.detail
    await provider.aclose()
    server.close()
    await server.wait_closed()
