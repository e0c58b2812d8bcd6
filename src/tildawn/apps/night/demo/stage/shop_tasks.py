"""A Python task beside plan steps: durable, with each look at a shop as a recorded step.

What it is not: a client of real shops; the prices are made up for the demonstration.
"""

from tildawn import Context, task


PRICES_EUR = {"VAL-001": 18.90, "VAL-006": 49.00, "VAL-008": 45.00}


def surveyed(shop: int) -> dict[str, float]:
    """What one competitor asks for our three best sellers, a little more in each further shop.

    Raises:
        Nothing.
    """
    return {sku: round(price * (1 + shop / 20), 2) for sku, price in PRICES_EUR.items()}


@task(name="competitor_prices")
async def competitor_prices(ctx: Context, shops: int) -> dict[str, float]:
    """The lowest price of each product over so many shops.

    Raises:
        Nothing.
    """
    lowest: dict[str, float] = {}
    for shop in range(shops):
        prices = await ctx.step(surveyed, shop)
        for sku, price in prices.items():
            lowest[sku] = min(price, lowest.get(sku, price))
    return lowest
