"""The simulator before the real `openai` client: the same wire format, judged by somebody else."""

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2
import msgspec
import openai
import pytest
from openai import AsyncOpenAI

from tildawn.picture import read_picture


pytestmark = pytest.mark.anyio


@pytest.fixture
def client(stage):
    """Opens the real client before the simulator, on both mounts."""

    @asynccontextmanager
    async def opened(scenario: str = "", *, key: str = "sim") -> AsyncGenerator[AsyncOpenAI]:
        async with (
            stage(scenario) as s,
            httpx2.AsyncClient(transport=s.transport) as http,
            AsyncOpenAI(
                api_key=key, base_url=s.url + "/v1", http_client=http, max_retries=0
            ) as made,
        ):
            yield made

    return opened


async def test_the_real_client_chats_and_parses_by_schema(client) -> None:
    """If the most used client understands us, the adapter is tested against the real format."""
    schema = {"type": "object", "properties": {"title": {"type": "string"}}}
    async with client() as ai:
        answer = await ai.chat.completions.create(
            model="sim-chat",
            messages=[{"role": "user", "content": "a red heart mug"}],
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "listing", "strict": True, "schema": schema},
            },
        )
        content = answer.choices[0].message.content
        assert content is not None
        assert list(msgspec.json.decode(content)) == ["title"]
        assert answer.usage is not None
        assert answer.usage.total_tokens > 0


async def test_the_real_client_hears_a_stream_with_its_usage(client) -> None:
    """Streams are where servers differ most from what clients expect."""
    async with client() as ai:
        stream = await ai.chat.completions.create(
            model="sim-chat",
            messages=[{"role": "user", "content": "a red heart mug"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text.endswith(".")
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
        assert chunks[-1].usage is not None


async def test_the_real_client_gets_pictures_as_bytes_and_as_addresses(client) -> None:
    """Both deliveries exist in the wild."""
    async with client() as ai:
        whole = await ai.images.generate(
            model="sim-image", prompt="mug", size="1024x1024", response_format="b64_json"
        )
        assert whole.data is not None
        picture = read_picture(base64.b64decode(whole.data[0].b64_json or ""))
        assert (picture.width, picture.height) == (1024, 1024)
        placed = await ai.images.generate(model="sim-image", prompt="mug", response_format="url")
        assert placed.data is not None
        assert (placed.data[0].url or "").startswith("http")


async def test_the_real_client_gets_vectors_and_models(client) -> None:
    """The client asks for vectors in base64 unless told otherwise."""
    async with client() as ai:
        vectors = await ai.embeddings.create(model="sim-embed", input=["red mug", "blue cup"])
        plain = await ai.embeddings.create(
            model="sim-embed", input="red mug", encoding_format="float"
        )
        assert [row.index for row in vectors.data] == [0, 1]
        assert vectors.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
        assert "sim-image" in [model.id async for model in ai.models.list()]


async def test_the_real_client_sees_the_errors_as_its_own(client) -> None:
    """Error bodies have a shape too."""
    async with client(key="wrong") as ai:
        with pytest.raises(openai.AuthenticationError):
            await ai.models.list()
    async with client("[[rule]]\nfault = { kind = 'quota' }") as ai:
        with pytest.raises(openai.RateLimitError) as caught:
            await ai.models.list()
        assert caught.value.code == "insufficient_quota"
