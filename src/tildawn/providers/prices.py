"""What a request may cost at worst, and what an answer did cost.

What it is not: a budget.  It turns tokens and pictures into money and keeps no account.

Who is believed, in this order: the provider's own report of a cost, the ``prices.toml`` beside
the house, the table that comes with Tildawn, and the package genai-prices where it is installed.
Whose price it was stands with every amount.  A part of a price that is missing or negative makes
the whole price unknown, never zero.
"""

import tomllib
from datetime import date
from decimal import ROUND_CEILING, Decimal
from importlib.resources import files
from pathlib import Path

import msgspec

from tildawn.errors import BadSetting
from tildawn.providers.market import Market, installed
from tildawn.providers.port import Bill, ChatRequest, EmbedRequest, ImageRequest
from tildawn.units import MicroUsd


MESSAGE_TOKENS = 16
"""More than any known chat template adds to a message (OpenAI: 3 and a name)."""


FILE = "prices.toml"
"""The user's own table, beside the settings."""

REPORTED = "reported"
"""The source of what the provider says that an answer cost."""

REPORTED_MOST = 1_000_000_000_000
"""A million dollars: whoever reports more for one answer, or less than nothing, says nothing."""


class Cost(msgspec.Struct, frozen=True):
    """Money and where the number comes from.

    ``reported``, ``user@VERSION``, ``table@VERSION`` or ``genai-prices@VERSION``.
    """

    amount: MicroUsd
    source: str


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of the table: dollars per million tokens, dollars per image by size."""

    provider: str
    name: str
    input: Decimal | None = None
    cached: Decimal | None = None
    output: Decimal | None = None
    long_from: int | None = None
    long_input: Decimal | None = None
    long_output: Decimal | None = None
    image: dict[str, Decimal] = {}
    checked: date | None = None
    source: str = ""


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: str
    model: tuple[Price, ...] = ()


class Prices:
    """A price table, or several in the order in which they are asked."""

    def __init__(
        self, tables: tuple[tuple[str, tuple[Price, ...]], ...], market: Market | None = None
    ) -> None:
        """Take tables as (source, lines), and who is asked last; use `of` and `parse`."""
        self.tables = tables
        self.market = market

    @classmethod
    def of(cls, folder: Path, *, market: Market | None = None) -> "Prices":
        """The prices of a house: the user's table, the shipped one, and the market.

        Args:
            folder: where the user's ``prices.toml`` may be.
            market: who is asked last; the package genai-prices, if it is installed.

        Raises:
            BadSetting: the user's table cannot be read or understood.
        """
        shipped = cls.shipped()
        known = cls(shipped.tables, market or installed())
        file = folder / FILE
        try:
            text = file.read_text("utf-8")
        except FileNotFoundError:
            return known
        except (OSError, UnicodeDecodeError) as error:
            message = f"{file}: {error}"
            raise BadSetting(message, hint="make it readable, or remove it") from error
        return cls.parse(text).over(known)

    @classmethod
    def shipped(cls) -> "Prices":
        """The table that comes with Tildawn.

        Raises:
            Nothing.
        """
        text = files("tildawn.providers").joinpath("prices.toml").read_text("utf-8")
        return cls.parse(text, origin="table")

    @classmethod
    def parse(cls, text: str, *, origin: str = "user") -> "Prices":
        """A table from TOML.

        Args:
            text: see the shipped prices.toml for the form.
            origin: ``table`` or ``user``; part of `Cost.source`.

        Returns:
            The table.

        Raises:
            BadSetting: it is no TOML, or a line has an unknown field or a negative price.
        """
        try:
            table = msgspec.convert(tomllib.loads(text), _Table, strict=False)
        except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            message = f"prices: {error}"
            raise BadSetting(message, hint='prices are texts such as "0.75"') from error
        for line in table.model:
            if any(amount < 0 for amount in _amounts(line)):
                message = f"prices: {line.provider} {line.name}: a price is negative"
                raise BadSetting(message)
        return cls(((f"{origin}@{table.version}", table.model),))

    def over(self, other: "Prices") -> "Prices":
        """This table, and the other one for what this one does not know.

        Raises:
            Nothing.
        """
        return Prices(self.tables + other.tables, self.market or other.market)

    def find(self, provider: str, model: str) -> tuple[Price, str] | None:
        """The line for a model and its source; the longest matching name of the first table.

        Raises:
            Nothing.
        """
        for source, lines in self.tables:
            found = [x for x in lines if x.provider == provider and _matches(x.name, model)]
            if found:
                return max(found, key=lambda line: len(line.name)), source
        return None

    def worst_case(
        self, provider: str, request: ChatRequest | ImageRequest | EmbedRequest
    ) -> Cost | None:
        """The most that a request can cost.

        The output is ``max_tokens``.

        Returns:
            The bound, or None if the price is unknown or nothing bounds the output.

        Raises:
            Nothing.
        """
        if not isinstance(request, ChatRequest):
            return self.bound(provider, request)
        if request.max_tokens is not None:
            return self.bound(provider, request, output=request.max_tokens)
        # What costs nothing needs no bound.
        some = self.bound(provider, request, output=1)
        return some if some is not None and some.amount == 0 else None

    def bound(
        self, provider: str, request: ChatRequest | ImageRequest | EmbedRequest, *, output: int = 0
    ) -> Cost | None:
        """The most that a request can cost if its answer has so many tokens.

        Args:
            provider: the dialect's name.
            request: counted by `input_tokens`.
            output: tokens of the answer; for pictures and vectors it says nothing.

        Returns:
            The bound, or None if the price is unknown.

        Raises:
            Nothing.
        """
        if isinstance(request, ImageRequest):
            found = self.find(provider, request.model)
            if found is None:
                return None
            line, source = found
            dollars = _image_price(line, request.size)
            return None if dollars is None else Cost(_micro(dollars), source)
        tokens = output if isinstance(request, ChatRequest) else 0
        used = _Used(fresh=input_tokens(request), cached=0, output=tokens)
        return self._tokens(provider, request.model, used)

    def _tokens(self, provider: str, model: str, used: "_Used") -> Cost | None:
        found = self.find(provider, model)
        if found is not None:
            line, source = found
            dollars = _token_price(line, used)
        elif self.market is not None:
            source = self.market.source
            dollars = self.market.dollars(
                provider, model, fresh=used.fresh, cached=used.cached, output=used.output
            )
        else:
            return None
        return None if dollars is None or dollars < 0 else Cost(_micro(dollars), source)

    def actual(self, provider: str, bill: Bill, *, image_size: str | None = None) -> Cost | None:
        """What an answer cost: the provider's word, else tokens or pictures by the table.

        Args:
            provider: the dialect's name.
            bill: the answer's.
            image_size: such as ``1024x1024`` if the answer was a picture.

        Returns:
            The cost, or None if neither the provider nor the table can tell.

        Raises:
            Nothing.
        """
        if bill.cost is not None and 0 <= bill.cost <= REPORTED_MOST:
            return Cost(bill.cost, REPORTED)
        if image_size is not None:
            asked = ImageRequest(model=bill.model, prompt="", size=image_size)
            return self.bound(provider, asked)
        usage = bill.usage
        if usage.input_tokens is None:
            return None
        cached = min(usage.cached_tokens or 0, usage.input_tokens)
        used = _Used(
            fresh=usage.input_tokens - cached, cached=cached, output=usage.output_tokens or 0
        )
        return self._tokens(provider, bill.model, used)


class _Used(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one request: of input that came from no cache, of input that did, of output."""

    fresh: int
    cached: int
    output: int


