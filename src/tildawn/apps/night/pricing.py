"""Whether a step may ask a model although nobody watches the bill.

What it is not: an estimate.  It asks, before the night, what the door would ask of each call.
"""

from collections.abc import Callable

import msgspec

from tildawn.facts.plan import Step, route_of
from tildawn.guard.estimate import reserve_of, unknown_price
from tildawn.guard.policy import Class
from tildawn.providers.port import ChatRequest, ImageRequest
from tildawn.providers.prices import Prices
from tildawn.runtime.policies import Policies


MayAsk = Callable[[Step, str], bool]
"""Takes a step and the model that it would ask."""


def pricing(prices: Prices, provider: str, policies: Policies) -> MayAsk:
    """What the door would say to the price of a call, as a function.

    Args:
        prices: of the house.
        provider: the name of the provider.
        policies: what holds for a route where nobody knows the price.

    Raises:
        Nothing.
    """

    def may_ask(step: Step, model: str) -> bool:
        if step.max_cost is not None:
            return True
        kind: Class = "image" if step.kind == "image" else "chat"
        cost = prices.worst_case(provider, _request(step, model))
        # Accepted models are asked on routes of their own.
        own = msgspec.structs.replace(step, route=None) if model in step.accepts else step
        rule = policies.of(route_of(own, provider=provider, model=model), kind).unknown_price
        amount = None if cost is None else cost.amount
        return reserve_of(amount, unknown_price(rule), unattended=True) is not None

    return may_ask


def _request(step: Step, model: str) -> ChatRequest | ImageRequest:
    if step.kind == "image":
        return ImageRequest(model=model, prompt="", size=str(step.fields.plain("size")))
    return ChatRequest(model=model, messages=(), max_tokens=1)
