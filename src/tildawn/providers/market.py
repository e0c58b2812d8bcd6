"""Prices that other people keep: the `genai-prices` package, where it is installed.

What it is not: a download.  The table is the one that came with the package; nothing is fetched,
and without the extra ``tildawn[prices]`` there is none.
"""

from collections.abc import Mapping
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol


PACKAGE = "genai-prices"

PROVIDERS: Mapping[str, str] = {"xai": "x-ai"}
"""Our names of providers where theirs differ."""


class Market(Protocol):
    """Knows what tokens cost where no table of ours does."""

    @property
    def source(self) -> str:
        """Whose prices these are, such as ``genai-prices@0.2.3``; part of what is recorded."""
        ...

    def dollars(
        self, provider: str, model: str, *, fresh: int, cached: int, output: int
    ) -> Decimal | None:
        """What so many tokens cost, or None where a part of the price is unknown.

        Args:
            provider: the dialect's name.
            model: as the provider calls it.
            fresh: tokens of input that came from no cache.
            cached: those that did.
            output: tokens of the answer.

        Raises:
            Nothing.
        """
        ...


class GenaiPrices:
    """The table of the package; it is read when the first price is asked for."""

    def __init__(self, release: str) -> None:
        """Take the version that is installed; use `installed`."""
        self._source = f"{PACKAGE}@{release}"

    @property
    def source(self) -> str:
        """See `Market.source`."""
        return self._source

    def dollars(
        self, provider: str, model: str, *, fresh: int, cached: int, output: int
    ) -> Decimal | None:
        """See `Market.dollars`."""
        from genai_prices import Usage, calc_price  # noqa: PLC0415 - 0.25 s, and rarely needed

        # Their input counts what came from the cache as well.
        usage = Usage(
            input_tokens=fresh + cached, cache_read_tokens=cached or None, output_tokens=output
        )
        try:
            found = calc_price(usage, model, provider_id=PROVIDERS.get(provider, provider))
        except (LookupError, ValueError):
            return None
        price = found.model_price
        if cached and price.cache_read_mtok is None:
            return self.dollars(provider, model, fresh=fresh + cached, cached=0, output=output)
        # They take a part without a price as free.
        missing = (output and price.output_mtok is None) or (
            (fresh or cached) and price.input_mtok is None
        )
        total = found.total_price
        return None if missing or total < 0 else total


def installed() -> Market | None:
    """The package's prices, or None where the extra is not installed.

    Raises:
        Nothing.
    """
    try:
        return GenaiPrices(version(PACKAGE))
    except PackageNotFoundError:
        return None
