"""The work of one row: the steps of an item, one after the other, through the door.

What it is not: a decision.  The plan was accepted with its copies; this walks it, and what each
step gave is on record before the next begins.
"""

from pathlib import Path
from typing import Any, cast

import msgspec

from tildawn.apps.night.copies import Copies
from tildawn.apps.night.names import ITEM
from tildawn.engine.outcome import Artifact
from tildawn.engine.task import Retry, TaskDef, task
from tildawn.errors import BadPlan
from tildawn.facts.night import Observed
from tildawn.facts.plan import Evidence, Expr, Item, Step, parts_of
from tildawn.providers.fault import Fault, FaultKind
from tildawn.providers.file import Files
from tildawn.runtime.context import Context
from tildawn.runtime.outside.kind import CallOptions
from tildawn.runtime.plan import render, unexpanded
from tildawn.runtime.plan.scope import ROW


OUTPUT_BYTES_MAX = 32_768
"""An output that a check names is handed on up to this length; longer ones belong in files."""

_GIVEN_BACK_MAX = 150_000


class Outputs(msgspec.Struct, frozen=True):
    """What a finished run hands on: outputs that checks name, and what it changed.

    ``values`` and ``artifacts`` are by the name of the step.
    """

    steps: int
    values: dict[str, msgspec.Raw] = {}
    artifacts: dict[str, Artifact] = {}
    effects: tuple[Observed, ...] = ()

    def scope(self) -> dict[str, object]:
        """The outputs as templates see them.

        Raises:
            Nothing.
        """
        plain = {name: msgspec.json.decode(raw) for name, raw in self.values.items()}
        return {**plain, **self.artifacts}


def item_task(copies: Copies) -> TaskDef[..., Any]:
    """The task that does the work of one row.

    Args:
        copies: where accepted plans are read from.

    Raises:
        Nothing.
    """

    @task(name=ITEM, retry=Retry())
    async def work(ctx: Context, night: str, item: str, cells: dict[str, str]) -> Outputs:
        kept = copies.of(night)
        found = kept.plan.item(item)
        if found is None:
            message = f"the accepted plan has no item {item!r}"
            raise BadPlan(message)
        return await _Walk(ctx, found, kept.folder, cells).all()

    return work


class _Walk:
    """One run of an item on its way."""

    def __init__(self, ctx: Context, item: Item, folder: str, cells: dict[str, str]) -> None:
        self._ctx = ctx
        self._item = item
        self._folder = folder
        self._scope: dict[str, object] = {ROW: cells} if item.for_each is not None else {}
        self._effects: list[Observed] = []

    async def all(self) -> Outputs:
        """Every step in order."""
        for step in self._item.steps:
            self._scope[step.name] = await self._step(step)
        return self._outputs()

    async def _step(self, step: Step) -> object:
        fields = {one.name: render(one.value, self._scope) for one in step.fields.entries}
        written = next((fields[v] for v in ("write", "append", "delete") if fields.get(v)), None)
        if step.kind != "file" or not isinstance(written, str):
            answer: object = await self._outside(step, fields)
            self._note_url(step, fields, answer)
            return answer
        before = await self._ctx.step(digest_of_file, self._folder, written)
        answer = await self._outside(step, fields)
        self._note_file(written, before, answer, deleted=fields.get("delete") is not None)
        return answer

    async def _outside(self, step: Step, fields: dict[str, object]) -> object:
        options = CallOptions(
            route=step.route, repeat=step.repeat.value, timeout=step.timeout,
            max_cost=step.max_cost, model=step.model or "", retry=_tries(step),
            accepts=step.accepts, tiers=step.tiers, folder=self._folder,
            patience="interactive" if step.interactive else "batch",
        )  # fmt: skip
        return await self._ctx.outside(step.name, step.kind, fields, options)

    def _note_file(self, path: str, before: str, answer: object, *, deleted: bool) -> None:
        after = "" if deleted else str(_part(answer, "sha256"))
        if before != after:
            self._effects.append(Observed(kind="file", target=path, before=before, after=after))

    def _note_url(self, step: Step, fields: dict[str, object], answer: object) -> None:
        """A resource that was made or changed; where a POST does not name it, its call does."""
        method = str(fields.get("method") or "GET")
        if step.kind != "http" or method in {"GET", "HEAD"}:
            return
        made = _part(_part(answer, "headers"), "location")
        place = made if method == "POST" else unexpanded(fields.get("url"))
        if target := str(place).partition("?")[0]:
            note = f"{method} {_part(answer, 'status')}"
            self._effects.append(Observed(kind="url", target=target, note=note))

    def _outputs(self) -> Outputs:
        """Only what the checks name: everything else stands with its call already."""
        named = names_used(self._item.evidence)
        values: dict[str, msgspec.Raw] = {}
        artifacts: dict[str, Artifact] = {}
        left = _GIVEN_BACK_MAX
        for step in self._item.steps:
            value = self._scope[step.name]
            if step.name not in named:
                continue
            if isinstance(value, Artifact):
                artifacts[step.name] = value
                continue
            text = msgspec.json.encode(value)
            if len(text) <= min(OUTPUT_BYTES_MAX, left):
                values[step.name] = msgspec.Raw(text)
                left -= len(text)
        effects = tuple(self._effects)
        return Outputs(len(self._item.steps), values, artifacts, effects)


def _part(answer: object, name: str) -> object:
    return cast("dict[str, object]", answer).get(name, "") if isinstance(answer, dict) else ""


def _tries(step: Step) -> int | None:
    """The plan counts further tries after the first, the door counts all of them."""
    return None if step.retry is None else step.retry + 1


def names_used(checks: tuple[Evidence, ...]) -> frozenset[str]:
    """The names that the templates of checks begin with: steps, and the row.

    Raises:
        Nothing.
    """
    return frozenset(
        part.root for check in checks for part in parts_of(check.fields) if isinstance(part, Expr)
    )


async def digest_of_file(folder: str, path: str) -> str:
    """SHA-256 of a file in hexadecimal, or nothing where there is none.

    Raises:
        Fault: it is there and cannot be read.
    """
    try:
        return (await Files(Path(folder)).read(path)).sha256
    except Fault as fault:
        if fault.kind is FaultKind.NOT_FOUND:
            return ""
        raise
