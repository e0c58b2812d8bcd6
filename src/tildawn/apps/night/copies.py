"""What an accepted night rests on: the copies in the house, read back.

What it is not: the files.  Those may change or vanish; nothing here looks at them again.
"""

from collections.abc import Iterator
from typing import cast

import msgspec

from tildawn.errors import UnknownName
from tildawn.facts.fact import Fact
from tildawn.facts.night import PlanAccepted
from tildawn.facts.plan import Accepted, Plan, plan_from
from tildawn.ledger.ledger import Ledger
from tildawn.projections.night import NightRow
from tildawn.runtime.plan import PlanRow, compile_rows
from tildawn.units import Seq


ACCEPTED = "accepted"
"""The input that says what was accepted, its folder included."""

_KEPT_MAX = 4
"""Plans held in memory; a house works on one night, and on checks of a few others."""

_PASSED_MAX = 2_000
"""Rows held behind the last one asked for: runs end nearly in the order of their rows, so the
file is read through once, however long it is."""


def rows_name(item: str) -> str:
    """The input that holds the rows of an item.

    Raises:
        Nothing.
    """
    return f"rows/{item}"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted night: the fact, the plan, and the folder that its relative paths mean."""

    said: PlanAccepted
    plan: Plan
    folder: str


class Copies:
    """Reads accepted plans from a house, and keeps the last few."""

    def __init__(self, ledger: Ledger) -> None:
        """Take the house."""
        self._ledger = ledger
        self._kept: dict[str, Kept] = {}
        self._passing: dict[tuple[str, str], _Passing] = {}

    def of(self, night: str) -> Kept:
        """An accepted night.

        Raises:
            UnknownName: there is no such night.
            PayloadErased: its plan was erased.
            LedgerBroken: a copy is missing or damaged.
        """
        kept = self._kept.get(night)
        if kept is None:
            kept = self._read(night)
            while len(self._kept) >= _KEPT_MAX:
                del self._kept[next(iter(self._kept))]
            self._kept[night] = kept
        return kept

    def _read(self, night: str) -> Kept:
        with self._ledger.read() as reader:
            row = reader.get(NightRow, night)
            if row is None:
                message = f"there is no night {night}"
                raise UnknownName(message)
            fact, _ = reader.fact(Seq(row.accepted))
            plan = plan_from(reader.payload(Seq(row.accepted), 0))
        # Before any of its runs begins, what its requests will hold is known as a secret.
        self._ledger.secrets.name(plan.required_env)
        said = cast("PlanAccepted", cast("Fact", fact).data)
        body = self._ledger.blobs.get(said.inputs[ACCEPTED])
        accepted = msgspec.json.decode(body, type=Accepted)
        return Kept(said=said, plan=plan, folder=accepted.folder)

    def rows(self, night: str, item: str, *, start: int = 0) -> Iterator[PlanRow]:
        """The rows of an item from an index on, one at a time, the same ones every time.

        Raises:
            BadPlan: the night has no such item.
            LedgerBroken: the copy is missing or damaged.
        """
        kept = self.of(night)
        blob = kept.said.inputs.get(rows_name(item))
        body = self._ledger.blobs.get(blob) if blob is not None else None
        for chunk in compile_rows(kept.plan, body, item, start=start, chunk=64):
            yield from chunk

    def row(self, night: str, item: str, index: int) -> PlanRow:
        """One row of an item; asked for in nearly the order of the file, each costs little.

        Raises:
            UnknownName: the item has no such row.
            BadPlan: the night has no such item.
            LedgerBroken: the copy is missing or damaged.
        """
        passing = self._passing.get((night, item))
        if passing is None or not passing.reaches(index):
            source = self.rows(night, item, start=max(index - _PASSED_MAX // 2, 0))
            passing = self._passing[night, item] = _Passing(source)
        found = passing.row(index)
        if found is None:
            message = f"item {item} of night {night} has no row {index}"
            raise UnknownName(message)
        return found


class _Passing:
    """Rows on their way past, the last of which are held."""

    def __init__(self, source: Iterator[PlanRow]) -> None:
        self._source = source
        self._held: dict[int, PlanRow] = {}

    def reaches(self, index: int) -> bool:
        """Whether the row is held, or still to come."""
        return not self._held or index >= next(iter(self._held))

    def row(self, index: int) -> PlanRow | None:
        """The row, reading on up to it; None when the file ends before."""
        while index not in self._held:
            row = next(self._source, None)
            if row is None:
                return None
            self._held[row.index] = row
            if len(self._held) > _PASSED_MAX:
                del self._held[next(iter(self._held))]
        return self._held[index]
