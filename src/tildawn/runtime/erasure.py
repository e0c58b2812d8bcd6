"""Erasing a person or a run: from the ledger, and from every other file that this house wrote.

What it is not: the transaction; that is `tildawn.ledger.erasure`.  Nor copies that others hold:
`BEYOND` names those, for the owner.
"""

import logging
from collections.abc import Iterable
from logging.handlers import RotatingFileHandler
from pathlib import Path

import msgspec

from tildawn.errors import Misused
from tildawn.facts.fact import Fact
from tildawn.facts.night import PlanAccepted
from tildawn.facts.step import ChildEnded
from tildawn.ledger.durable import sync_folder, write_durably
from tildawn.ledger.erasure import Erasure, erase, held_by
from tildawn.ledger.layout import Layout
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.reader import Reader
from tildawn.ledger.snapshot import snapshots
from tildawn.projections.erasure import ErasureRow, family
from tildawn.projections.night import NightRow
from tildawn.projections.run import ENDED, RunRow
from tildawn.runtime.snapshot import Keeper
from tildawn.units import Seq


STACKS, REPORTS, LOGS = "stacks.txt", "reports", "logs"

BEYOND = (
    "backups that you made",
    "reports, exports and log lines that you sent or copied elsewhere",
    "what providers and services were told",
    "files that steps wrote outside of the house, and the plan's own files",
    "old blocks of the disk, until it uses them again",
)
"""Where we cannot erase."""


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure is about."""

    runs: tuple[RunRow, ...]
    going: Erasure
    #: Nights whose kept rows go too, as they hold those of the runs.
    nights: tuple[str, ...]
    #: Runs that have not ended.
    open: tuple[str, ...]


def scope_of(reader: Reader, runs: Iterable[str]) -> Scope:
    """Everything that is kept of some runs, their children and their checks.

    Raises:
        Nothing.
    """
    rows = family(reader, runs)
    names = {row.run for row in rows}
    more = [seq for row in rows for seq in _told_parent(reader, row, names)]
    going = held_by(reader, sorted(names), more)
    items = {(row.night, row.item) for row in rows if row.night and row.row >= 0}
    uses = tuple(use for night, item in sorted(items) for use in _kept_rows(reader, night, item))
    return Scope(
        runs=tuple(rows),
        going=msgspec.structs.replace(going, uses=(*going.uses, *uses)),
        nights=tuple(sorted({night for night, _ in items})),
        open=tuple(row.run for row in rows if row.state not in ENDED),
    )


def refuse_open_nights(reader: Reader, nights: Iterable[str]) -> None:
    """The rows that a night was accepted with are needed until it is closed.

    Raises:
        Misused: one is not.
    """
    for name in nights:
        night = reader.get(NightRow, name)
        if night is not None and night.state != "closed":
            message = f"night {night.number} is not over, and its rows hold the person's"
            raise Misused(message, hint="wait for its end, or end it with tildawn night --new")


# HOLE: a plan cannot name the subject of its rows yet, and nothing expires by age.
def erase_everywhere(
    ledger: Ledger, folder: Path, scope: Scope, keeper: Keeper, *, subject: str, why: str
) -> tuple[str, ...]:
    """Erase a scope; blocks.  Repeated after a crash, it completes what is left.

    Args:
        ledger: open to write.
        folder: the house.
        scope: as it was just read.
        keeper: takes a snapshot before those with old content are dropped.
        subject: a keyed digest, or empty.
        why: a word for the record.

    Returns:
        What was removed beside the ledger, for people.

    Raises:
        Busy: a reader holds the log back; try again.
        HouseUnusable: the mirror is lost; all else is erased.
        OSError: the disk refuses.
        TildawnError: the ledger takes nothing, or no snapshot could be taken.
    """
    runs = [row.run for row in scope.runs]
    erase(ledger, folder, scope.going, runs=len(runs), subject=subject, why=why)
    did = [f"{count} log lines" for count in [_clean_logs(folder / LOGS, runs)] if count]
    nights = {row.night for row in scope.runs} | {"runs"}
    did += _remove(
        one for night in nights for one in (folder / REPORTS).glob(f"{night or 'runs'}.*")
    )
    did += _remove([folder / STACKS] if (folder / STACKS).exists() else [])
    since, until = _since(scope), _last_erasure(ledger)
    old = [one for one in snapshots(Layout(folder)) if since < one.manifest.size <= until]
    if old:
        # The new one first: a crash in between leaves one too many, and the command once more.
        keeper.take(ledger, "erasure")
        keeper.drop(ledger, old, "erasure")
        did += [f"snapshot {one.name}" for one in old]
    did += keeper.drop_others(ledger, "erasure")
    if ledger.mirror is not None:
        # Last, because a lost mirror refuses; it forgets when it joins, or when the house opens.
        did += [
            f"{count} parts of the mirror" for count in [ledger.mirror.forget_erased()] if count
        ]
    return tuple(did)


def _last_erasure(ledger: Ledger) -> int:
    """A snapshot that ends behind this position has no erased content."""
    with ledger.read() as reader:
        rows = reader.rows(ErasureRow, order="seq DESC", limit=1)
    return rows[0].seq if rows else -1


def _since(scope: Scope) -> int:
    return min((row.accepted for row in scope.runs), default=0)


def _told_parent(reader: Reader, row: RunRow, names: set[str]) -> list[int]:
    """Where a parent outside of the scope was told the result of a run."""
    if not row.parent or row.parent in names:
        return []
    return [
        seq
        for seq, fact in reader.facts(limit=-1, run=row.parent)
        if isinstance(fact.data, ChildEnded) and fact.data.child == row.run
    ]


def _kept_rows(reader: Reader, night: str, item: str) -> list[tuple[str, int]]:
    row = reader.get(NightRow, night)
    if row is None:
        return []
    fact, _ = reader.fact(Seq(row.accepted))
    if not isinstance(fact, Fact) or not isinstance(fact.data, PlanAccepted):
        return []
    blob = fact.data.inputs.get(f"rows/{item}")
    return [(blob, row.accepted)] if blob is not None else []


# HOLE: a line that quotes somebody without naming their run stays until its file is turned over.
def _clean_logs(folder: Path, runs: list[str]) -> int:
    """Take out every line that names one of the runs; how many."""
    names = [run.encode() for run in runs]
    count = 0
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        with _Paused(path):
            lines = path.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if not any(name in line for name in names)]
            if len(kept) != len(lines):
                write_durably(path, b"".join(kept))
                count += len(lines) - len(kept)
    return count


class _Paused:
    """No line is written to a file of this process meanwhile, and the next goes to the new one."""

    def __init__(self, path: Path) -> None:
        self._handlers = [
            handler
            for handler in logging.getLogger().handlers
            if isinstance(handler, RotatingFileHandler) and Path(handler.baseFilename) == path
        ]

    def __enter__(self) -> None:
        for handler in self._handlers:
            handler.acquire()
            handler.flush()

    def __exit__(self, *_: object) -> None:
        for handler in self._handlers:
            handler.close()  # the next line opens the file of that name again
            handler.stream = handler._open()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            handler.release()


def _remove(paths: Iterable[Path]) -> list[str]:
    gone: list[str] = []
    for path in sorted(paths):
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
        gone.append(f"{path.parent.name}/{path.name}")
    return gone
