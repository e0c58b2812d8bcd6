"""The adapter before odd hosts: what it sends in each dialect, and what it refuses to believe."""

import base64
from collections.abc import Callable

import httpx2
import msgspec
import pytest

from tildawn.clock import SystemClock
from tildawn.providers.dialect import dialect
from tildawn.providers.fault import Fault, FaultKind
from tildawn.providers.openai_compatible import OpenAiCompatible
from tildawn.providers.port import ChatRequest, EmbedRequest, ImageRequest, Message, Usage
from tildawn.providers.sim.drawing import png
from tildawn.providers.wire import Wires


pytestmark = pytest.mark.anyio

CHAT = ChatRequest(model="m", messages=(Message("user", "hello"),), max_tokens=5, seed=1)
SCHEMA = msgspec.structs.replace(CHAT, schema='{"type": "object"}')
IMAGE = ImageRequest(model="m", prompt="mug", size="8x8", quality="low", seed=1)
EMBED = EmbedRequest(model="m", texts=("a", "b"))
DRAWN = base64.b64encode(png("x", 8, 8)).decode()

Body = dict[str, object]
Serve = Callable[[httpx2.Request], httpx2.Response]


def host(name: str, serve: Serve) -> OpenAiCompatible:
    """A provider in a dialect, before a host that answers as the test says."""
    wires = Wires(clock=SystemClock(), transport=httpx2.MockTransport(serve))
    return OpenAiCompatible(dialect(name), wires=wires, key="secret-key")


def says(body: object) -> Serve:
    return lambda _: httpx2.Response(200, json=body)


def chatted(message: Body, finish: str = "stop", **more: object) -> Body:
    return {"choices": [{"message": message, "finish_reason": finish}], **more}


async def sent(name: str, request: ChatRequest | ImageRequest) -> tuple[str, Body]:
    """Where a request goes in a dialect, and with which body."""
    seen = list[httpx2.Request]()

    def serve(asked: httpx2.Request) -> httpx2.Response:
        seen.append(asked)
        data = [{"b64_json": DRAWN}]
        return httpx2.Response(200, json={**chatted({"content": "{}"}), "data": data})

    provider = host(name, serve)
    if isinstance(request, ChatRequest):
        await provider.chat(request, idempotency_key="k")
    else:
        await provider.image(request, idempotency_key="k")
    assert seen[0].headers["idempotency-key"] == "k"
    assert seen[0].headers["authorization"] == "Bearer secret-key"
    return str(seen[0].url), msgspec.json.decode(seen[0].content, type=dict[str, object])


async def test_each_dialect_is_spoken_as_its_host_wants_it() -> None:
    """One wrong field is a 400 in the middle of the night."""
    url, body = await sent("openai", SCHEMA)
    assert url == "https://api.openai.com/v1/chat/completions"
    assert body["max_completion_tokens"] == 5
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": {"type": "object"}},
    }
    url, body = await sent("openrouter", CHAT)
    assert (url, body["usage"]) == (
        "https://openrouter.ai/api/v1/chat/completions",
        {"include": True},
    )
    assert (body["max_tokens"], body["seed"]) == (5, 1)
    _, body = await sent("plain", SCHEMA)
    assert "response_format" not in body
    assert '{"type": "object"}' in str(body["messages"])


async def test_pictures_are_asked_for_in_each_hosts_words() -> None:
    """gpt-image refuses response_format, xAI refuses a size, OpenRouter has its own path."""
    _, body = await sent("openai", IMAGE)
    assert body == {"model": "m", "prompt": "mug", "n": 1, "size": "8x8", "quality": "low"}
    url, body = await sent("xai", IMAGE)
    assert url == "https://api.x.ai/v1/images/generations"
    assert (body.get("size"), body["response_format"]) == (None, "b64_json")
    url, _ = await sent("openrouter", IMAGE)
    assert url == "https://openrouter.ai/api/v1/images"


