"""After a run has ended: its effects are told, its checks are run, and what they say is kept.

What it is not: the checks; those are runs of their own, in ``judging``.  Each thing told here
follows from the ledger, so that a crash anywhere leaves it to be told by the next holder.
"""

from collections.abc import Sequence

import msgspec

from tildawn.apps.night.copies import Kept
from tildawn.apps.night.desk import Desk
from tildawn.apps.night.judging import (
    NOT_RUN,
    REFUTED,
    UNKNOWN,
    VERIFIED,
    Judged,
    Judgement,
    outputs_in,
)
from tildawn.apps.night.looking import Seen
from tildawn.apps.night.names import AFTER, ASK, check_queue, night_scope
from tildawn.apps.night.permits import CHECKS
from tildawn.apps.night.progress import Progress
from tildawn.engine.owner import Options, accept
from tildawn.facts.night import EffectObserved, EvidenceJudged, Observed
from tildawn.facts.plan import Item
from tildawn.facts.run import RunHeld
from tildawn.ids import RunId
from tildawn.ledger.entry import Committed, Entry
from tildawn.ledger.fold import Expect, Row
from tildawn.projections.night import EvidenceRow, subject
from tildawn.projections.permit import permit_for
from tildawn.projections.run import RunRow
from tildawn.units import Seq


class Verdict(msgspec.Struct, frozen=True):
    """What the checks of a run came to: refuted, or else the weakest of them."""

    item: str
    run: str
    what: str


