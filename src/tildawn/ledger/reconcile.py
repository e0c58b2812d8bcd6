"""Keeps the second set of books, and replaces tables that are not what the facts say.

What it is not: the fold or the comparison of rows; `tildawn.ledger.sqlite.shadow` has those.

A difference that the tail shows is only a suspicion.  Every fact is folded afresh before a table
is touched, because a shadow can be wrong as well.
"""

import os
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import cast

import msgspec

from tildawn.clock import Clock
from tildawn.errors import LedgerBroken, PlanChanged
from tildawn.facts.fact import Payload, Registry
from tildawn.facts.quarantine import HouseQuarantined
from tildawn.facts.reconcile import DriftFound, DriftMended
from tildawn.ledger.archive import Archive
from tildawn.ledger.durable import sync_folder
from tildawn.ledger.entry import Entry
from tildawn.ledger.fold import Projection
from tildawn.ledger.layout import Layout
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.sqlite.connection import Database, connect
from tildawn.ledger.sqlite.difference import Difference, Differences
from tildawn.ledger.sqlite.replace import replace_tables
from tildawn.ledger.sqlite.shadow import Shadow, make_shadow, open_shadow, remove_shadow
from tildawn.units import Micros, Seq


TAIL_MOST = 65_536
"""Facts of a tail that is compared row by row; behind a longer one everything is compared."""

SAME_MOST = 3
"""Times that the same drift is mended before nothing new may begin. Source: issue of the part."""

NEW = ".new"
"""What a shadow is called while it is made."""

