"""Whether the pictures of the table can be shown: the guard of every path that reads them.

What it is not: a repair.  It filters, counts and says why; `tildawn.runtime.repair` queues what
it found and mends what can be mended.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from tildawn.errors import LedgerBroken, PayloadErased, UnknownName
from tildawn.facts.call import CallAnsweredLate, CallServed, CallSettled
from tildawn.facts.picture import Drawn
from tildawn.facts.step import ArtifactKept
from tildawn.ledger.blobs import Blobs
from tildawn.ledger.reader import Reader
from tildawn.picture import read_picture
from tildawn.projections.picture import SERVED, PictureLostRow, PictureRow
from tildawn.units import Seq


Why = Literal["missing", "altered", "unreadable"]
"""The file is not there; it does not hold what its name says; it is no whole picture."""

_KEPT = 4_096
"""Pictures of which a process remembers that it has read them."""


class Bad(msgspec.Struct, frozen=True):
    """A row whose picture cannot be shown, and why in a word and in a sentence."""

    row: PictureRow
    why: Why
    detail: str


class Readable(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows can be shown, and which cannot."""

    rows: tuple[PictureRow, ...]
    bad: tuple[Bad, ...]
    #: Rows without measures; a repair has yet to read them.
    unmeasured: int


class DamageSum(msgspec.Struct, frozen=True, kw_only=True):
    """How the pictures of a house stand: those in the table, and those that left it."""

    pictures: int
    unmeasured: int
    damaged: int
    lost: int


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A picture that an answer refers to and that has no row."""

    run: str
    path: str
    attempt: int
    blob: str
    media: str


class Looked:
    """Reads pictures, each file once for as long as it stays as it is.

    A file that was read and has the same size, place and time of change is taken as whole; one
    that rots in place without a change of its time is found by the next process, or by verify.
    """

    def __init__(self, blobs: Blobs) -> None:
        """Take the folder of blobs."""
        self._blobs = blobs
        self._known: dict[str, tuple[tuple[int, int, int], Drawn]] = {}

    def at(self, blob: str) -> Drawn | tuple[Why, str]:
        """What a blob is, or why it is no picture that can be shown.

        Raises:
            Nothing.
        """
        try:
            state = self._blobs.path(blob).stat()
        except (OSError, UnknownName) as error:
            return "missing", f"blob {blob} is not there: {error}"
        mark = (state.st_ino, state.st_size, state.st_mtime_ns)
        known = self._known.get(blob)
        if known is not None and known[0] == mark:
            return known[1]
        found = _looked(self._blobs, blob)
        if isinstance(found, Drawn):
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[blob] = (mark, found)
        return found


def _looked(blobs: Blobs, blob: str) -> Drawn | tuple[Why, str]:
    try:
        content = blobs.get(blob)
    except UnknownName as error:
        return "missing", error.message
    except LedgerBroken as error:
        return "altered", error.message
    try:
        picture = read_picture(content)
    except ValueError as error:
        return "unreadable", f"blob {blob}: {error}"
    return Drawn(blob, picture.media, picture.width, picture.height, len(content))


def readable(looked: Looked, rows: Iterable[PictureRow]) -> Readable:
    """Keep the pictures that can be shown; every path that reads pictures goes through here.

    Blocks while it reads what it has not read before.

    Args:
        looked: what this process has read so far.
        rows: as the table has them; those that are damaged on record are not read again.

    Returns:
        The good ones in their order, the bad ones that are not on record yet, and how many
        wait for their measures.

    Raises:
        Nothing.
    """
    good: list[PictureRow] = []
    bad: list[Bad] = []
    unmeasured = 0
    for row in rows:
        if row.damage:
            continue
        if row.width is None:
            unmeasured += 1
            continue
        found = looked.at(row.blob)
        if not isinstance(found, Drawn):
            bad.append(Bad(row, *found))
        elif (found.width, found.height) == (row.width, row.height):
            good.append(row)
        else:
            detail = f"it has {found.width}x{found.height} pixels, not {row.width}x{row.height}"
            bad.append(Bad(row, "unreadable", detail))
    return Readable(rows=tuple(good), bad=tuple(bad), unmeasured=unmeasured)


def damage_sum(reader: Reader) -> DamageSum:
    """How many pictures there are, and how many of them are not as they should be.

    Raises:
        Nothing.
    """
    return DamageSum(
        pictures=reader.count(PictureRow),
        unmeasured=reader.count(PictureRow, "width IS NULL"),
        damaged=reader.count(PictureRow, "damage <> ''"),
        lost=reader.count(PictureLostRow),
    )


def pictures_of(reader: Reader, run: str) -> list[PictureRow]:
    """The pictures of a run, by path and attempt.

    Raises:
        Nothing.
    """
    return reader.rows(PictureRow, "run = ?", (run,))


def pictures_after(reader: Reader, key: tuple[str, str, int], limit: int) -> list[PictureRow]:
    """Some pictures behind a key, in the order of run, path and attempt.

    Raises:
        Nothing.
    """
    return reader.rows(PictureRow, "(run, path, attempt) > (?, ?, ?)", key, limit=limit)


def undamaged_with(reader: Reader, blob: str) -> list[PictureRow]:
    """The measured pictures of a blob that no damage is on record for.

    Raises:
        Nothing.
    """
    return reader.rows(PictureRow, "blob = ? AND damage = '' AND width IS NOT NULL", (blob,))


def lost_pictures(reader: Reader) -> list[PictureLostRow]:
    """The pictures that were condemned, by run, path and attempt.

    Raises:
        Nothing.
    """
    return reader.rows(PictureLostRow)


# -- what has no row yet ---------------------------------------------------------------------


def used_blobs(reader: Reader, after: tuple[str, int], limit: int) -> list[tuple[str, int]]:
    """Blobs and the positions of facts that name them, behind such a pair.

    Raises:
        Nothing.
    """
    sql = "SELECT blob, seq FROM blob_use WHERE (blob, seq) > (?, ?) ORDER BY blob, seq LIMIT ?"
    return [(str(blob), int(seq)) for blob, seq in reader.query(sql, (*after, limit))]


def candidate(reader: Reader, blob: str, seq: int) -> Candidate | None:
    """The picture that a fact refers to with a blob, where the table has no row for it.

    Raises:
        HouseTooNew: the fact is newer than this version.
        LedgerBroken: the fact cannot be read.
    """
    fact, _ = reader.fact(Seq(seq))
    data = fact.data
    if isinstance(data, ArtifactKept):
        attempt, media = SERVED, data.media
    elif isinstance(data, CallSettled | CallAnsweredLate | CallServed) and data.picture is None:
        attempt = SERVED if isinstance(data, CallServed) else data.attempt
        media = _media(reader, seq, blob)
    else:
        return None
    if not media.startswith("image/") or media == "image/":
        return None
    key = (fact.run, fact.path, attempt)
    if reader.get(PictureRow, *key) is not None or reader.get(PictureLostRow, *key) is not None:
        return None
    return Candidate(run=fact.run, path=fact.path, attempt=attempt, blob=blob, media=media)


class _Artifact(msgspec.Struct):
    """As much of an answer as says that it is a picture."""

    sha256: str
    media: str


def _media(reader: Reader, seq: int, blob: str) -> str:
    """The media type that an answer states for a blob, or an empty text."""
    try:
        said = msgspec.json.decode(reader.payload(Seq(seq), 0), type=_Artifact)
    except (msgspec.DecodeError, PayloadErased, UnknownName, LedgerBroken):
        return ""  # no artifact, or nobody can say any more what it was
    return said.media if said.sha256 == blob else ""


def candidates(reader: Reader, pairs: Iterable[tuple[str, int]]) -> Iterator[Candidate]:
    """The pictures without a row among some blobs and their facts.

    Raises:
        HouseTooNew: a fact is newer than this version.
        LedgerBroken: a fact cannot be read.
    """
    for blob, seq in pairs:
        found = candidate(reader, blob, seq)
        if found is not None:
            yield found
