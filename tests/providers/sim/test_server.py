"""The simulator as a server: its meter over HTTP, and what it does with odd requests."""

import asyncio
import re

import httpx2
import msgspec
import pytest

from tildawn.clock import SystemClock
from tildawn.errors import BadSetting
from tildawn.providers.sim.meter import Meter
from tildawn.providers.sim.model import SimModel
from tildawn.providers.sim.server import SimServer, serve


pytestmark = pytest.mark.anyio

ASKED = {"model": "sim-chat", "messages": [{"role": "user", "content": "a mug"}]}


async def test_it_serves_until_cancelled_and_meters_over_http() -> None:
    """The demo reads the other side's account over HTTP, as it would read an invoice."""
    ready = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve(clock=SystemClock(), model=SimModel(), on_ready=ready.set_result)
    )
    url = await ready
    async with httpx2.AsyncClient(base_url=url) as client:
        headers = {"authorization": "Bearer sim", "idempotency-key": "k"}
        for _ in range(2):
            await client.post("/v1/chat/completions", json=ASKED, headers=headers)
        meter = msgspec.json.decode((await client.get("/sim/meter")).content, type=Meter)
        assert (meter.requests, meter.answers, meter.duplicates) == (2, 1, 1)
        assert meter.by_path == {"/v1/chat/completions": 2}
        assert meter.billed_micro_usd > 0
        await client.post("/sim/reset")
        again = msgspec.json.decode((await client.get("/sim/meter")).content, type=Meter)
        assert again == Meter()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "example.org"])
def test_it_listens_on_this_machine_only(host: str) -> None:
    """Play money and a known key have no business on a network."""
    with pytest.raises(BadSetting):
        SimServer(SimModel(), clock=SystemClock(), host=host)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", b"no json", 400),
        ("/v1/chat/completions", b'{"model": "m"}', 400),
        ("/v1/images/generations", b'{"prompt": "p", "size": "9999x1"}', 400),
        ("/v1/images/generations", b'{"prompt": "p", "n": 2}', 400),
        ("/v1/embeddings", b'{"model": "m", "input": []}', 400),
        ("/v1/nothing", b"{}", 404),
        ("/sim/meter", b"", 405),
    ],
)
async def test_what_cannot_be_served_is_refused_unbilled(
    path: str, body: bytes, status: int
) -> None:
    """A wrong request must look as it does at a real provider."""
    async with SimServer(SimModel(), clock=SystemClock()) as server, httpx2.AsyncClient() as client:
        headers = {"authorization": "Bearer sim"}
        answer = await client.post(server.url + path, content=body, headers=headers)
        assert answer.status_code == status
        assert server.model.meter.answers == 0


async def test_chunked_bodies_pipelined_requests_and_half_a_request_are_served_or_dropped() -> None:
    """Other clients than ours will be pointed at it."""
    async with SimServer(SimModel(), clock=SystemClock()) as server:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        ask = b"GET /sim/meter HTTP/1.1\r\nhost: sim\r\n\r\n"
        chunked = b"POST /v1/x HTTP/1.1\r\nauthorization: Bearer sim\r\ntransfer-encoding: chunked\r\n\r\n"
        writer.write(ask + chunked + b"2\r\n{}\r\n0\r\n\r\n" + ask + b"GET /half")
        writer.write_eof()
        said = (await reader.read()).decode()
        assert re.findall(r"HTTP/1.1 (\d+)", said) == ["200", "404", "200"]
        writer.close()
        await writer.wait_closed()
