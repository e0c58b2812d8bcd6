"""Calls of this machine: programs and files.

What it is not: recorded local work; that is a step.  These act on the world, so they pass the
door.
"""

import asyncio
import os
from pathlib import Path, PurePath
from typing import cast

import msgspec

from tildawn.engine.outcome import Artifact
from tildawn.guard.address import file_address
from tildawn.guard.request import Answer, Attempt
from tildawn.providers.file import FileAnswer, Files
from tildawn.providers.port import Wire
from tildawn.providers.shell import ShellRequest, base_environment, run
from tildawn.runtime.outside.kind import CallOptions, Prepared, refuse, text_of
from tildawn.runtime.outside.world import World
from tildawn.runtime.plan.rendering import expanded, unexpanded
from tildawn.units import MicroUsd


def shell(
    world: World, fields: dict[str, object], options: CallOptions, *, simulated: bool
) -> Prepared:
    """Run a program; any exit code but 0 is a failure unless ``any_exit`` is set.

    Raises:
        Nothing.
    """
    argv = cast("list[object]", fields.get("argv") or [])
    said = " ".join(str(unexpanded(word)) for word in argv)

    async def perform(attempt: Attempt) -> Answer:
        wire = attempt.wire = Wire()
        request = _shell_request(world, fields, options)
        got = await run(request, on_start=attempt.child_started, wire=wire)
        if not fields.get("any_exit"):
            got.require_success()
        value = {
            "exit_code": got.exit_code,
            "stdout": got.stdout.decode("utf-8", "replace"),
            "stderr": got.stderr.decode("utf-8", "replace"),
        }
        return Answer(value=msgspec.json.encode(value))

    program = Path(str(unexpanded(argv[0]))).name if argv else "?"
    return Prepared(
        route=options.route or f"shell:{program}",
        model="",
        reserve=MicroUsd(0),
        reserve_tokens=0,
        what=f"run {said}"[:300],
        operation="shell",
        resource=str(unexpanded(argv[0])) if argv else None,
        perform=perform,
    )


def _shell_request(world: World, fields: dict[str, object], options: CallOptions) -> ShellRequest:
    folder = folder_of(world, options)
    argv = cast("list[object]", expanded(fields["argv"], world.env))
    env = dict(base_environment(os.environ))
    env |= cast("dict[str, str]", expanded(fields.get("env") or {}, world.env))
    return ShellRequest(
        argv=tuple(_word(world, word) for word in argv),
        cwd=str(folder / text_of(fields, "cwd")),
        env=tuple(env.items()),
    )


def _word(world: World, word: object) -> str:
    if isinstance(word, Artifact):
        return str(world.ledger.blobs.path(word.sha256))
    return str(word)


def folder_of(world: World, options: CallOptions) -> Path:
    """Where relative paths of a call begin.

    Raises:
        Nothing.
    """
    return Path(options.folder) if options.folder else world.folder


HOUSE = ".tildawn"
"""The folder of a house; a plan that writes there would overwrite its own ledger."""

VERBS = ("read", "write", "append", "delete")


def file(
    world: World, fields: dict[str, object], options: CallOptions, *, simulated: bool
) -> Prepared:
    """Read, write, append to or delete one file below the folder.

    Raises:
        Nothing.
    """
    verb = next(verb for verb in VERBS if fields.get(verb) is not None)
    path = text_of(fields, verb)

    async def perform(attempt: Attempt) -> Answer:
        attempt.wire = Wire()
        if HOUSE in PurePath(path).parts:
            detail = f"{path} lies in the house itself, which only the ledger writes"
            raise refuse(detail)
        files = Files(folder_of(world, options))
        content = await content_of(world, fields.get("content"))
        attempt.wire.sent = verb != "read"
        got = await _act(files, verb, path, content)
        value: dict[str, object] = {"path": got.path, "size": got.size, "sha256": got.sha256}
        if verb == "read":
            value["text"] = (got.data or b"").decode("utf-8", "replace")
        return Answer(value=msgspec.json.encode(value))

    return Prepared(
        route=options.route or "file",
        model="",
        reserve=MicroUsd(0),
        reserve_tokens=0,
        what=f"{verb} {path}",
        operation=f"file:{verb}",
        resource=file_address(path),
        perform=perform,
    )


async def _act(files: Files, verb: str, path: str, content: bytes) -> FileAnswer:
    match verb:
        case "read":
            return await files.read(path)
        case "write":
            return await files.write(path, content)
        case "append":
            return await files.append(path, content)
        case _:
            return await files.delete(path)


async def content_of(world: World, value: object) -> bytes:
    """The bytes of a content: a text, or an artifact.

    Raises:
        Fault: it is neither.
    """
    plain = expanded(value, world.env)
    if plain is None:
        return b""
    if isinstance(plain, Artifact):
        return await asyncio.to_thread(world.ledger.blobs.get, plain.sha256)
    if isinstance(plain, str):
        return plain.encode()
    detail = f"{type(plain).__name__} is neither a text nor an artifact"
    raise refuse(detail)
