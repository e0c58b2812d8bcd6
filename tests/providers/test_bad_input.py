"""Bytes that no provider should send: whatever they are, the end is an answer or a fault."""

import asyncio
import gzip
import tracemalloc
from collections.abc import Awaitable, Callable

import httpx2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tildawn.clock import SystemClock
from tildawn.errors import Effect
from tildawn.providers.dialect import dialect
from tildawn.providers.fault import WAIT_MOST, Fault, FaultKind, retry_after
from tildawn.providers.openai_compatible import OpenAiCompatible
from tildawn.providers.port import Bill, ChatRequest, EmbedRequest, ImageRequest, Message
from tildawn.providers.wire import Outgoing, Wires
from tildawn.testing.clock import MORNING


CHAT = ChatRequest(model="m", messages=(Message("user", "hello"),), schema="{}")
IMAGE = ImageRequest(model="m", prompt="mug")
EMBED = EmbedRequest(model="m", texts=("a",))


def host(dialect_name: str, body: bytes, headers: dict[str, str] | None = None) -> OpenAiCompatible:
    """A provider that answers everything with these bytes."""
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, content=body, headers=headers or {})
    )
    wires = Wires(clock=SystemClock(), transport=transport)
    url = "http://host.test/v1"
    return OpenAiCompatible(dialect(dialect_name), wires=wires, key="k", base_url=url)


async def listened(provider: OpenAiCompatible) -> Bill:
    bill = Bill(model="")
    async for piece in provider.stream(CHAT, idempotency_key="k"):
        bill = piece.bill or bill
    return bill


Verb = Callable[[OpenAiCompatible], Awaitable[Bill]]


async def chatted(provider: OpenAiCompatible) -> Bill:
    return (await provider.chat(CHAT, idempotency_key="k")).bill


async def drawn(provider: OpenAiCompatible) -> Bill:
    return (await provider.image(IMAGE, idempotency_key="k")).bill


async def embedded(provider: OpenAiCompatible) -> Bill:
    return (await provider.embed(EMBED, idempotency_key="k")).bill


VERBS: tuple[Verb, ...] = (chatted, drawn, embedded, listened)

odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "NaN", "-Infinity", "1e400", "12", "é" * 300]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from([
            "choices", "message", "content", "usage", "prompt_tokens", "completion_tokens", "cost",
            "prompt_tokens_details", "cached_tokens", "cost_in_usd_ticks", "data", "b64_json",
            "embedding", "index", "delta", "finish_reason", "model", "id",
        ]),
        inner,
        max_size=6,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    said=odd,
    content=odd,
    whole=st.none() | odd,
    verb=st.sampled_from(VERBS),
    name=st.sampled_from(("openrouter", "xai")),
)
def test_whatever_an_answer_holds_it_is_an_answer_or_a_fault_and_its_bill_is_possible(
    said: object, content: object, whole: object, verb: Verb, name: str
) -> None:
    """An exception of another class, or a bill below zero, would come up in the money of the night."""
    answer: object = {
        "choices": [{"message": {"content": content}, "delta": {"content": content}, "finish_reason": "stop"}],
        "data": [{"b64_json": content, "url": "", "index": 0, "embedding": content}],
        "usage": said,
        "model": "m",
    } if whole is None else whole  # fmt: skip
    body = msgspec.json.encode(answer)
    if verb is listened:
        body = b"data: " + body + b"\n\ndata: [DONE]\n\n"
    bill, fault = asyncio.run(_ended(verb, host(name, body)))
    if fault is not None:
        assert fault.kind in {FaultKind.INVALID_ANSWER, FaultKind.REFUSED_CONTENT}
    usage, cost = bill.usage, bill.cost if fault is None else fault.cost
    assert cost is None or 0 <= cost <= 10**10
    for count in (usage.input_tokens, usage.output_tokens, usage.cached_tokens):
        assert count is None or 0 <= count <= 10**9


async def _ended(verb: Verb, provider: OpenAiCompatible) -> tuple[Bill, Fault | None]:
    try:
        return await verb(provider), None
    except Fault as fault:
        return Bill(model=""), fault
    finally:
        await provider.aclose()


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=200), verb=st.sampled_from(VERBS))
def test_bytes_without_sense_are_an_invalid_answer(body: bytes, verb: Verb) -> None:
    """A proxy in the way answers in its own words."""
    _, fault = asyncio.run(_ended(verb, host("openrouter", body)))
    assert fault is not None
    assert (fault.kind, fault.effect) == (FaultKind.INVALID_ANSWER, Effect.UNKNOWN)


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"usage":' * 100_000, b"9" * 100_000])
@pytest.mark.parametrize("verb", [chatted, listened])
def test_what_would_overflow_a_reader_is_an_invalid_answer(body: bytes, verb: Verb) -> None:
    """Depth and digits cost the sender nothing."""
    if verb is listened:
        body = b"data: " + body + b"\n\n"
    _, fault = asyncio.run(_ended(verb, host("openrouter", body)))
    assert fault is not None
    assert fault.kind is FaultKind.INVALID_ANSWER