@pytest.mark.parametrize(
    ("name", "usage", "cost"),
    [
        ("xai", {"prompt_tokens": 3, "cost_in_usd_ticks": 37_756_001}, 3_776),
        ("openrouter", {"prompt_tokens": 3, "cost": 0.0000123}, 13),
        ("openai", {"prompt_tokens": 3, "cost": 1.0}, None),
        ("xai", {"prompt_tokens": 3}, None),
    ],
)
async def test_reported_money_is_read_in_the_hosts_unit_and_rounded_up(
    name: str, usage: Body, cost: int | None
) -> None:
    """A wrong unit is a budget wrong by a factor of millions."""
    answer = chatted({"content": "hi"}, usage=usage)
    bill = (await host(name, says(answer)).chat(CHAT, idempotency_key="k")).bill
    assert bill.cost == cost
    assert bill.usage == Usage(input_tokens=3)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"choices": []}, FaultKind.INVALID_ANSWER),
        ({"nothing": 1}, FaultKind.INVALID_ANSWER),
        (chatted({"content": None}), FaultKind.INVALID_ANSWER),
        (chatted({"content": '{"title": "cut'}), FaultKind.INVALID_ANSWER),
        (chatted({"content": None, "refusal": "I will not"}), FaultKind.REFUSED_CONTENT),
        (chatted({"content": "{}"}, "content_filter"), FaultKind.REFUSED_CONTENT),
    ],
)
async def test_an_unusable_answer_is_a_fault_that_keeps_its_cost(answer: Body, kind) -> None:
    """What was paid for must be settled even if it is thrown away."""
    answer = {**answer, "usage": {"cost": 0.25}}
    with pytest.raises(Fault) as caught:
        await host("openrouter", says(answer)).chat(SCHEMA, idempotency_key="k")
    assert (caught.value.kind, caught.value.sent) == (kind, True)
    assert caught.value.cost == (None if "nothing" in answer else 250_000)


async def test_json_in_a_fence_is_json() -> None:
    """Small local models wrap their answers in Markdown whatever they are told."""
    answer = chatted({"content": '```json\n{"a": 1.50}\n```'})
    got = await host("ollama", says(answer)).chat(SCHEMA, idempotency_key="k")
    assert got.json == '{"a": 1.50}'


@pytest.mark.parametrize(
    "data",
    [
        [],
        [{}],
        [{"b64_json": "no base64!"}],
        [{"b64_json": base64.b64encode(b"<html>").decode()}],
        [{"b64_json": DRAWN[:-40]}],
    ],
    ids=["none", "empty", "no base64", "a page", "cut off"],
)
async def test_only_decodable_bytes_are_a_picture(data: list[Body]) -> None:
    """Everything else would be shown as a black frame."""
    with pytest.raises(Fault) as caught:
        await host("openai", says({"data": data})).image(IMAGE, idempotency_key="k")
    assert caught.value.kind is FaultKind.INVALID_ANSWER


@pytest.mark.parametrize(
    "rows",
    [
        [{"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 2, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}],
        [{"index": 0, "embedding": []}, {"index": 1, "embedding": []}],
    ],
    ids=["one missing", "wrong index", "two lengths", "no numbers"],
)
async def test_vectors_that_do_not_fit_the_texts_are_refused(rows: list[Body]) -> None:
    """A vector given to the wrong text spoils a search without a trace."""
    with pytest.raises(Fault) as caught:
        await host("openai", says({"data": rows})).embed(EMBED, idempotency_key="k")
    assert caught.value.kind is FaultKind.INVALID_ANSWER


async def test_vectors_are_put_in_the_order_of_the_texts() -> None:
    """The index says whose a vector is, not its place."""
    rows = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]
    got = await host("openai", says({"data": rows})).embed(EMBED, idempotency_key="k")
    assert got.vectors == ((1.0,), (2.0,))


@pytest.mark.parametrize("ending", ["", "data: [DONE]\n\n"])
async def test_a_stream_that_ends_without_a_reason_is_no_whole_answer(ending: str) -> None:
    """A proxy that closes politely in the middle looks like an end."""
    said = 'data: {"choices": [{"delta": {"content": "half"}}]}\n\n' + ending
    provider = host("openai", lambda _: httpx2.Response(200, text=said))
    heard = list[str]()

    async def listen() -> None:
        async for piece in provider.stream(CHAT, idempotency_key="k"):
            heard.append(piece.text)

    with pytest.raises(Fault, match="ended before the answer did"):
        await listen()
    assert heard == ["half"]


async def test_the_key_is_not_sent_to_where_the_picture_is() -> None:
    """Pictures often lie on a storage service, which must not learn the key."""
    seen = list[httpx2.Request]()

    def serve(asked: httpx2.Request) -> httpx2.Response:
        seen.append(asked)
        if asked.method == "GET":
            return httpx2.Response(200, content=png("x", 8, 8))
        return httpx2.Response(200, json={"data": [{"url": "https://storage.test/1.png"}]})

    await host("xai", serve).image(IMAGE, idempotency_key="k")
    assert seen[1].url.host == "storage.test"
    assert "authorization" not in seen[1].headers
