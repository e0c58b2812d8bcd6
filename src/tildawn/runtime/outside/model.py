"""Calls of models: chat and image, each with who else may answer it and what may stand in.

What it is not: a client; `tildawn.providers` speaks to hosts.
"""

import asyncio
import re
from typing import cast

import msgspec

from tildawn.engine.outcome import Artifact
from tildawn.facts.picture import Drawn
from tildawn.guard.answer import schema_check
from tildawn.guard.estimate import Estimate, Size, estimate
from tildawn.guard.picture import check_picture
from tildawn.guard.request import Answer, Attempt
from tildawn.projections.usage import outputs_of
from tildawn.providers.port import Bill, ChatRequest, ImageRequest, Message, Wire
from tildawn.providers.prices import input_tokens
from tildawn.runtime.outside.kind import CallOptions, Prepared, refuse, text_of
from tildawn.runtime.outside.stock import Wanted
from tildawn.runtime.outside.tiers import picture_tiers, remotes_of, text_tiers, tiers_of
from tildawn.runtime.outside.world import World
from tildawn.runtime.plan.rendering import unexpanded
from tildawn.runtime.setting import SIMULATOR
from tildawn.units import MicroUsd


SIZE = "1024x1024"
"""Of a picture whose call names none."""


def chat(
    world: World, fields: dict[str, object], options: CallOptions, *, simulated: bool
) -> Prepared:
    """Ask a language model; with ``schema`` the answer is data of that form.

    Raises:
        Misused: there is no provider of models.
    """

    def ask(under: CallOptions) -> Prepared:
        return _chat(world, fields, under, simulated=simulated)

    primary = ask(options)
    return msgspec.structs.replace(
        primary,
        remotes=remotes_of("chat", options, ask, primary=primary.model),
        locals=text_tiers(
            tiers_of("chat", options), ledger=world.ledger, clock=world.clock, hands=world.hands,
            simulated=simulated,
        ),
    )  # fmt: skip


def _chat(
    world: World, fields: dict[str, object], options: CallOptions, *, simulated: bool
) -> Prepared:
    model = options.model or world.models.chat
    schema = fields.get("schema")
    limit = cast("int | None", fields.get("max_tokens")) or world.max_tokens
    request = ChatRequest(
        model=model,
        messages=_messages(fields),
        schema=None if schema is None else msgspec.json.encode(schema).decode(),
        max_tokens=limit,
    )

    async def perform(attempt: Attempt) -> Answer:
        _check_cost(money.worst, options)
        _check_simulated(world, simulated)
        wire = attempt.wire = Wire()
        got = await world.provider.chat(request, idempotency_key=attempt.key, wire=wire)
        value = got.json.encode() if got.json is not None else msgspec.json.encode(got.text)
        return _answer(world, value, got.bill)

    route = options.route or f"{_provider_name(world)}:{model}"
    money = _estimate(world, request, options, route)
    return Prepared(
        route=route,
        model=model,
        reserve=money.reserve,
        reserve_tokens=money.tokens or limit,
        worst=money.worst,
        what=f"ask {model}",
        operation="chat",
        perform=perform,
        validate=None if request.schema is None else schema_check(request.schema),
    )


def _messages(fields: dict[str, object]) -> tuple[Message, ...]:
    system = text_of(fields, "system")
    asked = Message("user", text_of(fields, "prompt"))
    return (Message("system", system), asked) if system else (asked,)


def image(
    world: World, fields: dict[str, object], options: CallOptions, *, simulated: bool
) -> Prepared:
    """Have a picture drawn; the answer is an artifact and counts only when it decodes.

    Raises:
        Misused: there is no provider of models.
    """

    def ask(under: CallOptions) -> Prepared:
        return _image(world, fields, under, simulated=simulated)

    primary, wanted = ask(options), _wanted(fields, simulated=simulated)
    return msgspec.structs.replace(
        primary,
        about=wanted.about if wanted is not None else b"",
        remotes=remotes_of("image", options, ask, primary=primary.model),
        locals=() if wanted is None else picture_tiers(
            tiers_of("image", options), wanted, ledger=world.ledger, clock=world.clock,
            hands=world.hands,
        ),
    )  # fmt: skip


