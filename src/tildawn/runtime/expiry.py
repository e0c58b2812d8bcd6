"""Payloads that are kept for a time only: what ended long ago is erased as a person would be.

What it is not: the retention of facts (`tildawn.runtime.segment`); facts stay, and say no more
than digests.

A turn erases in steps, each of which the next turn does again or finds done: for each batch the
files beside the ledger and then its payloads in one commit; for all of them the snapshots that
still hold them, the bytes that are left in the database, and the mirror.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import msgspec

from tildawn.ledger.erasure import EXPIRED, begin, finish, held_by, unfinished
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.reader import Reader
from tildawn.ledger.sqlite.store import SLOTS
from tildawn.projections.erasure import ErasureRow, family
from tildawn.projections.night import NightRow
from tildawn.projections.run import ENDED
from tildawn.runtime.erasure import Scope, clear_beside, renew_snapshots, scope_of
from tildawn.runtime.remains import ending_of
from tildawn.runtime.segment import FOR_EVER
from tildawn.runtime.snapshot import Keeper
from tildawn.units import SECOND, Micros


BATCH = 200
"""Runs of one commit, with what is below them; a run has some ten payloads."""

DAY = 86_400 * SECOND
"""Ages are counted to the last midnight in UTC, so that snapshots are renewed once a day."""


class Expiry:
    """Ends what an open house keeps for a time only."""

    def __init__(self, folder: Path, keeper: Keeper, keep: Micros) -> None:
        """Take the house, who takes its snapshots, and how long a run's payloads are kept."""
        self._folder = folder
        self._keeper = keeper
        self._keep = keep
        self._before = 0

    def turn(self, ledger: Ledger, now: Micros) -> int:
        """Erase all that is due, and complete what a crash has left; blocks.

        Args:
            ledger: open to write; not from an event loop.
            now: the instant.

        Returns:
            Of how many runs something was erased.

        Raises:
            Busy: a reader holds the log back; the next turn completes it.
            OSError: the disk refuses; likewise.
            TildawnError: the ledger takes nothing, or no snapshot could be taken.
        """
        if self._keep >= FOR_EVER:
            return 0
        before = now - now % DAY - self._keep
        if before <= self._before:
            return 0
        count = 0
        for scope in chain(_runs(ledger, before), _nights(ledger, before)):
            clear_beside(self._folder, scope)
            # A crash here leaves the payloads, which are due in the next turn as well.
            begin(ledger, self._folder, scope.going, runs=len(scope.runs), why=EXPIRED)
            count += len(scope.runs)
        # Also where nothing is due: one may have been on its way while the last turn looked.
        until = _expired_to(ledger)
        renew_snapshots(ledger, self._folder, self._keeper, since=-1, until=until)
        if unfinished(self._folder):
            self._keeper.drop_others(ledger, "erasure")
            # Last, because its note is what tells the next turn of a crash in any of this; once
            # for all, because it writes the database anew.
            finish(ledger, self._folder)
        if ledger.mirror is not None:
            # Behind all, because a lost mirror refuses; it forgets when it joins as well.
            ledger.mirror.forget_erased()
        self._before = before
        return count


def _expired_to(ledger: Ledger) -> int:
    with ledger.read() as reader:
        last = reader.rows(ErasureRow, "why = ?", (EXPIRED,), order="seq DESC", limit=1)
    return last[0].seq if last else -1


def _runs(ledger: Ledger, before: int) -> Iterator[Scope]:
    """Scopes of runs whose whole family ended before an instant, a batch at a time."""
    after = -1
    while True:
        with ledger.read() as reader:
            some = _candidates(reader, before, after)
            if not some:
                return
            due = [run for run, _ in some if _all_ended(reader, run, before)]
            scope = scope_of(reader, due, alone=False)
            scope = _without_young_nights(reader, scope, before)
        after = some[-1][1]
        if due:
            yield scope


def _candidates(reader: Reader, before: int, after: int) -> list[tuple[str, int]]:
    """Runs that hold something, outside of nights or of nights that are over, by acceptance."""
    sql = (
        "SELECT run.run, run.accepted FROM run"
        " JOIN payload ON payload.id = run.accepted * ? AND payload.erased IS NULL"
        " LEFT JOIN night ON night.night = run.night"
        # Checks go with the run that they look after; a look before the work goes by itself.
        " WHERE run.parent = '' AND (run.evidence_for = '' OR instr(run.evidence_for, '/') > 0)"
        " AND run.state IN ('done', 'failed', 'cancelled') AND run.ended_at < ?"
        " AND (run.night = '' OR night.state = 'closed') AND run.accepted > ?"
        " ORDER BY run.accepted LIMIT ?"
    )
    rows = reader.query(sql, (SLOTS, before, after, BATCH))
    return [(str(run), int(accepted)) for run, accepted in rows]


def _all_ended(reader: Reader, run: str, before: int) -> bool:
    return all(row.state in ENDED and row.ended_at < before for row in family(reader, [run]))


def _without_young_nights(reader: Reader, scope: Scope, before: int) -> Scope:
    """A night that closed later than its runs ended keeps its plan until its own time."""
    if all(row.closed_at < before for row in scope.ending.over):
        return scope
    over = tuple(row for row in scope.ending.over if row.closed_at < before)
    ending = msgspec.structs.replace(scope.ending, over=over)
    going = held_by(reader, [row.run for row in scope.runs], ending.positions)
    return msgspec.structs.replace(scope, going=going, ending=ending)


def _nights(ledger: Ledger, before: int) -> Iterator[Scope]:
    """Scopes of nights that closed before an instant and that no run stays of."""
    with ledger.read() as reader:
        closed = reader.rows(NightRow, "state = 'closed' AND closed_at < ?", (before,))
        ending = ending_of(reader, [row.night for row in closed], set())
        going = held_by(reader, (), ending.positions)
    if going.ids or going.uses:
        yield Scope(runs=(), going=going, nights=(), open=(), ending=ending)
