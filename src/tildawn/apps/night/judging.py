"""Runs that look: before the work, after it, and the question that only the owner can answer.

What it is not: the doer.  Each look is a run of its own, after the doer has ended or before it
begins, and it only reads.

# HOLE: checks that a Python task registers itself (``@task(evidence=…)``) are not run yet; only
# those of a plan are.
# HOLE: a command of a check is trusted to only look; nothing keeps it from writing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from tildawn.apps.night.copies import Copies
from tildawn.apps.night.execution import Outputs
from tildawn.apps.night.looking import (
    MET,
    NOT_RUN,
    UNMET,
    Look,
    Seen,
    look,
    needs_an_answer,
    rendered,
)
from tildawn.apps.night.names import AFTER, ASK, BEFORE
from tildawn.engine.task import Retry, TaskDef, task
from tildawn.errors import BadPlan, BadValue
from tildawn.facts.night import Observed
from tildawn.facts.plan import Item
from tildawn.facts.run import RunAnswered, RunDone
from tildawn.ledger.ledger import Ledger
from tildawn.runtime.context import Context
from tildawn.runtime.plan.scope import ROW


VERIFIED, REFUTED, NO_CHANGE, UNKNOWN = "verified", "refuted", "no-change", "unknown"

YES_OR_NO = ("yes", "no")
"""What may be answered where the plan does not say; the first one verifies."""

_RETRY = Retry(attempts=2)


class Judged(msgspec.Struct, frozen=True):
    """What one check says of the work; ``choices`` are those of a question."""

    kind: str
    verdict: str
    detail: str = ""
    choices: tuple[str, ...] = ()


class Judgement(msgspec.Struct, frozen=True):
    """What all checks of a run say, in their order, and the files that they saw change."""

    checks: tuple[Judged, ...]
    effects: tuple[Observed, ...] = ()


def check_tasks(copies: Copies, ledger: Ledger) -> tuple[TaskDef[..., Any], ...]:
    """The tasks that look.

    Args:
        copies: where accepted plans are read from.
        ledger: where the outputs of a judged run stand.

    Raises:
        Nothing.
    """

    @task(name=BEFORE, retry=_RETRY)
    async def before(
        ctx: Context, night: str, item: str, rows: list[dict[str, str]]
    ) -> list[list[Seen]]:
        eyes = _Eyes(ctx, _item(copies, night, item), ledger)
        return await ctx.gather(*[eyes.look(_row_scope(eyes.item, cells)) for cells in rows])

    @task(name=AFTER, retry=_RETRY)
    async def after(
        ctx: Context, night: str, item: str, cells: dict[str, str], judged: str,
        before: list[Seen],
    ) -> Judgement:  # fmt: skip
        eyes = _Eyes(ctx, _item(copies, night, item), ledger)
        outputs = await ctx.step(outputs_of, judged)
        scope = {**_row_scope(eyes.item, cells), **outputs.scope()}
        found = _judgement(eyes.item, scope, before, await eyes.look(scope))
        told = {one.target for one in outputs.effects}
        more = tuple(one for one in found.effects if one.target not in told)
        return Judgement(found.checks, more)

    @task(name=ASK, retry=_RETRY)
    async def ask(ctx: Context, judged: str, index: int, verifies: str) -> str:
        del judged, index, verifies  # said for whoever keeps the answer
        return await ctx.step(answer_to, ctx.run)

    async def outputs_of(run: str) -> Outputs:
        return outputs_in(ledger, run)

    async def answer_to(run: str) -> str:
        with ledger.read() as reader:
            said = [fact.data for _, fact in reader.history(run)]
        return next((one.choice for one in reversed(said) if isinstance(one, RunAnswered)), "")

    return before, after, ask


def outputs_in(ledger: Ledger, run: str) -> Outputs:
    """What a finished run of an item handed on; nothing for a run of a user's own task.

    Raises:
        PayloadErased: its result was erased.
    """
    with ledger.read() as reader:
        done = [seq for seq, fact in reader.history(run) if isinstance(fact.data, RunDone)]
        text = reader.payload(done[-1], 0) if done else b""
    try:
        return msgspec.json.decode(text, type=Outputs)
    except msgspec.DecodeError:
        return Outputs(0)


def _item(copies: Copies, night: str, item: str) -> tuple[Item, str]:
    kept = copies.of(night)
    found = kept.plan.item(item)
    if found is None:
        message = f"the accepted plan has no item {item!r}"
        raise BadPlan(message)
    return found, kept.folder


def _row_scope(item: Item, cells: Mapping[str, str]) -> dict[str, object]:
    return {ROW: cells} if item.for_each is not None else {}


class _Eyes:
    """Looks once for each check of an item."""

    def __init__(self, ctx: Context, found: tuple[Item, str], ledger: Ledger) -> None:
        self.item, self._folder = found
        self._ctx = ctx
        self._ledger = ledger

    async def look(self, scope: Mapping[str, object]) -> list[Seen]:
        """What the checks see for one row, in their order."""
        return [
            await look(
                Look(
                    self._ctx, check, scope=scope, folder=self._folder,
                    blob_path=self._ledger.blobs.path, name=f"check-{index + 1}",
                )
            )
            for index, check in enumerate(self.item.evidence)
        ]  # fmt: skip


def _judgement(
    item: Item, scope: Mapping[str, object], before: Sequence[Seen], seen: Sequence[Seen]
) -> Judgement:
    checks: list[Judged] = []
    effects: list[Observed] = []
    for index, check in enumerate(item.evidence):
        earlier = before[index] if index < len(before) else Seen(NOT_RUN)
        if needs_an_answer(check):
            checks.append(_question(rendered_or_nothing(item, index, scope)))
            continue
        checks.append(judge(check.kind, earlier, seen[index]))
        effects += changed(earlier, seen[index])
    return Judgement(tuple(checks), tuple(effects))


def rendered_or_nothing(item: Item, index: int, scope: Mapping[str, object]) -> dict[str, object]:
    """The fields of a check, or none where a template names what is not there.

    Raises:
        Nothing.
    """
    try:
        return rendered(item.evidence[index].fields, scope)
    except BadValue as error:
        return {"question": error.message}


def _question(fields: Mapping[str, object]) -> Judged:
    given = cast("list[object]", fields.get("choices") or YES_OR_NO)
    choices = tuple(str(one) for one in given)
    return Judged("human", UNKNOWN, str(fields["question"]), choices)


def judge(kind: str, before: Seen, after: Seen) -> Judged:
    """What two looks say together.

    Args:
        kind: of the check.
        before: what it saw before the work.
        after: what it saw after the work.

    Returns:
        *verified* only for what was seen to be so after the work and not before it.

    Raises:
        Nothing.
    """
    if after.saw == NOT_RUN:
        return Judged(kind, NOT_RUN, after.detail)
    if after.saw == UNMET:
        return Judged(kind, REFUTED, after.detail)
    if after.compares:
        if before.saw == NOT_RUN:
            return Judged(kind, NOT_RUN, f"nothing to compare with: {before.detail}")
        if before.digest == after.digest:
            return Judged(kind, REFUTED, f"{after.target} has not changed")
        return Judged(kind, VERIFIED, after.detail)
    return Judged(kind, NO_CHANGE if before.saw == MET else VERIFIED, after.detail)


def changed(before: Seen, after: Seen) -> list[Observed]:
    """The file of a check, if both looks saw it and it differs.

    Raises:
        Nothing.
    """
    if not after.target or NOT_RUN in {before.saw, after.saw} or before.digest == after.digest:
        return []
    return [Observed("file", after.target, before.digest, after.digest)]