def _wanted(fields: dict[str, object], *, simulated: bool) -> Wanted | None:
    """The picture as the local tiers need it; None for a size that no picture can have."""
    size = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text_of(fields, "size", SIZE))
    if size is None:
        return None
    prompt = str(unexpanded(fields.get("prompt") or ""))
    return Wanted(prompt=prompt, width=int(size[1]), height=int(size[2]), simulated=simulated)


def _image(
    world: World, fields: dict[str, object], options: CallOptions, *, simulated: bool
) -> Prepared:
    model = options.model or world.models.image
    size = text_of(fields, "size", SIZE)
    request = ImageRequest(model=model, prompt=text_of(fields, "prompt"), size=size)

    async def perform(attempt: Attempt) -> Answer:
        _check_cost(money.worst, options)
        _check_simulated(world, simulated)
        wire = attempt.wire = Wire()
        got = await world.provider.image(request, idempotency_key=attempt.key, wire=wire)
        width, _, height = size.partition("x")
        seen = check_picture(got.data, width=int(width), height=int(height))
        blob = await asyncio.to_thread(world.ledger.blobs.put, got.data)
        kept = Artifact(f"image-{blob[:12]}", blob, len(got.data), seen.media)
        answer = _answer(world, msgspec.json.encode(kept), got.bill, blob=blob, size=size)
        drawn = Drawn(blob, seen.media, seen.width, seen.height, len(got.data))
        return msgspec.structs.replace(answer, picture=drawn)

    route = options.route or f"{_provider_name(world)}:{model}:{size}"
    money = _estimate(world, request, options, route)
    return Prepared(
        route=route,
        model=model,
        reserve=money.reserve,
        reserve_tokens=0,
        worst=money.worst,
        what=f"draw with {model}",
        operation="image",
        perform=perform,
        decode=lambda text: msgspec.json.decode(text, type=Artifact),
    )


def _provider_name(world: World) -> str:
    return world.provider.name


def _estimate(
    world: World, request: ChatRequest | ImageRequest, options: CallOptions, route: str
) -> Estimate:
    """What an attempt reserves; the rule of the route for unknown prices is the door's."""
    prices, provider = world.prices, world.provider.name
    size = Size(input=input_tokens(request), most=0)
    if isinstance(request, ChatRequest):
        with world.ledger.read() as reader:
            outputs = outputs_of(reader, route)
        size = Size(input=size.input, most=request.max_tokens, outputs=outputs)

    def cost(output: int) -> MicroUsd | None:
        found = prices.bound(provider, request, output=output)
        return None if found is None else found.amount

    return estimate(size, cost, max_cost=options.max_cost)


def _check_cost(worst: MicroUsd, options: CallOptions) -> None:
    if options.max_cost is not None and worst > options.max_cost:
        detail = f"it may cost {worst} millionths of a dollar, the step allows {options.max_cost}"
        raise refuse(detail)


def _check_simulated(world: World, simulated: bool) -> None:
    """A simulated run never asks a provider that costs money, whatever the settings say now."""
    if simulated and world.provider.name != SIMULATOR:
        detail = f"the run was accepted as simulated, and the provider is {world.provider.name}"
        raise refuse(detail)


def _answer(
    world: World, value: bytes, bill: Bill, *, blob: str = "", size: str | None = None
) -> Answer:
    cost = world.prices.actual(world.provider.name, bill, image_size=size)
    return Answer(
        value=value,
        blobs=(blob,) if blob else (),
        spend=MicroUsd(0) if cost is None else cost.amount,
        spend_source="none" if cost is None else cost.source,
        tokens_in=bill.usage.input_tokens or 0,
        tokens_out=bill.usage.output_tokens or 0,
    )


def sealed_free(fields: dict[str, object]) -> bytes:
    """The fields as JSON with secrets as their names: what is digested and kept.

    Raises:
        Nothing.
    """
    return msgspec.json.encode(unexpanded(fields), order="deterministic")
