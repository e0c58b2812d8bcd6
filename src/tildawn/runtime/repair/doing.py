"""Carries out a plan of repair: exactly what it says, or nothing further.

What it is not: a change of history.  A repair is new facts, and files put back whole.

A kill at any moment leaves a plan that was begun; the same hash goes on with it.  Every step is
harmless to repeat: what it would bring about is looked for first.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

import msgspec

from tildawn.errors import PlanChanged
from tildawn.facts.fact import FactData, Payload
from tildawn.facts.picture import (
    Drawn,
    PictureCondemned,
    PictureMeasured,
    PictureNoted,
    PicturesConstrained,
    PicturesOpened,
    RepairBegun,
    RepairEnded,
)
from tildawn.ledger.entry import Committed, Entry
from tildawn.ledger.fold import Expect, Row
from tildawn.ledger.ledger import Ledger
from tildawn.projections.damage import Looked
from tildawn.projections.picture import PictureLostRow, PictureRow, PictureRuleRow, RepairRow
from tildawn.runtime.repair.plan import Do, RepairPlan, Step, copy_of, plan_repair
from tildawn.units import Seq


CHUNK = 256
"""Facts of one append."""

R = TypeVar("R", bound=Row)


class Repaired(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair did; ``fresh`` is False when all of it had been done before."""

    plan: str
    fresh: bool
    measured: int = 0
    restored: int = 0
    condemned: int = 0


async def apply_repair(ledger: Ledger, plan: str, *, source: Path | None = None) -> Repaired:
    """Do what a plan says.

    Args:
        ledger: open to write.
        plan: its hash, as `plan_repair` gives it now, or of a plan that was begun.
        source: as for the plan; a plan that was begun remembers its own.

    Returns:
        What was done, all of the plan together.

    Raises:
        PlanChanged: what is wrong now is not what the plan says.
        TildawnError: the house cannot be read or written.
        OSError: a file cannot be put back.
    """
    with ledger.read() as reader:
        row = reader.get(RepairRow, plan)
        text = reader.payload(Seq(row.begun), 0) if row is not None else None
    if row is not None and row.ended >= 0:
        return Repaired(
            plan=plan, fresh=False, measured=row.measured, restored=row.restored,
            condemned=row.condemned,
        )  # fmt: skip
    if text is not None:
        found = msgspec.json.decode(text, type=RepairPlan)
    else:
        found = await asyncio.to_thread(plan_repair, ledger, source=source)
        _check_hash(found, plan)
        await _begin(ledger, found)
    return await _Doing(ledger, found).all()


def _check_hash(found: RepairPlan, plan: str) -> None:
    if found.hash != plan:
        message = f"what is wrong now is not what plan {plan[:12]}… says; nothing was done"
        raise PlanChanged(message, hint="tildawn repair --plan")


async def _begin(ledger: Ledger, plan: RepairPlan) -> None:
    """Keep the plan; a crash from here on leaves it begun, and the next start goes on with it."""
    text = ledger.payload(msgspec.json.encode(plan))
    data = RepairBegun(plan=plan.hash, steps=len(plan.steps), text=text.digest)
    entry = ledger.draft(data, actor="owner", payloads=(text,))
    await ledger.append([entry], expect=[_same(RepairRow, (plan.hash,), None)])


