"""Rows become runs, a chunk at a time: one append says which rows, and accepts their runs.

What it is not: eager.  No more runs are accepted than the night can soon begin, and rows with
checks are looked at before their runs exist.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, cast

import msgspec

from tildawn.apps.night.acceptance import task_of
from tildawn.apps.night.copies import Kept
from tildawn.apps.night.desk import Desk
from tildawn.apps.night.looking import NOT_RUN, UNMET, Seen
from tildawn.apps.night.names import (
    BEFORE,
    ITEM,
    before_subject,
    check_queue,
    item_queue,
    night_scope,
    run_key,
    scopes,
)
from tildawn.apps.night.permits import CHECKS, WORK
from tildawn.apps.night.progress import AT_REST, ItemState, cover
from tildawn.engine.owner import Options, accept
from tildawn.engine.task import TaskDef
from tildawn.errors import InvariantViolated
from tildawn.facts.call import BudgetSet
from tildawn.facts.night import EvidenceBaselined, ItemExpanded, RowCovered
from tildawn.facts.plan import Item, MapOf, Once
from tildawn.ids import RunId
from tildawn.ledger.entry import Committed, Entry
from tildawn.ledger.fold import Expect, Row
from tildawn.ledger.reader import Reader
from tildawn.projections.night import ItemRow, NightRow
from tildawn.projections.permit import permit_for
from tildawn.projections.run import RunKeyRow, RunRow
from tildawn.runtime.plan import PlanRow, render
from tildawn.runtime.plan.scope import ROW
from tildawn.units import Seq


CHUNK = 200
"""Rows of one append: with a budget each it has 401 facts, a fraction of what an append may."""

LOOKED_AT = 16
"""Rows looked at together before their work: as many connections as a small server bears."""


class Expansion:
    """Makes the runs of one night."""

    def __init__(self, desk: Desk, kept: Kept, *, concurrency: int) -> None:
        """Take the accepted plan.

        Args:
            desk: the house.
            kept: what was accepted.
            concurrency: runs of an item at once where the plan does not say.
        """
        self._desk = desk
        self._kept = kept
        self._concurrency = concurrency
        self._night = kept.said.night
        self._rows: dict[str, _Rows] = {}

    def open(self, item: Item) -> None:
        """Let runs of an item start."""
        queue = item_queue(self._night, item.id)
        self._desk.gate(queue, item.concurrency or self._concurrency)

    def shut(self, item: Item) -> None:
        """Let no further run of an item start."""
        self._desk.gate(item_queue(self._night, item.id), 0)

    async def more(self, state: ItemState, room: int) -> bool:
        """Make more runs of an item.

        Args:
            state: the item; taken along.
            room: how many runs may be accepted, >= 1.

        Returns:
            Whether runs were accepted; with checks, a look comes first and its end is waited for.

        Raises:
            TildawnError: the ledger takes nothing.
        """
        if not state.item.evidence:
            return await self._expand(state, self._ahead(state, min(room, CHUNK)), None)
        with self._desk.ledger.read() as reader:
            last = self._last_look(reader, state)
        if last is None:
            await self._look_at(state, self._ahead(state, min(room, LOOKED_AT)))
            return False
        if last.state not in AT_REST:
            return False
        if last.state == "held":
            await self._desk.owner.cancel(last.run, "its rows go on without it")
        count, seen = self._seen(last)
        return await self._expand(state, self._ahead(state, count), seen)

    def _ahead(self, state: ItemState, count: int) -> list[PlanRow]:
        """The next rows of an item that are no runs yet."""
        rows = self._rows.get(state.item.id)
        if rows is None or rows.at != state.expanded:
            source = self._desk.copies.rows(self._night, state.item.id, start=state.expanded)
            rows = self._rows[state.item.id] = _Rows(source, state.expanded)
        return rows.ahead(count)

    # -- looking before the work -----------------------------------------------------------

    def _last_look(self, reader: Reader, state: ItemState) -> RunRow | None:
        """The look at the next rows; one from before the night was last opened is too old."""
        about = before_subject(self._night, state.item.id, state.expanded)
        found = reader.rows(RunRow, "evidence_for = ? AND task = ?", (about, BEFORE),
                            order="accepted DESC", limit=1)  # fmt: skip
        night = cast("NightRow", reader.get(NightRow, self._night))
        fresh = found and found[0].accepted_at >= night.last_opened_at
        return found[0] if fresh else None

    async def _look_at(self, state: ItemState, rows: Sequence[PlanRow]) -> None:
        task = self._desk.task(BEFORE)
        cells = [dict(row.item) for row in rows]
        text = task.arguments.encode((), {"night": self._night, "item": state.item.id,
                                          "rows": cells})  # fmt: skip
        options = Options(
            queue=check_queue(self._night), night=self._night, item=state.item.id,
            evidence_for=before_subject(self._night, state.item.id, state.expanded),
            budgets=(night_scope(self._night),), simulated=self._kept.said.simulated,
            priority=state.item.priority, permit=self._permit(state.item, CHECKS),
        )  # fmt: skip
        await self._desk.ledger.append(
            [accept(self._desk.ledger, self._desk.ids, task, text, options)]
        )
        self._desk.engine.wake()

    def _seen(self, look: RunRow) -> tuple[int, list[list[Seen]] | None]:
        """How many rows a look was at, and what it saw; nothing when it came to nothing."""
        ledger = self._desk.ledger
        with ledger.read() as reader:
            asked = msgspec.json.decode(reader.payload(Seq(look.args_at), 0), type=_Rowed)
            if look.state != "done":
                return len(asked.rows), None
            text = reader.payload(Seq(look.state_at), 0)
        return len(asked.rows), msgspec.json.decode(text, type=list[list[Seen]])

    # -- accepting -------------------------------------------------------------------------

    async def _expand(
        self, state: ItemState, rows: Sequence[PlanRow], seen: list[list[Seen]] | None
    ) -> bool:
        """Accept the runs of some rows, all or none."""
        start, item = state.expanded, state.item
        stop = start + len(rows)
        draft = self._desk.ledger.draft
        entries = [draft(ItemExpanded(night=self._night, item=item.id, start=start, stop=stop))]
        task = task_of(item, self._kept.folder, self._desk.task(ITEM))
        made = [
            self._row(item, task, row, seen[at] if seen is not None else None)
            for at, row in enumerate(rows)
        ]
        entries += [entry for one in made for entry in one.entries]
        expect = _expanded_to(self._night, item.id, start)
        answer = await self._desk.ledger.append(entries, expect=[expect])
        if not isinstance(answer, Committed):
            message = f"the rows of {item.id} from {start} on are no runs, and cannot become any"
            raise InvariantViolated(message, why=answer.why)
        self._rows[item.id].drop(len(rows))
        state.expanded = stop
        state.open.update(one.run for one in made if one.run)
        with self._desk.ledger.read() as reader:
            for one in made:
                if one.by:
                    cover(reader, state, one.by)
        self._desk.engine.wake()
        return True

    def _row(
        self, item: Item, task: TaskDef[..., Any], row: PlanRow, seen: list[Seen] | None
    ) -> "_Made":
        """What accepts the run of one row, or says whose run covers it."""
        draft, index = self._desk.ledger.draft, _index(item, row)
        turn, by = self._turn(item, row)
        if by:
            covered = RowCovered(night=self._night, item=item.id, row=index, by=by)
            return _Made([draft(covered)], "", by)
        text = self._arguments(item, task, row)
        options = self._options(item, row, run_key(self._kept.said, item, row.key, turn=turn))
        if task.limit_key is not None:
            limit_key = task.limit_key(**task.arguments.decode(text))
            options = msgspec.structs.replace(options, limit_key=limit_key)
        entry = accept(self._desk.ledger, self._desk.ids, task, text, options)
        run = entry.fact.run
        entries = [draft(one) for one in self._baselines(item, index, seen)]
        if item.budget is not None:
            limit = BudgetSet(scope=f"run/{run}", limit_micro_usd=item.budget, reason="plan")
            entries.append(draft(limit))
        return _Made([*entries, entry], RunId(run), "")

    def _turn(self, item: Item, row: PlanRow) -> tuple[int, str]:
        """For a key that may be done once ever: the turn it is at, and who has it."""
        if item.once is not Once.EVER:
            return 0, ""
        turn = 0
        with self._desk.ledger.read() as reader:
            while True:
                key = run_key(self._kept.said, item, row.key, turn=turn)
                known = reader.get(RunKeyRow, self._desk.ledger.keyed(f"key {key}"))
                if known is None:
                    return turn, ""
                run = reader.get(RunRow, known.run)
                if run is None or run.state not in {"failed", "cancelled"}:
                    return turn, known.run
                turn += 1

    def _baselines(
        self, item: Item, row: int, seen: list[Seen] | None
    ) -> Iterator[EvidenceBaselined]:
        for index, check in enumerate(item.evidence):
            saw = seen[index] if seen is not None and index < len(seen) else Seen(NOT_RUN)
            # What only a comparison can decide cannot have been true before.
            yield EvidenceBaselined(
                night=self._night, item=item.id, row=row, index=index, kind=check.kind,
                saw=UNMET if saw.compares else saw.saw, digest=saw.digest,
            )  # fmt: skip

    def _arguments(self, item: Item, task: TaskDef[..., Any], row: PlanRow) -> bytes:
        if item.task is not None:
            return task_input(item, row)
        return task.arguments.encode(
            (), {"night": self._night, "item": item.id, "cells": dict(row.item)}
        )

    def _options(self, item: Item, row: PlanRow, key: str) -> Options:
        own, total, night = scopes(self._night, item.id)
        budgets = (
            *((own,) if item.budget is not None else ()),
            *((total,) if item.budget_total is not None else ()),
            night,
        )
        return Options(
            key=key, label=row.key, subject=row.subject, queue=item_queue(self._night, item.id),
            priority=item.priority, night=self._night, item=item.id, row=_index(item, row),
            budgets=budgets, simulated=self._kept.said.simulated, lane=item.lane.value,
            permit=self._permit(item, WORK),
        )  # fmt: skip

    def _permit(self, item: Item, part: str) -> str:
        with self._desk.ledger.read() as reader:
            return permit_for(reader, self._night, item.id, part)


def task_input(item: Item, row: PlanRow) -> bytes:
    """What a Python task is given for a row, as a JSON object.

    Raises:
        BadValue: a template does not fit the row.
    """
    scope = {ROW: row.item} if item.for_each is not None else {}
    return msgspec.json.encode(render(item.input or MapOf(), scope))


def _index(item: Item, row: PlanRow) -> int:
    return row.index if item.for_each is not None else -1


def _expanded_to(night: str, item: str, start: int) -> Expect:
    def test(row: Row | None) -> bool:
        return isinstance(row, ItemRow) and row.expanded == start

    return Expect(row=ItemRow, key=(night, item), test=test, why="expanded")


class _Made(msgspec.Struct, frozen=True):
    """The entries of one row; the run that was made, or the one that covers it."""

    entries: list[Entry]
    run: str
    by: str


class _Rowed(msgspec.Struct, frozen=True):
    """The part of a look's arguments that says how many rows it is at."""

    rows: list[dict[str, str]]


class _Rows:
    """Rows read ahead of what became runs."""

    def __init__(self, source: Iterator[PlanRow], at: int) -> None:
        self._source = source
        self._held: list[PlanRow] = []
        self.at = at

    def ahead(self, count: int) -> list[PlanRow]:
        """The next rows, as many as there are up to a number; they stay."""
        self._held += islice(self._source, max(count - len(self._held), 0))
        return self._held[:count]

    def drop(self, count: int) -> None:
        """The first rows became runs."""
        del self._held[:count]
        self.at += count
