"""What is wrong with the pictures of a house, and what would be done about it.

What it is not: the doing; that is `tildawn.runtime.repair.doing`.

The steps go in the order in which a table is migrated safely: rows that may lack their measures,
the measures, and only then the constraint that none may be missing.
"""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec

from tildawn.errors import LedgerBroken, UnknownName
from tildawn.facts.picture import Drawn
from tildawn.ledger.blobs import read_blob
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.reader import Reader
from tildawn.picture import read_picture
from tildawn.projections.damage import (
    Candidate,
    Looked,
    candidates,
    lost_pictures,
    pictures_after,
    used_blobs,
)
from tildawn.projections.picture import PictureLostRow, PictureRow, PictureRuleRow, RepairRow


PAGE = 256
"""Rows of one read transaction."""

Do = Literal["open", "note", "restore", "measure", "condemn", "constrain"]
ORDER: tuple[Do, ...] = ("open", "note", "restore", "measure", "condemn", "constrain")


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that would be done, and to which picture; ``was`` says what is wrong now."""

    do: Do
    run: str = ""
    path: str = ""
    attempt: int = 0
    blob: str = ""
    media: str = ""
    width: int = 0
    height: int = 0
    size_bytes: int = 0
    #: missing, altered, unreadable, unmeasured, mismeasured, unknown (without a row), or lost.
    was: str = ""
    detail: str = ""


class RepairPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All that would be done to a house, in order.

    ``source`` is the folder that whole copies of files are taken from, or empty.
    """

    house: str
    source: str
    steps: tuple[Step, ...]

    @property
    def hash(self) -> str:
        """SHA-256 over all of it, as 64 hexadecimal digits."""
        return sha256(msgspec.json.encode(self)).hexdigest()


def unfinished(reader: Reader) -> tuple[str, ...]:
    """The hashes of plans that were begun and not ended, the oldest first.

    Raises:
        Nothing.
    """
    return tuple(row.plan for row in reader.rows(RepairRow, "ended < 0", order="begun"))


# -- the plan ---------------------------------------------------------------------------------


def plan_repair(ledger: Ledger, *, source: Path | None = None) -> RepairPlan:
    """Look at every picture of a house; blocks while it reads them.

    Args:
        ledger: open, to read at least.
        source: a folder with whole copies of files, such as a copy of the house.

    Returns:
        What would be done.

    Raises:
        HouseTooNew: a fact is newer than this version.
        LedgerBroken: a fact cannot be read.
    """
    planner = _Planner(ledger, source)
    for one in _unknown(ledger):
        planner.unknown(one)
    for row in _pictures(ledger):
        planner.known(row)
    with ledger.read() as reader:
        lost = lost_pictures(reader)
        rule = reader.get(PictureRuleRow, 0)
    for row in lost:
        planner.lost(row)
    open_now = rule is not None and bool(rule.open)
    return RepairPlan(
        house=ledger.name,
        source=str(source.absolute()) if source else "",
        steps=planner.steps(open_now),
    )


class _Planner:
    """Collects steps while pictures are looked at one by one."""

    def __init__(self, ledger: Ledger, source: Path | None) -> None:
        self._looked = Looked(ledger.blobs)
        self._source = source
        self._steps: list[Step] = []
        self._restored: set[str] = set()

    def unknown(self, one: Candidate) -> None:
        noted = Step(
            do="note", run=one.run, path=one.path, attempt=one.attempt, blob=one.blob,
            media=one.media, was="unknown",
        )  # fmt: skip
        self._steps.append(noted)
        self._judge(noted, "unknown")

    def known(self, row: PictureRow) -> None:
        found = self._looked.at(row.blob)
        measured = isinstance(found, Drawn) and _measures(row) == found
        if not measured or row.damage:
            was = row.damage or ("unmeasured" if row.width is None else "")
            self._judge(
                _step(row), was or (found[0] if isinstance(found, tuple) else "mismeasured")
            )

    def lost(self, row: PictureLostRow) -> None:
        """A condemned picture comes back when its bytes do."""
        if self._found(row.blob)[0] is not None:
            self._judge(_step(row), "lost")

    def _judge(self, step: Step, was: str) -> None:
        drawn, restore, bad = self._found(step.blob)
        if drawn is None:
            assert bad is not None, "what is no picture has a reason"
            why, detail = bad
            self._steps.append(msgspec.structs.replace(step, do="condemn", was=why, detail=detail))
            return
        if restore and step.blob not in self._restored:
            self._restored.add(step.blob)
            self._steps.append(Step(do="restore", blob=step.blob, was=restore))
        measured = msgspec.structs.replace(
            step, do="measure", was=was, media=drawn.media, width=drawn.width,
            height=drawn.height, size_bytes=drawn.size_bytes,
        )  # fmt: skip
        self._steps.append(measured)

    def _found(self, blob: str) -> tuple[Drawn | None, str, tuple[str, str] | None]:
        """The picture, why its file must be put back first, and why there is none."""
        found = self._looked.at(blob)
        if isinstance(found, Drawn):
            return found, "", None
        why, detail = found
        copy = copy_of(self._source, blob) if why != "unreadable" else None
        if copy is None:
            return None, "", (why, detail)
        from_copy = _drawn(blob, copy)
        if from_copy is None:
            return None, "", ("unreadable", f"the copy of blob {blob} is no whole picture")
        return from_copy, why, None

    def steps(self, open_now: bool) -> tuple[Step, ...]:
        noted = any(step.do == "note" for step in self._steps)
        if noted and not open_now:
            self._steps.append(Step(do="open"))
        if noted or open_now:
            self._steps.append(Step(do="constrain"))
        return tuple(sorted(self._steps, key=_place))


def _place(step: Step) -> tuple[int, str, str, int, str]:
    return ORDER.index(step.do), step.run, step.path, step.attempt, step.blob


def _step(row: PictureRow | PictureLostRow) -> Step:
    return Step(
        do="measure", run=row.run, path=row.path, attempt=row.attempt, blob=row.blob,
        media=row.media,
    )  # fmt: skip


def _measures(row: PictureRow) -> Drawn | None:
    if row.width is None or row.height is None or row.size_bytes is None:
        return None
    return Drawn(row.blob, row.media, row.width, row.height, row.size_bytes)


def _drawn(blob: str, content: bytes) -> Drawn | None:
    try:
        picture = read_picture(content)
    except ValueError:
        return None
    return Drawn(blob, picture.media, picture.width, picture.height, len(content))


def copy_of(source: Path | None, blob: str) -> bytes | None:
    """A whole copy of a blob from a folder of blobs, a house, or a project.

    Raises:
        Nothing.
    """
    for folder in (source, source / "blobs", source / ".tildawn" / "blobs") if source else ():
        try:
            return read_blob(folder, blob)
        except (UnknownName, LedgerBroken):
            continue
    return None


def _unknown(ledger: Ledger) -> Iterator[Candidate]:
    after = ("", -1)
    while True:
        with ledger.read() as reader:
            pairs = used_blobs(reader, after, PAGE)
            found = list(candidates(reader, pairs))
        yield from found
        if not pairs:
            return
        after = pairs[-1]


def _pictures(ledger: Ledger) -> Iterator[PictureRow]:
    after = ("", "", -1)
    while True:
        with ledger.read() as reader:
            rows = pictures_after(reader, after, PAGE)
        yield from rows  # the files are read with no transaction open
        if not rows:
            return
        after = (rows[-1].run, rows[-1].path, rows[-1].attempt)
