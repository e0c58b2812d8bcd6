"""The house as it is now: its name, who held the pen when, and what befell the machine.

What it is not: the pen itself (``ledger/pen``) or the proof (``ledger/verify``).
"""

from collections.abc import Iterable
from typing import cast

import msgspec

from tildawn.facts.fact import Fact
from tildawn.facts.house import (
    BlobsSwept,
    ClockJumped,
    HouseFounded,
    HouseRestored,
    LoopBlocked,
    MachineSlept,
    PenLaid,
    PenTaken,
    TailVerified,
)
from tildawn.facts.run import RunInterrupted
from tildawn.ledger.fold import Change, Get, Projection, Put, Row, Table
from tildawn.units import Seq


class HouseRow(Row, frozen=True, kw_only=True):
    """The house; one row, key 0."""

    one: int
    name: str
    format: int
    founded_at: int
    #: The present epoch.
    epoch: int
    #: Facts before this position have been verified since they were written.
    verified_to: int
    verified: int


class EpochRow(Row, frozen=True, kw_only=True):
    """One holder of the pen. Instants are microseconds since 1970, 0 where it has not happened."""

    epoch: int
    taken: int
    taken_at: int
    #: Whether the holder before this one ended without laying the pen down.
    unclean: int
    reason: str
    pid: int
    build: str
    laid: int
    laid_at: int
    #: Runs found interrupted by this holder.
    interrupted: int


class IncidentRow(Row, frozen=True, kw_only=True):
    """Something that befell the machine: slept, jumped, blocked (milliseconds), swept (blobs)."""

    seq: int
    at: int
    kind: str
    amount: int
    run: str


_UNFOUNDED = HouseRow(one=0, name="", format=0, founded_at=0, epoch=0, verified_to=0, verified=-1)

TABLES = (
    Table(name="house", row=HouseRow, key=("one",)),
    Table(
        name="epoch",
        row=EpochRow,
        key=("epoch",),
        sql=("CREATE INDEX {table}_taken ON {table}(taken)",),
    ),
    Table(
        name="incident",
        row=IncidentRow,
        key=("seq",),
        sql=("CREATE INDEX {table}_at ON {table}(at)",),
    ),
)


def _found(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("HouseFounded", fact.data)
    row = get(HouseRow, 0) or _UNFOUNDED
    yield Put(msgspec.structs.replace(row, name=said.name, format=said.format, founded_at=fact.at))


def _restore(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("HouseRestored", fact.data)
    row = get(HouseRow, 0) or _UNFOUNDED
    yield Put(msgspec.structs.replace(row, name=said.name, epoch=said.epoch))


def _take(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("PenTaken", fact.data)
    yield Put(msgspec.structs.replace(get(HouseRow, 0) or _UNFOUNDED, epoch=said.epoch))
    yield Put(
        EpochRow(
            epoch=said.epoch, taken=seq, taken_at=fact.at, unclean=int(said.unclean),
            reason=said.reason, pid=said.pid, build=said.build, laid=-1, laid_at=0, interrupted=0,
        )
    )  # fmt: skip


def _lay(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(EpochRow, cast("PenLaid", fact.data).epoch)
    if row is not None:
        yield Put(msgspec.structs.replace(row, laid=seq, laid_at=fact.at))


def _verify(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(HouseRow, 0) or _UNFOUNDED
    to = cast("TailVerified", fact.data).to
    yield Put(msgspec.structs.replace(row, verified_to=to, verified=seq))


def _interrupt(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    house = get(HouseRow, 0)
    row = get(EpochRow, house.epoch) if house is not None else None
    if row is not None:
        yield Put(msgspec.structs.replace(row, interrupted=row.interrupted + 1))


def _incident(seq: Seq, fact: Fact, kind: str, amount: int) -> Iterable[Change]:
    return (Put(IncidentRow(seq=seq, at=fact.at, kind=kind, amount=amount, run=fact.run)),)


def _sleep(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    return _incident(seq, fact, "slept", cast("MachineSlept", fact.data).slept_ms)


def _jump(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    return _incident(seq, fact, "jumped", cast("ClockJumped", fact.data).by_ms)


def _block(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    return _incident(seq, fact, "blocked", cast("LoopBlocked", fact.data).blocked_ms)


def _sweep(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    return _incident(seq, fact, "swept", cast("BlobsSwept", fact.data).count)


HOUSE = Projection(
    name="house",
    version=1,
    tables=TABLES,
    folds={
        HouseFounded: _found,
        HouseRestored: _restore,
        PenTaken: _take,
        PenLaid: _lay,
        TailVerified: _verify,
        RunInterrupted: _interrupt,
        MachineSlept: _sleep,
        ClockJumped: _jump,
        LoopBlocked: _block,
        BlobsSwept: _sweep,
    },
)
