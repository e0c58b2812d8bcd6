"""Calls of models: chat and image.

What it is not: a client; `tildawn.providers` speaks to hosts.
"""

import asyncio
from typing import cast

import msgspec

from tildawn.engine.outcome import Artifact
from tildawn.guard.answer import schema_check
from tildawn.guard.picture import check_picture
from tildawn.guard.request import Answer, Attempt
from tildawn.providers.port import Bill, ChatRequest, ImageRequest, Message, Wire
from tildawn.runtime.outside.kind import CallOptions, Prepared, refuse, text_of
from tildawn.runtime.outside.world import World
from tildawn.runtime.plan.rendering import unexpanded
from tildawn.runtime.setting import SIMULATOR
from tildawn.units import MicroUsd


def chat(
    world: World, fields: dict[str, object], options: CallOptions, *, simulated: bool
) -> Prepared:
    """Ask a language model; with ``schema`` the answer is data of that form.

    Raises:
        Misused: there is no provider of models.
    """
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
        _check_cost(reserve, options)
        _check_simulated(world, simulated)
        wire = attempt.wire = Wire()
        got = await world.provider.chat(request, idempotency_key=attempt.key, wire=wire)
        value = got.json.encode() if got.json is not None else msgspec.json.encode(got.text)
        return _answer(world, value, got.bill)

    reserve = _worst(world, request, options)
    return Prepared(
        route=options.route or f"{_provider_name(world)}:{model}",
        model=model,
        reserve=reserve,
        reserve_tokens=limit,
        what=f"ask {model}",
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
    model = options.model or world.models.image
    size = text_of(fields, "size", "1024x1024")
    request = ImageRequest(model=model, prompt=text_of(fields, "prompt"), size=size)

    async def perform(attempt: Attempt) -> Answer:
        _check_cost(reserve, options)
        _check_simulated(world, simulated)
        wire = attempt.wire = Wire()
        got = await world.provider.image(request, idempotency_key=attempt.key, wire=wire)
        width, _, height = size.partition("x")
        check_picture(got.data, width=int(width), height=int(height))
        blob = await asyncio.to_thread(world.ledger.blobs.put, got.data)
        kept = Artifact(f"image-{blob[:12]}", blob, len(got.data), got.media_type)
        return _answer(world, msgspec.json.encode(kept), got.bill, blob=blob, size=size)

    reserve = _worst(world, request, options)
    return Prepared(
        route=options.route or f"{_provider_name(world)}:{model}:{size}",
        model=model,
        reserve=reserve,
        reserve_tokens=0,
        what=f"draw with {model}",
        perform=perform,
        decode=lambda text: msgspec.json.decode(text, type=Artifact),
    )


def _provider_name(world: World) -> str:
    return world.provider.name


def _worst(
    world: World, request: ChatRequest | ImageRequest, options: CallOptions
) -> MicroUsd | None:
    cost = world.prices.worst_case(world.provider.name, request)
    return options.max_cost if cost is None else cost.amount


def _check_cost(reserve: MicroUsd | None, options: CallOptions) -> None:
    if options.max_cost is not None and reserve is not None and reserve > options.max_cost:
        detail = f"it may cost {reserve} millionths of a dollar, the step allows {options.max_cost}"
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
    source = "none" if cost is None else "reported" if cost.source == "provider" else "computed"
    return Answer(
        value=value,
        blobs=(blob,) if blob else (),
        spend=MicroUsd(0) if cost is None else cost.amount,
        spend_source=source,
        tokens_in=bill.usage.input_tokens or 0,
        tokens_out=bill.usage.output_tokens or 0,
    )


def sealed_free(fields: dict[str, object]) -> bytes:
    """The fields as JSON with secrets as their names: what is digested and kept.

    Raises:
        Nothing.
    """
    return msgspec.json.encode(unexpanded(fields), order="deterministic")
