"""Calls of web servers.

What it is not: a browser; one request, one answer, nothing followed.
"""

from pathlib import PurePath
from typing import Literal, cast

import msgspec

from tildawn.engine.outcome import Artifact
from tildawn.guard.address import url_address
from tildawn.guard.request import Answer, Attempt
from tildawn.providers.file import Files
from tildawn.providers.http import FilePart, HttpAnswer, HttpRequest, send
from tildawn.providers.port import Wire
from tildawn.runtime.outside.kind import CallOptions, Prepared, refuse, text_of
from tildawn.runtime.outside.local import content_of, folder_of
from tildawn.runtime.outside.world import World, is_loopback
from tildawn.runtime.plan.rendering import expanded, unexpanded
from tildawn.units import MicroUsd


Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


def http(
    world: World, fields: dict[str, object], options: CallOptions, *, simulated: bool
) -> Prepared:
    """Send a request; an answer that is no success is a failure unless ``any_status`` is set.

    Raises:
        Nothing.
    """
    method = cast("Method", text_of(fields, "method", "GET"))
    said = str(unexpanded(fields.get("url")))

    async def perform(attempt: Attempt) -> Answer:
        wire = attempt.wire = Wire()
        request = await _request(world, method, fields, options)
        if simulated and method not in {"GET", "HEAD"} and not is_loopback(request.url):
            detail = "a simulated night changes nothing beyond this machine"
            raise refuse(detail)
        got = await send(request, wires=world.wires, idempotency_key=attempt.key, wire=wire)
        return Answer(value=_value(got))

    host = said.rsplit("//", maxsplit=1)[-1].split("/", maxsplit=1)[0]
    return Prepared(
        route=options.route or f"http:{host}",
        model="",
        reserve=MicroUsd(0),
        reserve_tokens=0,
        what=f"{method} {said}"[:300],
        operation=f"http:{method}",
        resource=url_address(said),
        perform=perform,
    )


def _value(got: HttpAnswer) -> bytes:
    json = got.json()
    value = {
        "status": got.status,
        "headers": dict(got.headers),
        "text": "" if json is not None else got.text()[:100_000],
        "json": msgspec.Raw(json.encode()) if json is not None else None,
    }
    return msgspec.json.encode(value)


async def _request(
    world: World, method: Method, fields: dict[str, object], options: CallOptions
) -> HttpRequest:
    plain = cast(
        "dict[str, object]",
        expanded({name: fields.get(name) for name in ("url", "headers", "json")}, world.env),
    )
    files = cast("dict[str, object]", fields.get("files") or {})
    json = plain.get("json")
    return HttpRequest(
        method=method,
        url=str(plain["url"]),
        headers=tuple(cast("dict[str, str]", plain.get("headers") or {}).items()),
        # With files the document's members become the fields of the form, as browsers send it.
        json=None
        if json is None or (files and isinstance(json, dict))
        else msgspec.json.encode(json).decode(),
        fields=_fields(cast("object", json)) if files and isinstance(json, dict) else (),
        files=tuple([await _part(world, name, value, options) for name, value in files.items()]),
        body=await content_of(world, fields["body"]) if fields.get("body") is not None else None,
        any_status=bool(fields.get("any_status")),
    )


def _fields(json: object) -> tuple[tuple[str, str], ...]:
    members = cast("dict[str, object]", json)
    return tuple(
        (name, value if isinstance(value, str) else msgspec.json.encode(value).decode())
        for name, value in members.items()
    )


async def _part(world: World, name: str, value: object, options: CallOptions) -> FilePart:
    if isinstance(value, Artifact):
        data = await content_of(world, value)
        ending = value.media.rpartition("/")[2] or "bin"
        media = value.media or "application/octet-stream"
        return FilePart(name=name, filename=f"{name}.{ending}", data=data, media_type=media)
    path = str(value)
    got = await Files(folder_of(world, options)).read(path)
    return FilePart(name=name, filename=PurePath(path).name, data=got.data or b"")
