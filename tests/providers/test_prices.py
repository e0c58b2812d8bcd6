"""Money from tokens and pictures: bounds that hold, and honest ignorance."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.errors import BadSetting
from tildawn.providers.dialect import DIALECTS
from tildawn.providers.port import Bill, ChatRequest, EmbedRequest, ImageRequest, Message, Usage
from tildawn.providers.prices import Cost, Prices
from tildawn.units import MicroUsd


TABLE = Prices.parse(
    """
    version = "v1"
    [[model]]
    provider = "p"
    name = "chat"
    input = "1.00"
    cached = "0.10"
    output = "4.00"
    long_from = 1000
    long_input = "2.00"
    long_output = "8.00"
    [[model]]
    provider = "p"
    name = "chat-*"
    input = "0.000001"
    output = "0"
    [[model]]
    provider = "p"
    name = "image"
    image = { "1024x1024" = "0.04" }
    """
)


def chat(text: str, **more: object) -> ChatRequest:
    asked = ChatRequest(model="chat", messages=(Message("user", text),), max_tokens=100)
    return msgspec.structs.replace(asked, **more)


def used(input_tokens: int | None, output_tokens: int = 0, cached: int = 0) -> Bill:
    usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens, cached_tokens=cached)
    return Bill(model="chat", usage=usage)


def test_the_worst_case_counts_every_byte_and_all_tokens_that_may_come() -> None:
    """10 bytes and 16 for the message at 1 dollar, 100 tokens at 4, per million."""
    assert TABLE.worst_case("p", chat("x" * 10)) == Cost(MicroUsd(26 + 400), "user@v1")
    schema = TABLE.worst_case("p", chat("x" * 10, schema="{}"))
    assert schema == Cost(MicroUsd(28 + 400), "user@v1")


@given(st.text(max_size=3_000), st.integers(0, 500), st.integers(0, 3_016), st.integers(0, 3_016))
def test_no_bill_within_the_bounds_exceeds_the_worst_case(
    text: str, output: int, fresh: int, cached: int
) -> None:
    """Reservations rest on it: no tokenizer makes more tokens than bytes."""
    tokens = min(fresh, len(text.encode()))
    worst = TABLE.worst_case("p", chat(text, max_tokens=output))
    actual = TABLE.actual("p", used(tokens, output, cached))
    assert worst is not None
    assert actual is not None
    assert actual.amount <= worst.amount


def test_long_requests_and_cached_tokens_have_their_own_price() -> None:
    """Providers double the price of long prompts and nearly give away repeated ones."""
    assert TABLE.actual("p", used(999, 10)) == Cost(MicroUsd(999 + 40), "user@v1")
    assert TABLE.actual("p", used(1_000, 10)) == Cost(MicroUsd(2_000 + 80), "user@v1")
    assert TABLE.actual("p", used(900, 0, cached=500)) == Cost(MicroUsd(400 + 50), "user@v1")


def test_fractions_of_a_millionth_are_rounded_up() -> None:
    """Rounding down a thousand times is money that was spent and never booked."""
    bill = Bill(model="chat-tiny", usage=Usage(input_tokens=1, output_tokens=0))
    assert TABLE.actual("p", bill) == Cost(MicroUsd(1), "user@v1")


def test_what_is_not_known_is_none_and_never_zero() -> None:
    """An unattended night refuses an unknown price; zero would let it through."""
    unknown = ImageRequest(model="image", prompt="mug", size="512x512")
    assert TABLE.worst_case("p", unknown) is None
    assert TABLE.worst_case("p", chat("x", max_tokens=None)) is None
    assert TABLE.worst_case("p", chat("x", model="nobody")) is None
    assert TABLE.worst_case("q", chat("x")) is None
    assert TABLE.worst_case("p", EmbedRequest(model="image", texts=("x",))) is None
    assert TABLE.actual("p", used(None)) is None
    assert TABLE.actual("p", used(1), image_size="1024x1024") is None


def test_the_providers_word_wins_then_the_owners_table_then_ours() -> None:
    """The nearer to the invoice, the better; the source is recorded with the amount."""
    ours = Prices.parse(
        'version = "v0"\nmodel = [{ provider = "p", name = "*", input = "9", output = "9" }]',
        origin="table",
    )
    both = TABLE.over(ours)
    reported = msgspec.structs.replace(used(1_000), cost=MicroUsd(7))
    assert both.actual("p", reported) == Cost(MicroUsd(7), "reported")
    assert both.actual("p", used(1)) == Cost(MicroUsd(1), "user@v1")
    other = msgspec.structs.replace(used(1), model="other")
    assert both.actual("p", other) == Cost(MicroUsd(9), "table@v0")


@pytest.mark.parametrize(
    "text",
    [
        "version = 1.5.1",
        "model = []",
        'version = "v"\n[[model]]\nprovider = "p"\nname = "m"\ninptu = "1"',
        'version = "v"\n[[model]]\nprovider = "p"\nname = "m"\ninput = "-1"',
        'version = "v"\n[[model]]\nprovider = "p"\nname = "m"\ninput = "cheap"',
    ],
)
def test_a_wrong_table_is_refused(text: str) -> None:
    """A price with a typing error must not become an unknown price in the middle of a night."""
    with pytest.raises(BadSetting):
        Prices.parse(text)


def test_the_shipped_table_can_be_read_and_says_where_each_line_is_from() -> None:
    """A price without a source cannot be checked by anybody."""
    ((source, lines),) = Prices.shipped().tables
    assert source.startswith("table@20")
    assert all(line.checked is not None and line.source for line in lines)
    assert {line.provider for line in lines} <= set(DIALECTS)
    assert Prices.shipped().worst_case("ollama", chat("x", max_tokens=None)) is not None