@settings(max_examples=200, deadline=None)
@given(
    said=st.none() | st.text(max_size=40) | st.from_regex(r"[0-9., +-]{1,30}", fullmatch=True)
    | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,6} [0-9:]{1,9} ?[A-Z0-9+-]{0,6}"),
    millis=st.none() | st.text(max_size=20) | st.from_regex(r"[0-9]{1,20}", fullmatch=True),
)  # fmt: skip
def test_whatever_a_header_asks_for_is_a_wait_within_a_week_or_none(
    said: str | None, millis: str | None
) -> None:
    """``retry-after: soon`` must neither end the night nor make it last for ever."""
    wait = retry_after(seconds_or_date=said, millis=millis, now=MORNING)
    assert wait is None or 0 <= wait <= WAIT_MOST


@pytest.mark.anyio
@pytest.mark.parametrize("said", ["soon", "5, 7", "-5", "9" * 40, "٣", ""])
async def test_a_refusal_whose_wait_cannot_be_read_is_still_that_refusal(said: str) -> None:
    """A rate limit that became an invalid answer would be asked again at once."""
    headers = [(b"retry-after", said.encode())]
    transport = httpx2.MockTransport(lambda _: httpx2.Response(429, headers=headers))
    wires = Wires(clock=SystemClock(), transport=transport)
    with pytest.raises(Fault) as caught:
        await wires.exchange(Outgoing(method="GET", url="http://x.test/"), limit=10)
    assert (caught.value.kind, caught.value.retry_after) == (FaultKind.RATE, None)
    await wires.aclose()


RAW = {
    "no status": b"hello\r\n\r\n",
    "length in words": b"HTTP/1.1 200 OK\r\ncontent-length: lots\r\n\r\nok",
    "negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nok",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
    "absurd length": b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\nok",
    "unknown coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, foo\r\n\r\nok",
    "broken chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok",
    "endless header": b"HTTP/1.1 200 OK\r\nx: " + b"a" * 1_000_000 + b"\r\n\r\nok",
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000,
    "zero in a header": b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 2\r\n\r\nok",
    "no such encoding": b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nok",
    "absurd status": b"HTTP/1.1 99999 OK\r\ncontent-length: 2\r\n\r\nok",
    "other protocol": b"HTTP/1.1 101 Switch\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nok",
}


@pytest.mark.anyio
@pytest.mark.parametrize("raw", RAW.values(), ids=RAW.keys())
async def test_what_is_no_http_is_an_invalid_answer_and_not_an_outage(raw: bytes) -> None:
    """Headers of a wrong type come from whoever answers there; the line is in order."""
    caught = await refused(raw)
    assert (caught.kind, caught.effect) == (FaultKind.INVALID_ANSWER, Effect.UNKNOWN)
    assert len(caught.detail) <= 500


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["200 OK", "400 No"])
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_body_that_swells_is_refused_before_it_has_swollen(status: str, times: int) -> None:
    """Packed twice, two hundred bytes are twenty megabytes; nobody asked for anything packed."""
    packed = bytes(20_000_000)
    for _ in range(times):
        packed = gzip.compress(packed)
    coding = ", ".join(["gzip"] * times)
    head = f"HTTP/1.1 {status}\r\ncontent-encoding: {coding}\r\n\r\n".encode()
    tracemalloc.start()
    caught = await refused(head + packed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    expected = FaultKind.TOO_LARGE if status.startswith("200") else FaultKind.BAD_REQUEST
    assert (caught.kind, peak < 8_000_000) == (expected, True)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "raw", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"]
)
async def test_what_breaks_off_is_a_broken_line(raw: bytes) -> None:
    """A restart of the other side is worth another try."""
    assert (await refused(raw)).kind is FaultKind.NETWORK


async def refused(raw: bytes) -> Fault:
    """What comes of an answer in these bytes, on a real socket."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(raw)
            await writer.drain()
        except ConnectionError:
            pass  # had enough of it
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    wires = Wires(clock=SystemClock())
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    with pytest.raises(Fault) as caught:
        await wires.exchange(Outgoing(method="GET", url=url), limit=1_000)
    await wires.aclose()
    server.close()
    return caught.value


@pytest.mark.anyio
@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:8484/x.png",
        "http://localhost/x.png",
        "http://[::1]/x.png",
        "http://169.254.169.254/latest/meta-data",
        "http://192.168.0.1/x.png",
        "http://10.0.0.7/x.png",
    ],
)
async def test_a_provider_cannot_send_us_to_our_own_network_for_a_picture(address: str) -> None:
    """What listens there trusts whoever is inside."""
    asked = list[str]()

    def serve(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.host)
        return httpx2.Response(200, json={"data": [{"url": address}]})

    wires = Wires(clock=SystemClock(), transport=httpx2.MockTransport(serve))
    provider = OpenAiCompatible(
        dialect("openrouter"), wires=wires, key="k", base_url="http://host.test/v1"
    )
    with pytest.raises(Fault, match="our own network") as caught:
        await provider.image(IMAGE, idempotency_key="k")
    assert (caught.value.kind, asked) == (FaultKind.INVALID_ANSWER, ["host.test"])
    await provider.aclose()
