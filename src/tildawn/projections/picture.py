"""The pictures that the house keeps: one row each, and what is wrong with some of them.

What it is not: a look at the files; `tildawn.projections.damage` has that.

The table takes no picture without sane measures.  Only a repair opens it for rows whose
measures follow, and it cannot close it again before none is missing.  What is lost for good
leaves the table for one of its own.
"""

from collections.abc import Iterable
from typing import cast

import msgspec

from tildawn.facts.call import CallAnsweredLate, CallServed, CallSettled
from tildawn.facts.fact import Fact
from tildawn.facts.picture import (
    Drawn,
    PictureCondemned,
    PictureDamaged,
    PictureMeasured,
    PictureNoted,
    PicturesConstrained,
    PicturesOpened,
    RepairBegun,
    RepairEnded,
)
from tildawn.ledger.fold import Add, Change, Drop, Get, Projection, Put, Row, Table
from tildawn.units import Seq


SERVED = 0
"""The attempt of a picture that no attempt of a call brought: a tier's, or an artifact."""


class PictureRow(Row, frozen=True, kw_only=True):
    """One picture of a run. ``width`` and ``height`` are pixels, None while not measured."""

    run: str
    path: str
    attempt: int
    blob: str
    media: str
    width: int | None
    height: int | None
    size_bytes: int | None
    #: Why it cannot be shown, or empty; such rows wait for a repair.
    damage: str
    #: Position of the fact that brought it.
    seq: int
    #: Position of the fact that gave the present state.
    state_at: int


class PictureRuleRow(Row, frozen=True, kw_only=True):
    """Whether rows may lack their measures now; there is at most one."""

    house: int
    open: int
    plan: str


class PictureLostRow(Row, frozen=True, kw_only=True):
    """A picture that no repair brings back, and why."""

    run: str
    path: str
    attempt: int
    blob: str
    media: str
    why: str
    plan: str
    seq: int
    condemned: int
    condemned_at: int


class RepairRow(Row, frozen=True, kw_only=True):
    """One plan of repair that was begun; ``ended`` is -1 while it is not at its end."""

    plan: str
    steps: int
    begun: int
    begun_at: int
    ended: int
    measured: int
    restored: int
    condemned: int


_SHA256 = "length(blob) = 64 AND blob NOT GLOB '*[^0-9a-f]*'"

PICTURES = Table(
    name="picture",
    row=PictureRow,
    key=("run", "path", "attempt"),
    checks=(
        _SHA256,
        "media GLOB 'image/?*'",
        "width BETWEEN 1 AND 16384",
        "height BETWEEN 1 AND 16384",
        "size_bytes > 0",
        "(width IS NULL) = (height IS NULL) AND (width IS NULL) = (size_bytes IS NULL)",
        "damage IN ('', 'missing', 'altered', 'unreadable')",
    ),
    sql=(
        "CREATE INDEX {table}_blob ON {table}(blob)",
        "CREATE INDEX {table}_bad ON {table}(damage) WHERE damage <> ''",
        "CREATE INDEX {table}_unmeasured ON {table}(seq) WHERE width IS NULL",
        (
            "CREATE TRIGGER {table}_measured BEFORE INSERT ON {table}"
            " WHEN NEW.width IS NULL AND NOT EXISTS (SELECT 1 FROM picture_rule WHERE open = 1)"
            " BEGIN SELECT RAISE(ABORT, 'a picture counts only with its measures'); END"
        ),
    ),
)
RULES = Table(
    name="picture_rule",
    row=PictureRuleRow,
    key=("house",),
    checks=("house = 0", "open IN (0, 1)"),
    sql=(
        (
            "CREATE TRIGGER {table}_closed BEFORE INSERT ON {table}"
            " WHEN NEW.open = 0 AND EXISTS (SELECT 1 FROM picture WHERE width IS NULL)"
            " BEGIN SELECT RAISE(ABORT, 'pictures still lack their measures'); END"
        ),
    ),
)
LOST = Table(
    name="picture_lost",
    row=PictureLostRow,
    key=("run", "path", "attempt"),
    checks=(_SHA256, "why IN ('missing', 'altered', 'unreadable')"),
)
REPAIRS = Table(name="repair", row=RepairRow, key=("plan",))