Pause = Callable[[], bool]
"""Waits between two slices; False means that there is no time to go on."""


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """What differs in one table: how many rows, the first of them in words, and its digest."""

    table: str
    rows: int
    digest: str
    words: tuple[str, ...]
    differences: tuple[Difference, ...]


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison came to.

    ``size`` facts were folded; ``whole`` when every row was compared, and not only those that
    changed since the last time.  ``done`` is False when it was broken off.
    """

    done: bool
    whole: bool
    size: Seq
    drifts: tuple[Drift, ...] = ()
    #: The tables that were replaced.
    mended: tuple[str, ...] = ()
    #: The same drift was found again and again; the house is in quarantine.
    quarantined: bool = False


Before = Callable[[str, str], int]
"""How often a drift was found before, by table and digest."""


class Reconciler:
    """The two sets of books of one house; one thread at a time, and never the event loop's.

    A crash leaves the point of the last comparison, or a file that is removed at the next one.
    """

    def __init__(
        self, ledger: Ledger, folder: Path, *, registry: Registry,
        projections: Sequence[Projection], before: Before, clock: Clock,
    ) -> None:  # fmt: skip
        """Take an open house; nothing is read yet.

        Args:
            ledger: open to write, or to read for `plan`.
            folder: of the house.
            registry: decodes facts.
            projections: all folds of the house.
            before: how often a drift was found before.
            clock: says when everything was compared.
        """
        self._ledger = ledger
        self._layout = Layout(folder)
        self._archive = Archive(self._layout.archive)
        self._registry = registry
        self._projections = tuple(projections)
        self._before = before
        self._clock = clock
        self._live: Database | None = None
        self._shadow: Shadow | None = None

    def point(self) -> Seq | None:
        """Up to where the books were found equal; None without a shadow that is of use.

        Raises:
            HouseUnusable: the database cannot be opened.
            OSError: a shadow of no use cannot be removed.
        """
        if self._shadow is None:
            self._shadow = open_shadow(
                self._layout.shadow, self._projections, self._registry, archive=self._archive,
                live=self._house(),
            )  # fmt: skip
        return None if self._shadow is None else self._shadow.point

    def compared_at(self) -> Micros:
        """When everything was compared the last time; 0 for never.

        Raises:
            HouseUnusable: the database cannot be opened.
            OSError: a shadow of no use cannot be removed.
        """
        self.point()
        return Micros(0) if self._shadow is None else self._shadow.at

    def tail(self, pause: Pause) -> Compared:
        """Fold the facts since the point, and compare the rows that they touched.

        Without a shadow, or behind a long tail, or when a row differs, everything is compared.

        Raises:
            TildawnError: the facts contradict themselves, or the house cannot be written.
            OSError: the disk refuses.
        """
        point = self.point()
        if point is None or self._shadow is None or self._ledger.next_seq - point > TAIL_MOST:
            return self.whole(pause)
        shadow = self._shadow
        try:
            done = self._finish(shadow, pause)
            if done and not shadow.found:
                shadow.keep()
                return Compared(done=True, whole=False, size=shadow.size)
        except LedgerBroken:
            # The shadow may be what is wrong; a fresh one tells.
            done = True
        except BaseException:
            self._drop()
            raise
        self._drop()
        return self.whole(pause) if done else Compared(done=False, whole=False, size=point)

    def whole(self, pause: Pause, *, plan: str | None = None) -> Compared:
        """Fold every fact afresh, compare every row, and replace the tables that differ.

        Args:
            pause: between two slices.
            plan: replace only if what differs has this hash.

        Raises:
            PlanChanged: it has another one; nothing was replaced.
            LedgerBroken: the facts contradict themselves, or a table differs after it was mended.
            TildawnError: the house cannot be written.
            OSError: the disk refuses.
        """
        path = self._layout.shadow.with_name(self._layout.shadow.name + NEW)
        shadow = make_shadow(path, self._projections, self._registry, archive=self._archive)
        try:
            compared = self._whole(shadow, pause, plan)
            if compared.done:
                shadow.at = self._clock.wall()
                shadow.keep()
        except BaseException:
            shadow.close()
            remove_shadow(path)
            raise
        shadow.close()
        if not compared.done:
            remove_shadow(path)
            return compared
        self._drop()
        self._install(path)
        return compared

    def plan(self) -> Compared:
        """Fold every fact into a file that goes away, and say what differs; nothing is changed.

        Raises:
            TildawnError: the facts contradict themselves, or the house cannot be read.
        """
        shadow = make_shadow(None, self._projections, self._registry, archive=self._archive)
        try:
            self._finish(shadow, lambda: True)
            return Compared(done=True, whole=True, size=shadow.size, drifts=_drifts(shadow.found))
        finally:
            shadow.close()

    def close(self) -> None:
        """Close both files; what was not compared to its end is forgotten.

        Raises:
            Nothing.
        """
        self._drop()
        live, self._live = self._live, None
        if live is not None:
            live.close()

    def _house(self) -> Database:
        if self._live is None:
            self._live = connect(self._layout.database, write=False)
        return self._live

    def _drop(self) -> None:
        shadow, self._shadow = self._shadow, None
        if shadow is not None:
            shadow.close()

    def _finish(self, shadow: Shadow, pause: Pause) -> bool:
        """Slice by slice to the end; whether it came there."""
        live = self._house()
        while shadow.step(live):
            if not pause():
                return False
        return True

    def _whole(self, shadow: Shadow, pause: Pause, plan: str | None) -> Compared:
        if not self._finish(shadow, pause):
            return Compared(done=False, whole=True, size=shadow.size)
        drifts = _drifts(shadow.found)
        if plan is not None and plan_hash(drifts) != plan:
            message = f"what differs now is not what plan {plan[:12]}… says; nothing was done"
            raise PlanChanged(message, hint="tildawn rebuild --plan")
        if not drifts:
            return Compared(done=True, whole=True, size=shadow.size)
        quarantined = self._record(drifts)
        self._mend(shadow, drifts)
        shadow.walk()
        if not self._finish(shadow, pause):
            return Compared(done=False, whole=True, size=shadow.size, drifts=drifts)
        if shadow.found:
            names = ", ".join(shadow.found.tables)
            message = f"tables differ from their facts right after they were mended: {names}"
            raise LedgerBroken(message, hint="end whatever else writes to the house")
        return Compared(
            done=True, whole=True, size=shadow.size, drifts=drifts,
            mended=tuple(one.table for one in drifts), quarantined=quarantined,
        )  # fmt: skip

    def _record(self, drifts: Sequence[Drift]) -> bool:
        """Say what was found; a crash after it leaves drift that the next comparison finds."""
        ledger = self._ledger
        entries: list[Entry] = []
        often: list[tuple[Drift, int]] = []
        for one in drifts:
            text = _text(ledger, one)
            data = DriftFound(table=one.table, rows=one.rows, digest=one.digest, text=text.digest)
            entries.append(ledger.draft(data, payloads=(text,)))
            times = self._before(one.table, one.digest) + 1
            if times >= SAME_MOST:
                often.append((one, times))
        for one, times in often:
            text = _text(ledger, one, f"the same drift was found {times} times: ")
            quarantined = HouseQuarantined(
                why="drift", table=one.table, times=times, text=text.digest
            )
            entries.append(ledger.draft(quarantined, payloads=(text,)))
        ledger.append_now(entries)
        return bool(often)

    def _mend(self, shadow: Shadow, drifts: Sequence[Drift]) -> None:
        """Replace the tables in the transaction that says so; a crash leaves all or nothing."""
        tables = [one.table for one in drifts]
        entries = [
            self._ledger.draft(DriftMended(table=one.table, digest=one.digest)) for one in drifts
        ]

        def replace(database: object) -> None:
            replace_tables(cast("Database", database), shadow, tables)

        self._ledger.append_now(entries, inside=replace)

    def _install(self, path: Path) -> None:
        """Let the fresh shadow take the place of the one before; a crash leaves either."""
        with path.open("rb") as file:
            os.fsync(file.fileno())
        remove_shadow(self._layout.shadow)
        path.replace(self._layout.shadow)
        sync_folder(self._layout.folder)


def plan_hash(drifts: Sequence[Drift]) -> str:
    """The name of a plan: SHA-256 over what it would replace; empty when there is nothing.

    Raises:
        Nothing.
    """
    if not drifts:
        return ""
    return sha256("\n".join(one.digest for one in drifts).encode()).hexdigest()


def _drifts(found: Differences) -> tuple[Drift, ...]:
    return tuple(
        Drift(
            table=table, rows=found.count(table), digest=found.digest(table),
            words=found.shown(table), differences=found.of(table),
        )
        for table in found.tables
    )  # fmt: skip


def _text(ledger: Ledger, one: Drift, before: str = "") -> Payload:
    more = one.rows - len(one.words)
    words = "; ".join(one.words) + (f"; and {more} rows more" if more > 0 else "")
    return ledger.payload(msgspec.json.encode(before + words))
