"""One look at the world for one check: met, unmet, or not to be had.

What it is not: a verdict.  A verdict compares a look before the work with one after it; that is
in ``judging``.  A look only reads; what cannot be looked at is never taken as met.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from tildawn.apps.night.reading import look_at_file, look_at_image, look_at_json, look_at_rows
from tildawn.engine.outcome import Artifact
from tildawn.errors import BadValue, CallFailed, Refused, StepFailed
from tildawn.facts.plan import Evidence, MapOf
from tildawn.runtime.context import Context
from tildawn.runtime.outside.kind import CallOptions
from tildawn.runtime.plan import render


MET, UNMET, NOT_RUN = "met", "unmet", "not-run"

DETAIL_MAX = 300
"""Characters of what a check says; a report quotes it on one line."""


class Seen(msgspec.Struct, frozen=True):
    """What a check saw.

    ``digest`` is that of a file, empty where there is none; ``compares`` says that the check can
    only be decided by comparing it with the digest before the work.
    """

    saw: str
    detail: str = ""
    digest: str = ""
    compares: bool = False
    target: str = ""


class Look:
    """Everything that one look needs."""

    def __init__(
        self, ctx: Context, check: Evidence, *, scope: Mapping[str, object], folder: str,
        blob_path: Callable[[str], Path], name: str,
    ) -> None:  # fmt: skip
        """Take the check, what its templates may name, and the name of its call in the run."""
        self.blob_path = blob_path
        self.ctx = ctx
        self.check = check
        self.folder = folder
        self.name = name
        self._scope = scope

    def fields(self) -> dict[str, object]:
        """The fields of the check, rendered.

        Raises:
            BadValue: a template names what is not there.
        """
        return cast("dict[str, object]", render(self.check.fields, self._scope))

    async def outside(self, kind: str, fields: dict[str, object]) -> dict[str, Any]:
        """Ask the outside once or, on a fault of the way, twice.

        Raises:
            CallFailed: no answer.
            Refused: the rules say no.
        """
        options = CallOptions(
            repeat="safe", timeout=self.check.timeout, retry=2, folder=self.folder
        )
        return cast("dict[str, Any]", await self.ctx.outside(self.name, kind, fields, options))


async def look(about: Look) -> Seen:
    """Look once.

    Args:
        about: the check and what it needs.

    Returns:
        What was seen; anything that keeps the look from being made is ``not-run`` with its reason.

    Raises:
        Nothing of its own.
    """
    try:
        return await LOOKS[about.check.kind](about, about.fields())
    except KeyError:
        return Seen(NOT_RUN, f"nobody makes checks of the kind {about.check.kind}")
    except (BadValue, CallFailed, StepFailed, Refused) as error:
        return Seen(NOT_RUN, error.message[:DETAIL_MAX])


async def _http(about: Look, fields: dict[str, object]) -> Seen:
    expect = cast("dict[str, object]", fields.pop("expect"))
    fields.setdefault("method", "GET")
    got = await about.outside("http", {**fields, "any_status": True})
    status = expect.get("status")
    if status is not None and got["status"] != status:
        return Seen(UNMET, f"status {got['status']}, expected {status}")
    if status is None and got["status"] >= 400:  # noqa: PLR2004  # RFC 9110: an error
        return Seen(UNMET, f"status {got['status']}")
    if "json" in expect:
        if got["json"] is None:
            return Seen(UNMET, "the answer is no JSON")
        differs = difference(expect["json"], got["json"])
        if differs:
            return Seen(UNMET, differs)
    text = str(expect.get("text") or "")
    if text and text not in _text_of(got):
        return Seen(UNMET, f"the answer does not contain {text!r:.80}")
    return Seen(MET, f"status {got['status']}")


def _text_of(got: dict[str, Any]) -> str:
    return got["text"] or msgspec.json.encode(got["json"]).decode()


async def _command(about: Look, fields: dict[str, object]) -> Seen:
    expect = cast("dict[str, object]", fields.pop("expect", {}))
    got = await about.outside("shell", {**fields, "any_exit": True})
    wanted = expect.get("exit_code", 0)
    if got["exit_code"] != wanted:
        said = str(got["stderr"] or got["stdout"]).strip()[-160:]
        return Seen(UNMET, f"exit code {got['exit_code']}, expected {wanted}. {said}".strip())
    text = str(expect.get("stdout") or "")
    if text and text not in got["stdout"]:
        return Seen(UNMET, f"the output does not contain {text!r:.80}")
    return Seen(MET, f"exit code {got['exit_code']}")


async def _file(about: Look, fields: dict[str, object]) -> Seen:
    path = str(fields["path"])
    contains = cast("str | None", fields.get("contains"))
    got = await about.ctx.step(look_at_file, about.folder, path, contains)
    seen = Seen(MET, f"{got.size} bytes", digest=got.sha256, target=path)
    wanted = fields.get("sha256")
    if fields.get("exists") is False:
        return seen if not got.exists else msgspec.structs.replace(
            seen, saw=UNMET, detail=f"{path} is there")  # fmt: skip
    if not got.exists:
        return msgspec.structs.replace(seen, saw=UNMET, detail=f"{path} is not there")
    if wanted is not None and got.sha256 != wanted:
        return msgspec.structs.replace(seen, saw=UNMET, detail=f"its digest is {got.sha256}")
    if contains and not got.contains:
        detail = f"{path} does not contain {contains!r:.80}"
        return msgspec.structs.replace(seen, saw=UNMET, detail=detail)
    return msgspec.structs.replace(seen, compares=fields.get("changed") is True)


async def _sql(about: Look, fields: dict[str, object]) -> Seen:
    path, query = str(fields["database"]), str(fields["query"])
    values = msgspec.json.encode(fields.get("parameters") or []).decode()
    text = await about.ctx.step(look_at_rows, about.folder, path, query, values)
    if not text:
        return Seen(UNMET, f"{path} is not there")
    got = msgspec.json.decode(text)
    differs = difference(fields["expect"], got, exactly=True)
    return Seen(UNMET if differs else MET, differs or f"{len(got)} rows")


async def _image(about: Look, fields: dict[str, object]) -> Seen:
    file, folder = fields["file"], about.folder
    if isinstance(file, Artifact):
        blob = about.blob_path(file.sha256)
        folder, file = str(blob.parent), blob.name
    got = await about.ctx.step(look_at_image, folder, str(file))
    size = fields.get("size")
    if not got.whole:
        return Seen(UNMET, got.detail, digest=got.sha256)
    if size is not None and got.size != size:
        return Seen(UNMET, f"it is {got.size}, expected {size}", digest=got.sha256)
    return Seen(MET, f"{got.media}, {got.size}", digest=got.sha256)


async def _json(about: Look, fields: dict[str, object]) -> Seen:
    got = await about.ctx.step(look_at_json, about.folder, str(fields["path"]))
    if got.problem:
        return Seen(UNMET, got.problem)
    differs = difference(fields["expect"], msgspec.json.decode(got.text))
    return Seen(UNMET if differs else MET, differs)


async def _human(_about: Look, fields: dict[str, object]) -> Seen:
    return Seen(NOT_RUN, str(fields["question"])[:DETAIL_MAX])


LOOKS: Mapping[str, Callable[[Look, dict[str, object]], Awaitable[Seen]]] = {
    "http": _http,
    "command": _command,
    "file": _file,
    "sql": _sql,
    "image": _image,
    "json": _json,
    "human": _human,
}
"""Who makes a look, by the kind of evidence."""


def difference(expected: object, found: object, *, exactly: bool = False, where: str = "") -> str:
    """How a JSON value falls short of what is expected of it, or nothing.

    A map has to hold at least what is expected, a list has to have as many entries; numbers are
    equal as numbers, and a truth value is no number.

    Args:
        expected: from the plan.
        found: from the world.
        exactly: a map may hold no more than expected either.
        where: the place of both, for the answer.

    Raises:
        Nothing.
    """
    if isinstance(expected, dict):
        return _map_difference(cast("dict[str, object]", expected), found, exactly, where)
    if isinstance(expected, list):
        return _list_difference(cast("list[object]", expected), found, exactly, where)
    same = expected == found and isinstance(expected, bool) == isinstance(found, bool)
    return "" if same else f"{where or 'it'} is {_short(found)}, expected {_short(expected)}"


def _map_difference(expected: dict[str, object], found: object, exactly: bool, where: str) -> str:
    if not isinstance(found, dict):
        return f"{where or 'it'} is {_short(found)}, expected a map"
    held = cast("dict[str, object]", found)
    for name, value in expected.items():
        place = f"{where}.{name}" if where else name
        if name not in held:
            return f"{place} is missing"
        differs = difference(value, held[name], exactly=exactly, where=place)
        if differs:
            return differs
    more = sorted(set(held) - set(expected)) if exactly else []
    return f"{where or 'it'} has {more[0]!r:.80} as well" if more else ""


def _list_difference(expected: list[object], found: object, exactly: bool, where: str) -> str:
    if not isinstance(found, list):
        return f"{where or 'it'} is {_short(found)}, expected a list"
    held = cast("list[object]", found)
    if len(held) != len(expected):
        return f"{where or 'it'} has {len(held)} entries, expected {len(expected)}"
    for index, value in enumerate(expected):
        place = f"{where}[{index}]"
        differs = difference(value, held[index], exactly=exactly, where=place)
        if differs:
            return differs
    return ""


def _short(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 80 else text[:79] + "…"  # noqa: PLR2004  # one line


def needs_an_answer(check: Evidence) -> bool:
    """Whether only a person can answer a check.

    Raises:
        Nothing.
    """
    return check.kind == "human"


def rendered(fields: MapOf, scope: Mapping[str, object]) -> dict[str, object]:
    """The fields of a check with its templates filled in.

    Raises:
        BadValue: a template names what is not there.
    """
    return cast("dict[str, object]", render(fields, scope))
