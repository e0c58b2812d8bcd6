"""Money from tokens and pictures: bounds that hold, and honest ignorance."""

import math
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.errors import BadSetting
from tildawn.providers.dialect import DIALECTS
from tildawn.providers.market import installed
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


@pytest.mark.parametrize("cost", [-1, 10**12 + 1])
def test_a_cost_that_cannot_be_is_no_cost(cost: int) -> None:
    """A provider that pays us, or wants a million for an answer, has said nothing."""
    told = msgspec.structs.replace(used(1_000), cost=MicroUsd(cost))
    assert TABLE.actual("p", told) == TABLE.actual("p", used(1_000))
    assert TABLE.actual("q", told) is None


class Market:
    """Somebody else's prices: a dollar a million tokens, and a model that pays us."""

    source = "market@1"

    def dollars(
        self, provider: str, model: str, *, fresh: int, cached: int, output: int
    ) -> Decimal | None:
        """See `tildawn.providers.market.Market`."""
        if provider != "p" or model == "nobody":
            return None
        sign = -1 if model == "paying" else 1
        return Decimal(sign * (fresh + cached + output)) / 1_000_000


def test_the_market_is_asked_last_and_never_for_pictures(tmp_path: Path) -> None:
    """What the owner or we have checked is nearer to the invoice than anybody's list."""
    (tmp_path / "prices.toml").write_text(
        'version = "mine"\n[[model]]\nprovider = "p"\nname = "chat"\ninput = "3"\noutput = "3"\n'
    )
    prices = Prices.of(tmp_path, market=Market())
    assert prices.actual("p", used(1, 1)) == Cost(MicroUsd(6), "user@mine")
    other = msgspec.structs.replace(used(1, 1), model="other")
    assert prices.actual("p", other) == Cost(MicroUsd(2), "market@1")
    assert prices.actual("p", msgspec.structs.replace(other, model="nobody")) is None
    assert prices.actual("p", msgspec.structs.replace(other, model="paying")) is None
    assert prices.actual("sim", msgspec.structs.replace(other, model="x")) == Cost(
        MicroUsd(2), Prices.shipped().tables[0][0]
    )
    assert prices.worst_case("p", ImageRequest(model="other", prompt="x")) is None
    assert Prices.of(tmp_path / "nowhere").find("sim", "x") is not None


def test_a_table_of_the_owner_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """To go on without it is to go on with other prices."""
    (tmp_path / "prices.toml").write_bytes(b"\xff")
    with pytest.raises(BadSetting):
        Prices.of(tmp_path)


def test_the_bound_of_an_answer_grows_with_its_tokens() -> None:
    """What is reserved rests on how long answers are; pictures have one price."""
    assert TABLE.bound("p", chat("x" * 10), output=100) == TABLE.worst_case("p", chat("x" * 10))
    assert TABLE.bound("p", chat("x" * 10), output=1) == Cost(MicroUsd(26 + 4), "user@v1")
    image = ImageRequest(model="image", prompt="mug", size="1024x1024")
    assert TABLE.bound("p", image, output=99) == Cost(MicroUsd(40_000), "user@v1")


def test_the_packages_prices_agree_with_ours_where_both_have_one() -> None:
    """The real thing: their table, their units, and a model without a price of its output."""
    market = installed()
    assert market is not None, "the extra `prices` belongs to the tests"
    theirs = market.dollars("openai", "gpt-5.4-mini", fresh=900, cached=100, output=10)
    ours = Prices.shipped().actual(
        "openai", msgspec.structs.replace(used(1_000, 10, 100), model="gpt-5.4-mini")
    )
    assert theirs is not None
    assert ours is not None
    assert ours.amount == math.ceil(theirs * 1_000_000)
    assert market.source.startswith("genai-prices@")
    assert market.dollars("xai", "grok-4", fresh=1, cached=0, output=1) is not None
    assert market.dollars("openai", "nobody", fresh=1, cached=0, output=1) is None
    assert market.dollars("nobody", "gpt-5", fresh=1, cached=0, output=1) is None
    embedding = "text-embedding-3-small"
    assert market.dollars("openai", embedding, fresh=1, cached=0, output=0) is not None
    assert market.dollars("openai", embedding, fresh=1, cached=0, output=1) is None


def test_prices_of_the_market_are_not_loaded_before_they_are_asked() -> None:
    """A quarter of a second, for those who never need it."""
    code = (
        "import sys; from pathlib import Path; from tildawn.providers.prices import Prices;"
        "Prices.of(Path('.')).find('sim', 'x'); print('genai_prices' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


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
