"""After a crash: what was going on goes back to the queue, and poison is kept apart.

What it is not: a boot event only.  `recover` runs at every start; the engine's own loops keep
looking afterwards.

A process death counts against a run only when the run was at work and made no progress in its
attempt.  After two such deaths in a row a run is a suspect, and suspects start one at a time;
three deaths as the sole suspect, with no progress between them, quarantine it.
"""

from collections.abc import Collection, Iterator

import msgspec

from tildawn.engine.ending import QUARANTINE_CHOICES, Endings
from tildawn.facts.call import CallSettled
from tildawn.facts.run import RunInterrupted, RunStarted
from tildawn.facts.step import KINDS as STEP_KINDS
from tildawn.ledger.entry import Entry
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.reader import Reader
from tildawn.projections.run import RunRow


SUSPECT_AFTER = 2
"""Unclean deaths in a row that make a run a suspect: one may be anybody's bad luck."""

QUARANTINE_AFTER = 3
"""Deaths as sole suspect that quarantine a run."""

CHUNK = 256
"""Runs of one append while recovering, to share commits."""

_PROGRESS = (*STEP_KINDS, CallSettled)


class Suspects:
    """Runs that may have killed the process: they start one at a time."""

    def __init__(self, runs: frozenset[str] = frozenset()) -> None:
        """Take the suspects."""
        self._runs = set(runs)
        self._going: str | None = None

    def may_start(self, run: str) -> bool:
        """Whether the run may start now."""
        if run not in self._runs:
            return True
        if self._going not in {None, run}:
            return False
        self._going = run
        return True

    def acquit(self, run: str) -> bool:
        """The run is no suspect any more; True when another may start in its place."""
        self._runs.discard(run)
        if self._going != run:
            return False
        self._going = None
        return True


class _Interrupted(msgspec.Struct, frozen=True):
    row: RunRow
    progressed: bool


async def recover(ledger: Ledger, endings: Endings) -> Suspects:
    """Put back what the last holder of the pen was doing.

    A crash in the middle leaves some runs put back and others as they were; the next start
    finds those the same way.

    Returns:
        The suspects among them.

    Raises:
        StaleWriter: another process took the pen.
    """
    with ledger.read() as reader:
        rows = sorted(strays(reader, ()), key=lambda row: row.accepted)
        found = [_Interrupted(row, _progressed(reader, row)) for row in rows]
        queued = reader.rows(
            RunRow, "state = 'queued' AND deaths >= ?", (SUSPECT_AFTER,), order="accepted"
        )
    # A run that waited did nothing, so it has killed nobody.
    at_work = [one for one in found if ledger.unclean and one.row.state == "running"]
    counted = {one.row.run: one.row.deaths + 1 for one in at_work if not one.progressed}
    suspects = {run for run, deaths in counted.items() if deaths >= SUSPECT_AFTER}
    sole = _sole({one.row.run for one in at_work}, suspects)
    entries: list[Entry] = []
    for one in found:
        unclean = one.row.run in counted
        alone = unclean and one.row.run == sole
        entries += _put_back(ledger, endings, one, unclean=unclean, sole=alone)
    for chunk in _chunks(entries):
        await ledger.append(chunk)
    return Suspects(frozenset(suspects | {row.run for row in queued}))


def strays(reader: Reader, in_memory: Collection[str]) -> list[RunRow]:
    """Runs that are going on according to the ledger and that nobody drives.

    Raises:
        Nothing.
    """
    rows = reader.rows(RunRow, "state = 'running'", ())
    rows += reader.rows(RunRow, "state = 'waiting' AND parked = 0", ())
    return [row for row in rows if row.run not in in_memory]


def _sole(at_work: set[str], suspects: set[str]) -> str | None:
    """The one run that can have killed the process, if there is just one.

    One that got on may have killed it too, with its next step: it clears nobody beside it.
    """
    candidates = at_work if len(at_work) == 1 else suspects
    return next(iter(candidates)) if len(candidates) == 1 else None


def _put_back(
    ledger: Ledger, endings: Endings, one: _Interrupted, *, unclean: bool, sole: bool
) -> list[Entry]:
    row = one.row
    entries = [ledger.draft(RunInterrupted(unclean=unclean, sole=sole), run=row.run)]
    if row.sole_deaths + int(sole) >= QUARANTINE_AFTER:
        detail = f"the process died {QUARANTINE_AFTER} times while only this run could be the cause"
        entries += endings.held(row, "quarantined", detail, QUARANTINE_CHOICES)
    return entries


def _progressed(reader: Reader, row: RunRow) -> bool:
    """Whether anything of the run was recorded since its attempt began; newest facts first."""
    for _seq, fact in reader.newest(row.run):
        if isinstance(fact.data, _PROGRESS):
            return True
        if isinstance(fact.data, RunStarted):
            return False
    return False


def _chunks(entries: list[Entry]) -> Iterator[list[Entry]]:
    for start in range(0, len(entries), CHUNK):
        yield entries[start : start + CHUNK]
