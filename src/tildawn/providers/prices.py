"""What a request may cost at worst, and what an answer did cost.

What it is not: a budget.  It turns tokens and pictures into money and keeps no account.
"""

import tomllib
from datetime import date
from decimal import ROUND_CEILING, Decimal
from importlib.resources import files

import msgspec

from tildawn.errors import BadSetting
from tildawn.providers.port import Bill, ChatRequest, EmbedRequest, ImageRequest
from tildawn.units import MicroUsd


MESSAGE_TOKENS = 16
"""More than any known chat template adds to a message (OpenAI: 3 and a name)."""


class Cost(msgspec.Struct, frozen=True):
    """Money and where the number comes from: ``provider``, ``table@VERSION`` or ``user@VERSION``."""

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

    def __init__(self, tables: tuple[tuple[str, tuple[Price, ...]], ...]) -> None:
        """Take tables as (source, lines); use `shipped` and `parse`."""
        self.tables = tables

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
        return Prices(self.tables + other.tables)

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

        Input tokens are counted as bytes of UTF-8, which no byte-level tokenizer exceeds; output
        is ``max_tokens``.

        Returns:
            The bound, or None if the price is unknown or nothing bounds the output.

        Raises:
            Nothing.
        """
        found = self.find(provider, request.model)
        if found is None:
            return None
        line, source = found
        if isinstance(request, ImageRequest):
            dollars = _image_price(line, request.size)
        elif isinstance(request, EmbedRequest):
            texts = sum(len(text.encode()) for text in request.texts)
            dollars = _token_price(line, fresh=texts, cached=0, output=0)
        elif request.max_tokens is None and line.output != 0:
            dollars = None
        else:
            size = _input_bound(request)
            dollars = _token_price(line, fresh=size, cached=0, output=request.max_tokens or 0)
        return None if dollars is None else Cost(_micro(dollars), source)

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
        if bill.cost is not None:
            return Cost(bill.cost, "provider")
        found = self.find(provider, bill.model)
        if found is None:
            return None
        line, source = found
        if image_size is not None:
            dollars = _image_price(line, image_size)
        else:
            usage = bill.usage
            if usage.input_tokens is None:
                return None
            cached = min(usage.cached_tokens or 0, usage.input_tokens)
            dollars = _token_price(
                line,
                fresh=usage.input_tokens - cached,
                cached=cached,
                output=usage.output_tokens or 0,
            )
        return None if dollars is None else Cost(_micro(dollars), source)


def _amounts(line: Price) -> list[Decimal]:
    tokens = (line.input, line.cached, line.output, line.long_input, line.long_output)
    return [amount for amount in (*tokens, *line.image.values()) if amount is not None]


def _matches(pattern: str, model: str) -> bool:
    if pattern.endswith("*"):
        return model.startswith(pattern[:-1])
    return model == pattern


def _input_bound(request: ChatRequest) -> int:
    words = sum(len(message.content.encode()) + MESSAGE_TOKENS for message in request.messages)
    return words + len((request.schema or "").encode())


def _token_price(line: Price, *, fresh: int, cached: int, output: int) -> Decimal | None:
    per_input, per_output = line.input, line.output
    if line.long_from is not None and fresh + cached >= line.long_from:
        per_input, per_output = line.long_input, line.long_output
    if per_input is None or (output and per_output is None):
        return None
    per_cached = per_input if line.cached is None else line.cached
    total = per_input * fresh + per_cached * cached + (per_output or Decimal(0)) * output
    return total / 1_000_000


def _image_price(line: Price, size: str) -> Decimal | None:
    return line.image.get(size, line.image.get("*"))


def _micro(dollars: Decimal) -> MicroUsd:
    return MicroUsd(int((dollars * 1_000_000).to_integral_value(ROUND_CEILING)))