class _Doing:
    """One plan on its way."""

    def __init__(self, ledger: Ledger, plan: RepairPlan) -> None:
        self._ledger = ledger
        self._plan = plan
        self._hash = plan.hash
        self._looked = Looked(ledger.blobs)
        self._how: Mapping[Do, Callable[[Sequence[Step]], Awaitable[None]]] = {
            "open": self._open,
            "note": self._note,
            "restore": self._restore,
            "measure": self._measure,
            "condemn": self._condemn,
            "constrain": self._constrain,
        }

    async def all(self) -> Repaired:
        """Every step in order; those that are done already are passed over."""
        for do, steps in groupby(self._plan.steps, key=attrgetter("do")):
            for some in _chunks(list(steps)):
                await self._how[do](some)
        done = Repaired(
            plan=self._hash, fresh=True, measured=self._count("measure"),
            restored=self._count("restore"), condemned=self._count("condemn"),
        )  # fmt: skip
        ended = RepairEnded(
            plan=self._hash, measured=done.measured, restored=done.restored,
            condemned=done.condemned,
        )  # fmt: skip
        await self._append([self._draft(ended)], [])
        return done

    def _count(self, do: Do) -> int:
        return sum(step.do == do for step in self._plan.steps)

    async def _open(self, _: Sequence[Step]) -> None:
        rule = self._get(PictureRuleRow, 0)
        if rule is None or not rule.open:
            opened = self._draft(PicturesOpened(plan=self._hash))
            await self._append([opened], [_same(PictureRuleRow, (0,), rule)])

    async def _note(self, steps: Sequence[Step]) -> None:
        entries: list[Entry] = []
        expect: list[Expect] = []
        for step in steps:
            if self._row(step) is not None or self._lost(step) is not None:
                continue
            data = PictureNoted(attempt=step.attempt, blob=step.blob, media=step.media)
            entries.append(self._draft(data, step))
            expect.append(_same(PictureRow, _key(step), None))
        await self._append(entries, expect)

    async def _restore(self, steps: Sequence[Step]) -> None:
        """Put whole copies back; a crash leaves the file as it was, aside, or whole."""
        blobs = self._ledger.blobs
        for step in steps:
            if isinstance(self._looked.at(step.blob), Drawn):
                continue
            source = Path(self._plan.source) if self._plan.source else None
            content = await asyncio.to_thread(copy_of, source, step.blob)
            if content is None:
                raise _changed(step, f"its copy in {self._plan.source} is gone")
            await asyncio.to_thread(blobs.set_aside, step.blob)
            await asyncio.to_thread(blobs.put, content)

    async def _measure(self, steps: Sequence[Step]) -> None:
        entries: list[Entry] = []
        expect: list[Expect] = []
        for step in steps:
            wanted = Drawn(step.blob, step.media, step.width, step.height, step.size_bytes)
            row, lost = self._row(step), self._lost(step)
            if row is not None and not row.damage and _says(row) == wanted:
                continue
            found = await asyncio.to_thread(self._looked.at, step.blob)
            if found != wanted or (row is None and lost is None):
                raise _changed(step, "it is not what the plan measured")
            data = PictureMeasured(attempt=step.attempt, picture=wanted)
            entries.append(self._draft(data, step))
            expect += [
                _same(PictureRow, _key(step), row),
                _same(PictureLostRow, _key(step), lost),
            ]
        await self._append(entries, expect)

    async def _condemn(self, steps: Sequence[Step]) -> None:
        entries: list[Entry] = []
        expect: list[Expect] = []
        for step in steps:
            row = self._row(step)
            if row is None and self._lost(step) is not None:
                continue
            found = await asyncio.to_thread(self._looked.at, step.blob)
            if row is None or isinstance(found, Drawn) or found[0] != step.was:
                raise _changed(step, "it is not lost in the way that the plan says")
            detail = self._ledger.payload(msgspec.json.encode(step.detail))
            data = PictureCondemned(
                attempt=step.attempt, blob=step.blob, why=step.was, plan=self._hash,
                detail=detail.digest,
            )  # fmt: skip
            entries.append(self._draft(data, step, detail))
            expect.append(_same(PictureRow, _key(step), row))
        await self._append(entries, expect)

    async def _constrain(self, _: Sequence[Step]) -> None:
        rule = self._get(PictureRuleRow, 0)
        if rule is not None and rule.open:
            # The table itself refuses this while a measure is missing.
            closed = self._draft(PicturesConstrained(plan=self._hash))
            await self._append([closed], [_same(PictureRuleRow, (0,), rule)])

    # -- shared ----------------------------------------------------------------------------

    def _draft(self, data: FactData, step: Step | None = None, *payloads: Payload) -> Entry:
        run, path = (step.run, step.path) if step is not None else ("", "")
        return self._ledger.draft(data, run=run, path=path, actor="owner", payloads=payloads)

    async def _append(self, entries: Sequence[Entry], expect: Sequence[Expect]) -> None:
        if not entries:
            return
        answer = await self._ledger.append(entries, expect=expect)
        if not isinstance(answer, Committed):
            message = "a picture changed while it was being repaired; nothing further was done"
            raise PlanChanged(message, hint="tildawn repair --plan")

    def _row(self, step: Step) -> PictureRow | None:
        return self._get(PictureRow, *_key(step))

    def _lost(self, step: Step) -> PictureLostRow | None:
        return self._get(PictureLostRow, *_key(step))

    def _get(self, row: type[R], *key: int | str) -> R | None:
        with self._ledger.read() as reader:
            return reader.get(row, *key)


def _key(step: Step) -> tuple[str, str, int]:
    return step.run, step.path, step.attempt


def _says(row: PictureRow) -> Drawn | None:
    if row.width is None or row.height is None or row.size_bytes is None:
        return None
    return Drawn(row.blob, row.media, row.width, row.height, row.size_bytes)


def _same(row: type[Row], key: tuple[int | str, ...], was: Row | None) -> Expect:
    def test(now: Row | None) -> bool:
        return now == was

    return Expect(row=row, key=key, test=test, why="moved")


def _changed(step: Step, what: str) -> PlanChanged:
    message = f"the picture at {step.path or step.blob} has changed since the plan: {what}"
    return PlanChanged(message, hint="tildawn repair --plan")


def _chunks(steps: list[Step]) -> Iterator[list[Step]]:
    for start in range(0, len(steps), CHUNK):
        yield steps[start : start + CHUNK]
