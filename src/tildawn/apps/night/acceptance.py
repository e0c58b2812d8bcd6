"""Acceptance: a plan and copies of all it was made from become a night, or nothing does.

What it is not: preflight, which looks at the world.  This looks at the plan and the ledger.
"""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from tildawn.apps.night.copies import ACCEPTED, rows_name
from tildawn.apps.night.names import night_scope
from tildawn.apps.night.permits import permits_of
from tildawn.apps.night.window import Hours, hours_of
from tildawn.engine.task import TaskDef
from tildawn.errors import BadTask, Misused
from tildawn.facts.call import BudgetSet
from tildawn.facts.night import NightClosed, PlanAccepted
from tildawn.facts.plan import Item, Plan, Role, TaskRef, plan_bytes
from tildawn.ids import Ids
from tildawn.ledger.entry import Entry, Unmet
from tildawn.ledger.fold import Expect, Row
from tildawn.ledger.ledger import Ledger
from tildawn.projections.night import NightRow, latest_night
from tildawn.runtime.plan import Compiled, resolve_task, snapshot_of
from tildawn.runtime.task import Place, located
from tildawn.units import SECOND, Micros


AGAIN_AFTER = Micros(12 * 3_600 * SECOND)
"""How long after its night ended the same plan is not taken for a new one unasked: a service
manager that starts the command again and again must not do the work again and again, and the
next evening is farther away than that."""