class Settling:
    """Tells what follows from the ends of runs of one night."""

    def __init__(self, desk: Desk, kept: Kept, progress: Progress) -> None:
        """Take the night, and its progress to keep up."""
        self._desk = desk
        self._ledger = desk.ledger
        self._kept = kept
        self._night = kept.said.night
        self._progress = progress

    async def settle(self, row: RunRow) -> None:
        """A planned run is done: tell its effects, and have its checks run.

        Both are one append; the key of the check's run makes a second one harmless.

        Raises:
            TildawnError: the ledger takes nothing.
        """
        item = self._progress.items[row.item].item
        entries = self._effects(row, outputs_in(self._ledger, row.run).effects)
        if item.evidence:
            entries.append(self._look_after(row, item))
        if entries:
            await self._ledger.append(entries)
            self._desk.engine.wake()

    def _effects(self, row: RunRow, seen: Sequence[Observed]) -> list[Entry]:
        entries: list[Entry] = []
        for one in seen:
            text = self._ledger.payload(msgspec.json.encode(one))
            data = EffectObserved(
                night=self._night, item=row.item, row=row.row, what=text.digest, kind=one.kind
            )
            entries.append(self._ledger.draft(data, run=row.run, payloads=(text,)))
        return entries

    def _look_after(self, row: RunRow, item: Item) -> Entry:
        """The run that looks after the work; it gets what was seen before."""
        task = self._desk.task(AFTER)
        with self._ledger.read() as reader:
            about = subject(row.night, row.item, row.row)
            before = [
                self._seen(reader.get(EvidenceRow, about, 0, index))
                for index in range(len(item.evidence))
            ]
        text = task.arguments.encode(
            (), {"night": self._night, "item": row.item, "cells": self._cells(row, item),
                 "judged": row.run, "before": before},
        )  # fmt: skip
        return accept(self._ledger, self._desk.ids, task, text, self._options(row, AFTER))

    def _seen(self, row: EvidenceRow | None) -> Seen:
        return Seen(row.saw, digest=row.digest) if row is not None and row.saw else Seen(NOT_RUN)

    def _cells(self, row: RunRow, item: Item) -> dict[str, str]:
        """The cells of the run's row: from its arguments, or from the copy for a user's task."""
        if item.for_each is None:
            return {}
        if item.task is None:
            with self._ledger.read() as reader:
                text = reader.payload(Seq(row.args_at), 0)
            return msgspec.json.decode(text, type=_Celled).cells
        return dict(self._desk.copies.row(self._night, row.item, row.row).item)

    def _options(self, row: RunRow, what: str) -> Options:
        with self._ledger.read() as reader:
            permit = permit_for(reader, self._night, row.item, CHECKS)
        return Options(
            key=f"{what}/{row.run}", queue=check_queue(self._night), night=self._night,
            item=row.item, row=row.row, evidence_for=row.run,
            budgets=(night_scope(self._night),), simulated=bool(row.simulated), permit=permit,
        )  # fmt: skip

    # -- what the checks say ---------------------------------------------------------------

    async def judge(self, look: RunRow) -> Verdict | None:
        """A look after the work or a question has ended: keep what it says.

        Returns:
            The verdict on the run, or None while another check is awaited or nothing is new.

        Raises:
            TildawnError: the ledger takes nothing.
        """
        if look.task == ASK:
            return await self._answered(look)
        item = self._progress.items[look.item].item
        judgement = self._judgement(look, item)
        entries = [
            self._judged(look, index, one, run=look.evidence_for)
            for index, one in enumerate(judgement.checks)
        ]
        entries += self._effects(_work_of(look), judgement.effects)
        asked = [
            self._question(look, index, one)
            for index, one in enumerate(judgement.checks)
            if one.verdict == UNKNOWN and one.kind == "human"
        ]
        entries += [entry for question in asked for entry in question]
        answer = await self._ledger.append(entries, expect=[self._unjudged(look)])
        if not isinstance(answer, Committed):
            return None
        self._progress.items[look.item].asked.update(one[0].fact.run for one in asked)
        return self._told(look, [one.verdict for one in judgement.checks], answer.first)

    def _judgement(self, look: RunRow, item: Item) -> Judgement:
        if look.state != "done":
            detail = f"the look after the work is {look.state}: {look.why}".rstrip(": ")
            return Judgement(tuple(Judged(one.kind, NOT_RUN, detail) for one in item.evidence))
        with self._ledger.read() as reader:
            text = reader.payload(Seq(look.state_at), 0)
        return msgspec.json.decode(text, type=Judgement)

    def _judged(self, look: RunRow, index: int, one: Judged, *, run: str) -> Entry:
        text = self._ledger.payload(msgspec.json.encode(one.detail)) if one.detail else None
        data = EvidenceJudged(
            night=self._night, item=look.item, row=look.row, index=index, kind=one.kind,
            verdict=one.verdict, judged=run, detail=text.digest if text else "",
        )  # fmt: skip
        return self._ledger.draft(data, run=look.run, payloads=(text,))

    def _question(self, look: RunRow, index: int, one: Judged) -> list[Entry]:
        """A run that is held from its beginning: its answer is the owner's."""
        task = self._desk.task(ASK)
        text = task.arguments.encode(
            (), {"judged": look.evidence_for, "index": index, "verifies": one.choices[0]}
        )
        options = self._options(_work_of(look), f"{ASK}/{index}")
        accepted = accept(self._ledger, self._desk.ids, task, text, options)
        detail = self._ledger.payload(msgspec.json.encode(one.detail))
        held = RunHeld(why="ask", detail=detail.digest, choices=one.choices)
        run = RunId(accepted.fact.run)
        return [accepted, self._ledger.draft(held, run=run, payloads=(detail,))]

    async def _answered(self, look: RunRow) -> Verdict | None:
        state = self._progress.items[look.item]
        state.answering.discard(look.run)
        if look.state != "done":
            return None  # Nobody said anything: the verdict stays unknown.
        with self._ledger.read() as reader:
            said = msgspec.json.decode(reader.payload(Seq(look.state_at), 0), type=str)
            asked = msgspec.json.decode(reader.payload(Seq(look.args_at), 0), type=_Asked)
        verdict = VERIFIED if said == asked.verifies else REFUTED
        one = Judged("human", verdict, f"you said {said}")
        entry = self._judged(look, asked.index, one, run=look.evidence_for)
        answer = await self._ledger.append([entry])
        if not isinstance(answer, Committed):
            return None
        before = state.bad.get(look.evidence_for)
        return self._told(look, [verdict, *([REFUTED] if before == REFUTED else [])], answer.first)

    def _told(self, look: RunRow, verdicts: list[str], first: int) -> Verdict:
        refuted = REFUTED in verdicts
        self._progress.judged(look.item, look.evidence_for, first, refuted=refuted)
        weakest = next((one for one in WEAKNESS if one in verdicts), VERIFIED)
        return Verdict(look.item, look.evidence_for, weakest)

    def _unjudged(self, look: RunRow) -> Expect:
        """That nobody has told it yet: after a crash the same look is told once."""
        about = subject(look.night, look.item, look.row)

        def test(row: Row | None) -> bool:
            return not isinstance(row, EvidenceRow) or row.judged_run != look.evidence_for

        return Expect(row=EvidenceRow, key=(about, 0, 0), test=test, why="judged")


WEAKNESS = (REFUTED, UNKNOWN, NOT_RUN, "no-change")
"""Verdicts from the worst on; what is none of these is verified."""


def _work_of(look: RunRow) -> RunRow:
    """The row of the judged run as far as its look carries it."""
    return msgspec.structs.replace(look, run=look.evidence_for)


class _Celled(msgspec.Struct, frozen=True):
    cells: dict[str, str] = {}


class _Asked(msgspec.Struct, frozen=True):
    index: int
    verifies: str
