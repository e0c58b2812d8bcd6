"""Calls to web servers, before the library's own mock of the other side."""

from email import message_from_bytes
from email.message import Message

import httpx2
import pytest

from tildawn.clock import SystemClock
from tildawn.errors import Effect
from tildawn.providers.fault import Fault, FaultKind
from tildawn.providers.http import FilePart, HttpRequest, send
from tildawn.providers.wire import Wires


pytestmark = pytest.mark.anyio

URL = "http://shop.test/products"


class Shop:
    """Remembers what it was sent and answers as told."""

    def __init__(self, *answers: httpx2.Response) -> None:
        self.seen = list[httpx2.Request]()
        self._answers = list(answers)
        self.wires = Wires(clock=SystemClock(), transport=httpx2.MockTransport(self._serve))

    def _serve(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append(request)
        return self._answers.pop(0) if self._answers else httpx2.Response(200, json={"ok": True})


def parts(request: httpx2.Request) -> dict[str, Message]:
    """The parts of a multipart body, as somebody else's parser reads them."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    whole = message_from_bytes(head + request.content)
    return {
        str(part.get_param("name", header="content-disposition")): part for part in whole.walk()
    }


async def test_json_goes_out_with_the_key_and_json_comes_back() -> None:
    """The key is what makes a second try of the same request harmless."""
    shop = Shop()
    request = HttpRequest(method="POST", url=URL, json='{"sku": "M-1"}')
    answer = await send(request, wires=shop.wires, idempotency_key="run/1")
    seen = shop.seen[0]
    assert seen.headers["idempotency-key"] == "run/1"
    assert seen.headers["content-type"] == "application/json"
    assert seen.content == b'{"sku": "M-1"}'
    assert (answer.status, answer.json(), answer.text()) == (200, '{"ok":true}', '{"ok":true}')
    assert answer.header("Content-Type") == "application/json"


async def test_files_go_out_beside_the_json_and_twice_the_same_is_the_same_bytes() -> None:
    """A request is recognised by its digest, so nothing in its body may be random."""
    shop = Shop()
    photo = FilePart(
        name="photo", filename='a "red"\nmug.png', data=b"\x89PNG\r\n--", media_type="image/png"
    )
    request = HttpRequest(
        method="POST", url=URL, json='{"sku": "M-1"}', fields=(("note", "ä"),), files=(photo,)
    )
    for _ in range(2):
        await send(request, wires=shop.wires, idempotency_key="k")
    one, two = shop.seen
    assert (one.content, one.headers["content-type"]) == (two.content, two.headers["content-type"])
    found = parts(one)
    assert found["json"].get_content_type() == "application/json"
    assert found["json"].get_payload(decode=True) == b'{"sku": "M-1"}'
    assert found["note"].get_payload(decode=True) == "ä".encode()
    assert found["photo"].get_payload(decode=True) == photo.data
    assert found["photo"].get_filename() == "a %22red%22%0Amug.png"


async def test_fields_alone_make_a_form() -> None:
    """Old shops take forms only."""
    shop = Shop()
    request = HttpRequest(method="POST", url=URL, fields=(("a", "1 2"), ("b", "&")))
    await send(request, wires=shop.wires, idempotency_key="k")
    assert shop.seen[0].content == b"a=1+2&b=%26"


@pytest.mark.parametrize(
    ("status", "kind", "effect"),
    [
        (301, FaultKind.BAD_REQUEST, Effect.UNKNOWN),
        (400, FaultKind.BAD_REQUEST, Effect.NONE),
        (401, FaultKind.AUTH, Effect.NONE),
        (402, FaultKind.QUOTA, Effect.NONE),
        (403, FaultKind.AUTH, Effect.NONE),
        (404, FaultKind.NOT_FOUND, Effect.NONE),
        (408, FaultKind.TIMEOUT, Effect.UNKNOWN),
        (409, FaultKind.BAD_REQUEST, Effect.UNKNOWN),
        (422, FaultKind.BAD_REQUEST, Effect.NONE),
        (429, FaultKind.RATE, Effect.NONE),
        (500, FaultKind.SERVER, Effect.UNKNOWN),
        (504, FaultKind.TIMEOUT, Effect.UNKNOWN),
        (799, FaultKind.UNKNOWN, Effect.UNKNOWN),
    ],
)
async def test_each_status_has_its_kind_and_its_effect(
    status: int, kind: FaultKind, effect: Effect
) -> None:
    """The rules about trying again, and about doubt, are written in these words."""
    shop = Shop(httpx2.Response(status, text="no", headers={"location": "/elsewhere"}))
    with pytest.raises(Fault) as caught:
        await send(HttpRequest(method="GET", url=URL), wires=shop.wires, idempotency_key="k")
    seen = caught.value
    assert (seen.kind, seen.status, seen.effect, seen.sent) == (kind, status, effect, True)
    assert len(shop.seen) == 1  # no redirect followed, nothing tried again


async def test_a_check_may_ask_for_any_status() -> None:
    """Evidence that something is gone expects a 404."""
    shop = Shop(httpx2.Response(404, text="gone"))
    request = HttpRequest(method="GET", url=URL, any_status=True)
    answer = await send(request, wires=shop.wires, idempotency_key="k")
    assert (answer.status, answer.text(), answer.json()) == (404, "gone", None)


async def test_a_long_answer_is_refused_and_a_long_refusal_is_cut_and_cleaned() -> None:
    """Neither memory nor reports may be filled by the other side, nor secrets leak through it."""
    shop = Shop(
        httpx2.Response(200, text="x" * 2_000),
        httpx2.Response(400, text="you sent token-77 and sk-abcdefghijklmnop " + "x" * 5_000),
    )
    request = HttpRequest(method="GET", url=URL, limit=1_000, secrets=("token-77",))
    with pytest.raises(Fault, match="longer than 1000 bytes"):
        await send(request, wires=shop.wires, idempotency_key="k")
    with pytest.raises(Fault) as caught:
        await send(request, wires=shop.wires, idempotency_key="k")
    assert "you sent [secret] and [secret]" in caught.value.detail
    assert len(caught.value.detail) == 500


async def test_no_cookie_travels_from_one_call_to_the_next() -> None:
    """A session begun in one product's run must not colour another's."""
    shop = Shop(httpx2.Response(200, headers={"set-cookie": "session=1; Path=/"}))
    for _ in range(2):
        await send(HttpRequest(method="GET", url=URL), wires=shop.wires, idempotency_key="k")
    assert "cookie" not in shop.seen[1].headers


async def test_json_with_fields_needs_files() -> None:
    """Two bodies at once are a mistake in the plan."""
    request = HttpRequest(method="POST", url=URL, json="{}", fields=(("a", "b"),))
    with pytest.raises(Fault) as caught:
        await send(request, wires=Shop().wires, idempotency_key="k")
    assert (caught.value.kind, caught.value.sent) == (FaultKind.BAD_REQUEST, False)