def input_tokens(request: ChatRequest | ImageRequest | EmbedRequest) -> int:
    """The most tokens that a request can have: bytes of UTF-8, which no tokenizer exceeds.

    Raises:
        Nothing.
    """
    if isinstance(request, EmbedRequest):
        return sum(len(text.encode()) for text in request.texts)
    if isinstance(request, ImageRequest):
        return len(request.prompt.encode())
    words = sum(len(message.content.encode()) + MESSAGE_TOKENS for message in request.messages)
    return words + len((request.schema or "").encode())


def _amounts(line: Price) -> list[Decimal]:
    tokens = (line.input, line.cached, line.output, line.long_input, line.long_output)
    return [amount for amount in (*tokens, *line.image.values()) if amount is not None]


def _matches(pattern: str, model: str) -> bool:
    if pattern.endswith("*"):
        return model.startswith(pattern[:-1])
    return model == pattern


def _token_price(line: Price, used: _Used) -> Decimal | None:
    per_input, per_output = line.input, line.output
    if line.long_from is not None and used.fresh + used.cached >= line.long_from:
        per_input, per_output = line.long_input, line.long_output
    if per_input is None or (used.output and per_output is None):
        return None
    per_cached = per_input if line.cached is None else line.cached
    output = (per_output or Decimal(0)) * used.output
    total = per_input * used.fresh + per_cached * used.cached + output
    return total / 1_000_000


def _image_price(line: Price, size: str) -> Decimal | None:
    return line.image.get(size, line.image.get("*"))


def _micro(dollars: Decimal) -> MicroUsd:
    return MicroUsd(int((dollars * 1_000_000).to_integral_value(ROUND_CEILING)))
