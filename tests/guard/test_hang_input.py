"""Answers that no client should ever get, through the whole door and over real sockets."""

import asyncio
import datetime as dt
import ssl
import tracemalloc
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tildawn.guard.request import Answer, Attempt, Ended
from tildawn.guard.retry import RetryPolicy
from tildawn.providers.dialect import dialect
from tildawn.providers.http import ANSWER_BYTES, HttpRequest, send
from tildawn.providers.openai_compatible import OpenAiCompatible
from tildawn.providers.port import ChatRequest, Message, Wire
from tildawn.providers.wire import Wires


Talk = Callable[[asyncio.StreamWriter], Awaitable[None]]

TWO_GB = 2 * 1024**3


class Host:
    """Answers every request in one way; counts the requests and the bytes that it got rid of."""

    def __init__(self, talk: Talk) -> None:
        self.asked = 0
        self._talk = talk

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk on one connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            await self._talk(writer)
        writer.close()


@asynccontextmanager
async def listening(
    talk: Talk, *, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[tuple[Host, str]]:
    """The host on a port of this machine."""
    host = Host(talk)
    server = await asyncio.start_server(host, "127.0.0.1", 0, ssl=tls)
    scheme = "http" if tls is None else "https"
    yield host, f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    server.close()


class Asking:
    """The outside of a call: one request."""

    def __init__(self, wires: Wires, url: str) -> None:
        self._wires = wires
        self._url = url

    async def perform(self, attempt: Attempt) -> Answer:
        """Ask."""
        wire = attempt.wire = Wire()
        request = HttpRequest(method="POST", url=self._url, json="{}")
        got = await send(request, wires=self._wires, idempotency_key=attempt.key, wire=wire)
        return Answer(value=got.body)


async def made(s: Any, outside: Any, **fields: Any) -> None:
    """Make one call that may be repeated as often as the rules allow, to its end."""
    request = s.house.request(outside, repeat="safe", reserve=1_000, budgets=("night",), **fields)
    s.begun.append(asyncio.create_task(s.door.call(request, s.ear)))
    # Nothing here takes time but the other side, and it takes none: a wait would be a retry.
    assert isinstance(await s.begun[0], Ended)


def end_of(house: Any) -> tuple[str, str, int]:
    """The fault, the effect and the money of a call that was tried once."""
    dispatched, settled = [fact for fact in house.facts() if fact.kind.startswith("Call")]
    assert (dispatched.kind, settled.kind) == ("CallDispatched", "CallSettled")
    assert settled.data.final
    budget = house.budget("night")
    assert budget.reserved == 0
    return settled.data.fault, settled.data.effect, budget.spent + getattr(budget, "held", 0)


def head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


async def promised(writer: asyncio.StreamWriter) -> None:
    writer.write(head(f"content-length: {TWO_GB}"))
    await poured(writer)


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(head())
    await poured(writer)


async def poured(writer: asyncio.StreamWriter) -> None:
    piece = b"x" * 65_536
    for _ in range(TWO_GB // len(piece)):
        writer.write(piece)
        await writer.drain()


@pytest.mark.parametrize(("talk", "most"), [(promised, 2_000_000), (endless, 2 * ANSWER_BYTES)])
def test_two_gigabytes_are_refused_before_they_are_here_and_not_asked_for_again(
    play: Any, house: Any, talk: Talk, most: int
) -> None:
    """One answer of a broken host must cost neither our memory nor a second two gigabytes."""

    async def scene(s: Any) -> None:
        wires = Wires(clock=s.clock)
        async with listening(talk) as (host, url):
            tracemalloc.start()
            await made(s, Asking(wires, url))
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert host.asked == 1
            assert peak < most  # what is announced is refused before it is read
            await wires.aclose()

    play(scene)
    assert end_of(house) == ("too_large", "unknown", 1_000)


def test_an_endless_redirect_is_not_followed_once(play: Any, house: Any) -> None:
    """Following is for browsers; here each request would need leave and money of its own."""

    async def scene(s: Any) -> None:
        async def back(writer: asyncio.StreamWriter) -> None:
            writer.write(head("location: /x", "content-length: 0", status="307 Again"))

        wires = Wires(clock=s.clock)
        async with listening(back) as (host, url):
            await made(s, Asking(wires, url))
            assert host.asked == 1
            await wires.aclose()

    play(scene)
    assert end_of(house) == ("bad_request", "unknown", 1_000)


def test_a_redirect_to_another_host_reaches_nobody_there(play: Any, house: Any) -> None:
    """The key in our headers is for the host that it was given for."""

    async def scene(s: Any) -> None:
        async def nothing(_: asyncio.StreamWriter) -> None:
            raise AssertionError

        wires = Wires(clock=s.clock)
        async with listening(nothing) as (thief, elsewhere):

            async def away(writer: asyncio.StreamWriter) -> None:
                writer.write(
                    head(f"location: {elsewhere}", "content-length: 0", status="302 Found")
                )

            async with listening(away) as (host, url):
                await made(s, Asking(wires, url))
                assert (host.asked, thief.asked) == (1, 0)
            await wires.aclose()

    play(scene)
    assert end_of(house) == ("bad_request", "unknown", 1_000)


def certificate(folder: Path) -> ssl.SSLContext:
    """A host that calls itself 127.0.0.1 and has nobody to vouch for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    begins = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins.replace(year=2100))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "host.pem"
    file.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def test_a_certificate_that_nobody_vouches_for_is_refused_once_and_nothing_is_sent(
    play: Any, house: Any, tmp_path: Path
) -> None:
    """Asking again brings the same certificate; a person has to look who is there."""

    async def scene(s: Any) -> None:
        async def nothing(_: asyncio.StreamWriter) -> None:
            raise AssertionError

        wires = Wires(clock=s.clock)
        async with listening(nothing, tls=certificate(tmp_path)) as (host, url):
            await made(s, Asking(wires, url))
            assert host.asked == 0
            await wires.aclose()

    play(scene)
    assert end_of(house) == ("tls", "none", 0)


def test_a_line_that_breaks_during_the_greeting_is_a_broken_line(play: Any, house: Any) -> None:
    """A restart of the other side must not be taken for a wrong certificate, which nobody retries."""

    async def scene(s: Any) -> None:
        async def gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.close()

        server = await asyncio.start_server(gone, "127.0.0.1", 0)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        wires = Wires(clock=s.clock)
        await made(s, Asking(wires, url), retry=RetryPolicy(rules={}))
        server.close()
        await wires.aclose()

    play(scene)
    assert end_of(house) == ("network", "none", 0)


@pytest.mark.parametrize(
    "usage",
    [
        '{"prompt_tokens": 1000000000000, "completion_tokens": 1}',
        '{"prompt_tokens": 1, "completion_tokens": -7}',
        '{"prompt_tokens": 1, "cost": -0.5}',
        '{"prompt_tokens": 1, "cost": 1e999999999}',
        '{"prompt_tokens": 1, "cost": "NaN"}',
        '{"prompt_tokens": "many"}',
        "[1, 2]",
    ],
)
def test_a_bill_that_cannot_be_is_no_answer_and_its_amount_is_held(
    play: Any, house: Any, usage: str
) -> None:
    """A negative count would fill the till, and an absurd one stop the night."""

    async def scene(s: Any) -> None:
        async def billed(writer: asyncio.StreamWriter) -> None:
            choice = '{"message": {"content": "hi"}, "finish_reason": "stop"}'
            body = f'{{"choices": [{choice}], "usage": {usage}}}'.encode()
            writer.write(head(f"content-length: {len(body)}") + body)

        wires = Wires(clock=s.clock)
        async with listening(billed) as (host, url):
            provider = OpenAiCompatible(
                dialect("openrouter"), wires=wires, key="k", base_url=url.removesuffix("/x")
            )

            class Chatting:
                @staticmethod
                async def perform(attempt: Attempt) -> Answer:
                    wire = attempt.wire = Wire()
                    request = ChatRequest(model="m", messages=(Message("user", "hello"),))
                    await provider.chat(request, idempotency_key=attempt.key, wire=wire)
                    return Answer(value=b'"hi"')

            request = s.house.request(Chatting(), repeat="safe", reserve=1_000, budgets=("night",))
            s.begun.append(asyncio.create_task(s.door.call(request, s.ear)))
            assert isinstance(await s.begun[0], Ended)
            assert host.asked == 2  # an invalid answer is asked for once more
            await wires.aclose()

    play(scene)
    ends = [fact.data for fact in house.facts() if fact.kind == "CallSettled"]
    assert {(end.fault, end.effect) for end in ends} == {("invalid_answer", "unknown")}
    budget = house.budget("night")
    assert budget.reserved == 0
    assert budget.spent + getattr(budget, "held", 0) == 2_000