def _brought(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    """An answer came; where it is a picture, it has been read."""
    said = cast("CallSettled | CallAnsweredLate | CallServed", fact.data)
    if said.picture is not None:
        attempt = SERVED if isinstance(said, CallServed) else said.attempt
        yield from _put(seq, fact, attempt, said.picture)


def _put(seq: Seq, fact: Fact, attempt: int, drawn: Drawn) -> Iterable[Change]:
    key = (fact.run, fact.path, attempt)
    yield Drop(PictureLostRow, key)
    yield Put(
        PictureRow(
            run=fact.run,
            path=fact.path,
            attempt=attempt,
            blob=drawn.blob,
            media=drawn.media,
            width=drawn.width,
            height=drawn.height,
            size_bytes=drawn.size_bytes,
            damage="",
            seq=seq,
            state_at=seq,
        )
    )


def _note(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("PictureNoted", fact.data)
    yield Add(
        PictureRow(
            run=fact.run,
            path=fact.path,
            attempt=said.attempt,
            blob=said.blob,
            media=said.media,
            width=None,
            height=None,
            size_bytes=None,
            damage="",
            seq=seq,
            state_at=seq,
        )
    )


def _measure(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("PictureMeasured", fact.data)
    row = get(PictureRow, fact.run, fact.path, said.attempt)
    lost = get(PictureLostRow, fact.run, fact.path, said.attempt)
    if row is None and lost is not None and lost.blob == said.picture.blob:
        yield from _put(seq, fact, said.attempt, said.picture)  # its bytes have come back
    if row is None or row.blob != said.picture.blob:
        return
    yield Put(
        msgspec.structs.replace(
            row,
            media=said.picture.media,
            width=said.picture.width,
            height=said.picture.height,
            size_bytes=said.picture.size_bytes,
            damage="",
            state_at=seq,
        )
    )


def _damage(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("PictureDamaged", fact.data)
    row = get(PictureRow, fact.run, fact.path, said.attempt)
    if row is not None and row.blob == said.blob:
        yield Put(msgspec.structs.replace(row, damage=said.why, state_at=seq))


def _condemn(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("PictureCondemned", fact.data)
    row = get(PictureRow, fact.run, fact.path, said.attempt)
    if row is None or row.blob != said.blob:
        return
    yield Drop(PictureRow, (row.run, row.path, row.attempt))
    yield Put(
        PictureLostRow(
            run=row.run,
            path=row.path,
            attempt=row.attempt,
            blob=row.blob,
            media=row.media,
            why=said.why,
            plan=said.plan,
            seq=row.seq,
            condemned=seq,
            condemned_at=fact.at,
        )
    )


def _begin(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RepairBegun", fact.data)
    yield Put(
        RepairRow(
            plan=said.plan,
            steps=said.steps,
            begun=seq,
            begun_at=fact.at,
            ended=-1,
            measured=0,
            restored=0,
            condemned=0,
        )
    )


def _open(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    yield Put(PictureRuleRow(house=0, open=1, plan=cast("PicturesOpened", fact.data).plan))


def _close(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    yield Put(PictureRuleRow(house=0, open=0, plan=cast("PicturesConstrained", fact.data).plan))


def _end(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RepairEnded", fact.data)
    row = get(RepairRow, said.plan)
    if row is not None:
        yield Put(
            msgspec.structs.replace(
                row,
                ended=seq,
                measured=said.measured,
                restored=said.restored,
                condemned=said.condemned,
            )
        )


PICTURE = Projection(
    name="picture",
    version=1,
    tables=(RULES, PICTURES, LOST, REPAIRS),
    folds={
        CallSettled: _brought,
        CallAnsweredLate: _brought,
        CallServed: _brought,
        PictureNoted: _note,
        PictureMeasured: _measure,
        PictureDamaged: _damage,
        PictureCondemned: _condemn,
        RepairBegun: _begin,
        PicturesOpened: _open,
        PicturesConstrained: _close,
        RepairEnded: _end,
    },
)
"""Pictures and their repairs, in one projection: the rule looks at the rows."""
