"""What is asked to find out whether a provider is back: its models, or the cheapest real thing.

What it is not: when to ask; that is `tildawn.guard.probe`.
"""

from tildawn.guard.attempt import Work
from tildawn.guard.policy import Class
from tildawn.guard.probe import Trial
from tildawn.guard.request import Answer, Attempt
from tildawn.providers.port import Bill, ChatRequest, EmbedRequest, ImageRequest, Message, Wire
from tildawn.runtime.outside.world import World
from tildawn.units import MicroUsd


PROMPT = "abstract geometric shape in blue"
"""What a paid probe asks for. Source: the specification."""

SIZE, TOKENS = "1024x1024", 16
"""The smallest picture that every model draws, and the shortest answer worth the name."""

MODELS = frozenset({"chat", "image", "embedding"})


class ProviderSigns:
    """Signs of the provider of a world."""

    def __init__(self, world: World) -> None:
        """Take the world."""
        self._world = world

    def alive(self, kind: Class) -> Work[Answer] | None:
        """Ask for the names of the models; None for other kinds of calls.

        Raises:
            Nothing.
        """
        world = self._world
        if kind not in MODELS or world.connected is None:
            return None

        async def perform(attempt: Attempt) -> Answer:
            wire = attempt.wire = Wire()
            await world.provider.models(idempotency_key=attempt.key, wire=wire)
            return Answer(value=b"null")

        return perform

    def trial(self, kind: Class, model: str) -> Trial | None:
        """The cheapest request of a kind; its answer is thrown away.

        Raises:
            Nothing.
        """
        world = self._world
        if kind not in MODELS or world.connected is None or not model:
            return None
        request = _request(kind, model)
        cost = world.prices.worst_case(world.provider.name, request)

        async def perform(attempt: Attempt) -> Answer:
            wire = attempt.wire = Wire()
            return self._answer(await _asked(world, request, attempt, wire))

        return Trial(
            perform=perform, reserve=cost.amount if cost is not None else None,
            tokens=TOKENS if kind == "chat" else 0, what=f"see whether {model} is back",
        )  # fmt: skip

    def _answer(self, bill: Bill) -> Answer:
        cost = self._world.prices.actual(self._world.provider.name, bill, image_size=SIZE)
        return Answer(
            value=b"null",
            spend=MicroUsd(0) if cost is None else cost.amount,
            spend_source="none" if cost is None else cost.source,
            tokens_in=bill.usage.input_tokens or 0,
            tokens_out=bill.usage.output_tokens or 0,
        )


def _request(kind: Class, model: str) -> ChatRequest | ImageRequest | EmbedRequest:
    if kind == "image":
        return ImageRequest(model=model, prompt=PROMPT, size=SIZE)
    if kind == "embedding":
        return EmbedRequest(model=model, texts=(PROMPT,))
    return ChatRequest(model=model, messages=(Message("user", PROMPT),), max_tokens=TOKENS)


async def _asked(
    world: World, request: ChatRequest | ImageRequest | EmbedRequest, attempt: Attempt, wire: Wire
) -> Bill:
    provider = world.provider
    if isinstance(request, ChatRequest):
        return (await provider.chat(request, idempotency_key=attempt.key, wire=wire)).bill
    if isinstance(request, EmbedRequest):
        return (await provider.embed(request, idempotency_key=attempt.key, wire=wire)).bill
    return (await provider.image(request, idempotency_key=attempt.key, wire=wire)).bill
