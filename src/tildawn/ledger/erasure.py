"""Erasing: which payloads and blobs go, the facts that say so, and what must follow on the disk.

What it is not: the choice of runs, nor copies outside the ledger; `tildawn.runtime.erasure` has
those.

In this order, so that a crash at any point leaves what the same command completes: a note of the
blobs that go, one transaction with facts and UPDATEs, the database written anew, the write-ahead
log cut to nothing, the files of the blobs, and the note itself.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from tildawn.errors import TildawnError
from tildawn.facts.erasure import PayloadErased, SubjectErased
from tildawn.ledger.durable import sync_folder, write_durably
from tildawn.ledger.entry import Entry
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.reader import Reader
from tildawn.ledger.sqlite.leaving import give_back_space
from tildawn.ledger.sqlite.store import SLOTS, run_key


NOTE = "erasing"
"""File of a house that names blobs on their way out."""

EXPIRED = "expired"
"""Why, where nobody asked and the settings say so."""

RANGES_MOST = 2_000
"""Ranges of one fact: two numbers of up to twelve digits each stay below the longest body."""


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """What goes: payloads as positions times eight plus slot, and uses of blobs."""

    ids: tuple[int, ...] = ()
    #: Blobs with the positions of the facts that keep them.
    uses: tuple[tuple[str, int], ...] = ()

    @property
    def first(self) -> int:
        """The first position concerned; -1 when nothing is."""
        seqs = [self.ids[0] // SLOTS] if self.ids else []
        return min([*seqs, *(seq for _, seq in self.uses)], default=-1)


def held_by(reader: Reader, runs: Iterable[str], more: Sequence[int] = ()) -> Erasure:
    """What the facts of some runs hold, and those at some more positions.

    Raises:
        Nothing.
    """
    seqs = set(more)
    for run in runs:
        rows = reader.query("SELECT seq FROM run_fact WHERE run = ?", (run_key(run),))
        seqs.update(int(seq) for (seq,) in rows)
    ids: list[int] = []
    uses: list[tuple[str, int]] = []
    for seq in sorted(seqs):
        sql = "SELECT id FROM payload WHERE id >= ? AND id < ? AND erased IS NULL ORDER BY id"
        ids += [int(one) for (one,) in reader.query(sql, (seq * SLOTS, (seq + 1) * SLOTS))]
        rows = reader.query("SELECT blob FROM blob_use WHERE seq = ?", (seq,))
        uses += [(str(blob), seq) for (blob,) in rows]
    return Erasure(ids=tuple(ids), uses=tuple(uses))


def ranges_of(ids: Sequence[int]) -> list[tuple[int, int]]:
    """Sorted numbers as ranges, ends exclusive, that cover nothing else.

    Raises:
        Nothing.
    """
    found: list[tuple[int, int]] = []
    for one in ids:
        if found and found[-1][1] == one:
            found[-1] = (found[-1][0], one + 1)
        else:
            found.append((one, one + 1))
    return found


def erase(
    ledger: Ledger, folder: Path, going: Erasure, *, runs: int, subject: str = "", why: str
) -> None:
    """Erase, and block until no byte of it is in the database, its log or its blobs.

    With nothing to erase it completes what a crash has left.

    Args:
        ledger: open to write; not from an event loop.
        folder: the house.
        going: what goes, as it was just read.
        runs: how many runs it is of.
        subject: their keyed digest, or empty.
        why: a word for the record.

    Raises:
        As `begin` and `finish` do.
    """
    begin(ledger, folder, going, runs=runs, subject=subject, why=why)
    finish(ledger, folder)


def begin(
    ledger: Ledger, folder: Path, going: Erasure, *, runs: int, subject: str = "", why: str
) -> None:
    """Take payloads out of the ledger; until `finish`, the disk still holds bytes of them.

    Args:
        ledger: open to write; not from an event loop.
        folder: the house.
        going: what goes, as it was just read.
        runs: how many runs it is of.
        subject: their keyed digest, or empty.
        why: a word for the record.

    Raises:
        OSError: the disk refuses; nothing was erased.
        TildawnError: the ledger takes nothing; nothing was erased.
    """
    note = folder / NOTE
    # A crash behind this line leaves names of blobs that are still in use; those stay.
    _note(note, {blob for blob, _ in going.uses} | _noted(note))
    if going.ids or going.uses:
        ledger.append_now(_entries(ledger, going, runs=runs, subject=subject, why=why))


def finish(ledger: Ledger, folder: Path) -> None:
    """Remove the last bytes of what is erased, as often as a crash makes it necessary; blocks.

    Args:
        ledger: open to write; not from an event loop.
        folder: the house.

    Raises:
        Busy: a reader holds the log back; what is said to be erased is, in the ledger; the same
            command completes it.
        OSError: the disk refuses; likewise.
        StoreFull: there is no room to write the database anew; likewise.
    """
    note = folder / NOTE
    # What is overwritten leaves zeros, but what the tree of the database has ever moved from one
    # page to another leaves a copy in the gap behind; only a database written anew has none.
    ledger.do(give_back_space)
    # A crash here leaves old pages in the log, which the next command or closing cuts.
    ledger.scrub()
    with ledger.read() as reader:
        used = {str(blob) for (blob,) in reader.query("SELECT DISTINCT blob FROM blob_use")}
    for blob in sorted(_noted(note) - used):
        ledger.blobs.remove(blob)
    note.unlink(missing_ok=True)
    sync_folder(note.parent)


def unfinished(folder: Path) -> bool:
    """Whether a crash has left an erasure that the same command would complete.

    Raises:
        Nothing.
    """
    return (folder / NOTE).exists()


def _entries(ledger: Ledger, going: Erasure, *, runs: int, subject: str, why: str) -> list[Entry]:
    entries: list[Entry] = []
    ranges = ranges_of(going.ids)
    actor = "" if why == EXPIRED else "owner"
    for at in range(0, len(ranges), RANGES_MOST):
        some = ranges[at : at + RANGES_MOST]
        data = PayloadErased(ranges=tuple(number for one in some for number in one), why=why)
        ids = tuple(one for begin, end in some for one in range(begin, end))
        entries.append(msgspec.structs.replace(ledger.draft(data, actor=actor), erases=ids))
    said = SubjectErased(subject=subject, runs=runs, payloads=len(going.ids), why=why)
    last = ledger.draft(said, actor=actor)
    entries.append(msgspec.structs.replace(last, frees=going.uses))
    return entries


def _note(path: Path, blobs: set[str]) -> None:
    write_durably(path, msgspec.json.encode(sorted(blobs)))


def _noted(path: Path) -> set[str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=set[str])
    except FileNotFoundError:
        return set()
    except msgspec.DecodeError as error:
        message = f"{path} cannot be read: {error}"
        raise TildawnError(
            message, hint="remove it; blobs that nothing names go within a day"
        ) from error