class Edited(StrEnum):
    """What to do when a night of the plan is unfinished, or ended just now."""

    ASK = "ask"
    CONTINUE = "continue"
    NEW = "new"


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How a plan is to be accepted."""

    at_window: bool = False
    simulated: bool = False
    edited: Edited = Edited.ASK


class Chosen(msgspec.Struct, frozen=True):
    """The night to work on; ``fresh`` is False for one that is continued."""

    night: str
    fresh: bool


async def accept_night(
    ledger: Ledger, ids: Ids, *, compiled: Compiled, terms: Terms, now: Micros
) -> Chosen:
    """Accept a plan as a night, or find the unfinished night that it continues.

    A crash before the append leaves blobs that nothing names, which are swept; one after it
    leaves a whole night.

    Args:
        ledger: open for writing.
        ids: names the night.
        compiled: the checked plan with the bytes of its files.
        terms: how.
        now: the instant.

    Returns:
        The night.

    Raises:
        Misused: the plan was edited since its unfinished night was accepted, or its night ended
            just now, and nobody said what to do; or it names no window.
        BadTask: a task that it names cannot be imported.
    """
    snapshot = snapshot_of(compiled)
    content = snapshot.accepted.digest
    place = place_of(ledger, Path(compiled.folder, Path(compiled.file).name))
    with ledger.read() as reader:
        latest = latest_night(reader, place)
    unfinished = latest if latest is not None and latest.state != "closed" else None
    if latest is not None and terms.edited is not Edited.NEW:
        same = latest.content == content and bool(latest.simulated) == terms.simulated
        if unfinished is not None and (same or terms.edited is Edited.CONTINUE):
            return Chosen(unfinished.night, fresh=False)
        if unfinished is not None:
            raise _edited(unfinished, compiled.file)
        if ended_just_now(latest, now=now, content=content, simulated=terms.simulated):
            raise just_ended(latest, compiled.file, now)
    hours = hours_of(compiled.plan.night, now, at_window=terms.at_window)
    draft = _Draft(ledger, compiled, unfinished.night if unfinished else "")
    said = PlanAccepted(
        night=ids.new(), plan="", source="", place=place, content=content,
        inputs=await draft.keep(snapshot.accepted), simulated=terms.simulated,
        **draft.numbers(hours),
    )  # fmt: skip
    permits = permits_of(ledger, ids, compiled.plan, said.night, now=now)
    answer = await ledger.append([*draft.entries(said), *permits], expect=draft.expect())
    if isinstance(answer, Unmet):
        return await accept_night(ledger, ids, compiled=compiled, terms=terms, now=now)
    return Chosen(said.night, fresh=True)


def place_of(ledger: Ledger, plan: Path) -> str:
    """The keyed digest of where a plan file is, by which its nights are found.

    Raises:
        Nothing.
    """
    return ledger.keyed(str(plan.resolve()))


def ended_just_now(row: NightRow, *, now: Micros, content: str, simulated: bool) -> bool:
    """Whether a night with the same content ended so short a time ago that nobody means it again.

    Raises:
        Nothing.
    """
    same = row.content == content and bool(row.simulated) == simulated
    return same and row.state == "closed" and 0 <= now - row.closed_at < AGAIN_AFTER


def _edited(row: NightRow, file: str) -> Misused:
    message = f"night {row.number} of {file} is not finished, and the plan was edited since"
    hint = (
        f"tildawn night {file} --continue goes on with the plan as it was accepted;"
        f" --new gives that night up and begins another"
    )
    return Misused(message, hint=hint, night=row.night)


def just_ended(row: NightRow, file: str, now: Micros) -> Misused:
    """What is said to whoever asks for the same night again so soon.

    Raises:
        Nothing.
    """
    hours, minutes = divmod((now - row.closed_at) // (60 * SECOND), 60)
    ago = f"{hours} h {minutes} min" if hours else f"{minutes} min"
    message = (
        f"night {row.number} of {file} ended {ago} ago ({row.outcome}), and the plan is the same;"
        " nothing was begun"
    )
    hint = f"tildawn report {row.number}; or, to do all of it again: tildawn night {file} --new"
    return Misused(message, hint=hint, night=row.night)


class _Draft:
    """The one append of an acceptance."""

    def __init__(self, ledger: Ledger, compiled: Compiled, replaced: str) -> None:
        self._ledger = ledger
        self._compiled = compiled
        self._replaced = replaced
        self._blobs: tuple[str, ...] = ()

    async def keep(self, accepted: object) -> dict[str, str]:
        """Put copies of everything into the house; by name, their blobs."""
        bodies = {
            rows_name(copy.source.item): copy.body
            for copy in self._compiled.copies
            if copy.source.role is Role.ROWS
        }
        bodies[ACCEPTED] = msgspec.json.encode(accepted, order="sorted")
        put = self._ledger.blobs.put
        kept = {name: await asyncio.to_thread(put, body) for name, body in bodies.items()}
        self._blobs = tuple(sorted(set(kept.values())))
        return kept

    def numbers(self, hours: Hours) -> dict[str, Any]:
        """What the plan says of the night, as fields of the fact."""
        plan = self._compiled.plan
        night = plan.night
        return {
            "planned": {item.id: item.runs for item in plan.items},
            "opens": hours.opens, "closes": hours.closes, "report_at": hours.report_at,
            "zone": night.zone or "UTC", "continues": self._replaced,
            "budget_micro_usd": -1 if night.budget is None else night.budget,
            "stop_in_a_row": night.stop.in_a_row, "stop_total": night.stop.total,
        }  # fmt: skip

    def entries(self, said: PlanAccepted) -> list[Entry]:
        """The plan, its budgets, the places of its tasks, and the end of the night it replaces."""
        draft, plan = self._ledger.draft, self._compiled.plan
        texts = (
            self._ledger.payload(plan_bytes(plan)),
            self._ledger.payload(msgspec.json.encode(_source(self._compiled))),
            None,
        )
        said = msgspec.structs.replace(said, plan=texts[0].digest, source=texts[1].digest)
        entries = [draft(said, payloads=texts, blobs=self._blobs)]
        entries += [draft(one) for one in _budgets(plan, said.night)]
        for ref in task_refs(plan):
            task = task_at(self._compiled.folder, ref)
            place = Place(module=ref.module, function=ref.function, folder=self._compiled.folder)
            entries += located(self._ledger, task.name, place)
        if self._replaced:
            entries.append(draft(NightClosed(night=self._replaced, outcome="replaced")))
        return entries

    def expect(self) -> list[Expect]:
        """That the replaced night is not over yet."""
        if not self._replaced:
            return []
        return [Expect(row=NightRow, key=(self._replaced,), test=_not_closed, why="closed")]


def _not_closed(row: Row | None) -> bool:
    return isinstance(row, NightRow) and row.state != "closed"


def _source(compiled: Compiled) -> str:
    plan = next(copy for copy in compiled.copies if copy.source.role is Role.PLAN)
    return plan.body.decode("utf-8", "replace")


def _budgets(plan: Plan, night: str) -> list[BudgetSet]:
    found: list[BudgetSet] = []
    if plan.night.budget is not None:
        found.append(_budget(night_scope(night), plan.night.budget))
    found += [
        _budget(f"item/{night}/{item.id}", item.budget_total)
        for item in plan.items
        if item.budget_total is not None
    ]
    return found


def _budget(scope: str, limit: int) -> BudgetSet:
    return BudgetSet(scope=scope, limit_micro_usd=limit, reason="plan")


def task_refs(plan: Plan) -> list[TaskRef]:
    """The Python tasks that a plan names, each once.

    Raises:
        Nothing.
    """
    return list(dict.fromkeys(item.task for item in plan.items if item.task is not None))


def task_at(folder: str, ref: TaskRef) -> TaskDef[..., Any]:
    """The task that a plan names.

    Raises:
        BadTask: it cannot be imported, or is no durable task.
    """
    found = resolve_task(folder, ref)
    if not isinstance(found, TaskDef):
        message = f"{ref.module}:{ref.function} is no task"
        raise BadTask(message, hint="declare it with @task")
    return found  # pyright: ignore[reportUnknownVariableType]  # its parameters are its own


def task_of(item: Item, folder: str, work: TaskDef[..., Any]) -> TaskDef[..., Any]:
    """What runs for a row of an item: its own task, or ``work`` that walks its steps.

    Raises:
        BadTask: see `task_at`.
    """
    return work if item.task is None else task_at(folder, item.task)
