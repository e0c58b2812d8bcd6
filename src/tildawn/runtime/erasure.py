"""Erasing a person or a run: from the ledger, and from every other file that this house wrote.

What it is not: the transaction; that is `tildawn.ledger.erasure`.  Nor copies that others hold:
`BEYOND` names those, for the owner.
"""

import logging
from collections.abc import Iterable, Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path

import msgspec

from tildawn.errors import Misused
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
from tildawn.runtime.remains import Ending, Spot, ending_of, kept_rows, looks_at, spots_of
from tildawn.runtime.snapshot import Keeper


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
    #: What goes with nights that nothing else stays of, and which plans stay.
    ending: Ending


def scope_of(
    reader: Reader,
    runs: Iterable[str],
    *,
    about: Sequence[Spot] = (),
    alone: bool = True,
) -> Scope:
    """Everything that is kept of some runs, their children and their checks.

    Args:
        reader: of the moment.
        runs: their names.
        about: kept rows more that go, with the copies that hold them.
        alone: whether looks and rows go that hold others', too; else only with the whole night.

    Raises:
        Nothing.
    """
    rows = family(reader, runs)
    if alone:
        rows = family(
            reader, [*(row.run for row in rows), *looks_at(reader, [*spots_of(rows), *about])]
        )
    names = {row.run for row in rows}
    ours = {(row.night, row.item) for row in rows if alone and row.night and row.row >= 0}
    items = sorted(ours | {(spot.night, spot.item) for spot in about})
    nights = {row.night for row in rows if row.night} | {night for night, _ in items}
    ending = ending_of(reader, nights, names)
    told = [seq for row in rows for seq in _told_parent(reader, row, names)]
    going = held_by(reader, sorted(names), [*told, *ending.positions])
    uses = (use for night, item in items for use in kept_rows(reader, night, item))
    return Scope(
        runs=tuple(rows),
        going=msgspec.structs.replace(going, uses=tuple(dict.fromkeys((*going.uses, *uses)))),
        nights=tuple(sorted({night for night, _ in items})),
        open=tuple(row.run for row in rows if row.state not in ENDED),
        ending=ending,
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
    erase(ledger, folder, scope.going, runs=len(scope.runs), subject=subject, why=why)
    did = clear_beside(folder, scope)
    with ledger.read() as reader:
        last = reader.rows(ErasureRow, order="seq DESC", limit=1)
    until = last[0].seq if last else -1
    did += renew_snapshots(ledger, folder, keeper, since=_since(scope), until=until)
    did += keeper.drop_others(ledger, "erasure")
    # Last, because a lost mirror refuses; it forgets when it joins, or when the house opens.
    parts = ledger.mirror.forget_erased() if ledger.mirror is not None else 0
    return (*did, f"{parts} parts of the mirror") if parts else did


def clear_beside(folder: Path, scope: Scope) -> tuple[str, ...]:
    """Remove what logs, reports and dumps of stacks say of a scope; repeated, it does no harm.

    Returns:
        What was removed.

    Raises:
        OSError: the disk refuses.
    """
    runs = [row.run for row in scope.runs]
    did = [f"{count} log lines" for count in [_clean_logs(folder / LOGS, runs)] if count]
    nights = {row.night for row in scope.runs} | set(scope.nights)
    nights |= {row.night for row in scope.ending.over} | {"runs"}
    found = (folder / REPORTS).glob("*")
    # An unfinished draft is called ``.NIGHT.html.PID``.
    did += _remove(one for one in found if one.name.lstrip(".").partition(".")[0] in nights)
    did += _remove([folder / STACKS] if (folder / STACKS).exists() else [])
    return tuple(did)


def renew_snapshots(
    ledger: Ledger, folder: Path, keeper: Keeper, *, since: int, until: int
) -> tuple[str, ...]:
    """Take a snapshot and drop those that end between two positions; none where none does.

    The new one comes first: a crash in between leaves one too many, and the next try drops it.

    Returns:
        What was dropped.

    Raises:
        OSError: the disk refuses.
        TildawnError: no snapshot could be taken.
    """
    old = [one for one in snapshots(Layout(folder)) if since < one.manifest.size <= until]
    if old:
        keeper.take(ledger, "erasure")
        keeper.drop(ledger, old, "erasure")
    return tuple(f"snapshot {one.name}" for one in old)


def _since(scope: Scope) -> int:
    over = (row.accepted for row in scope.ending.over)
    return min((*(row.accepted for row in scope.runs), *over), default=0)


def _told_parent(reader: Reader, row: RunRow, names: set[str]) -> list[int]:
    """Where a parent outside of the scope was told the result of a run."""
    if not row.parent or row.parent in names:
        return []
    return [
        seq
        for seq, fact in reader.facts(limit=-1, run=row.parent)
        if isinstance(fact.data, ChildEnded) and fact.data.child == row.run
    ]


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
