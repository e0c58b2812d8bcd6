"""A small application of the ledger to try one with: notes, a total, and one seat.

What it is not: part of any night.  Its facts never meet those of a real house.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tildawn.clock import Clock, SystemClock
from tildawn.facts import house, mirror, signing
from tildawn.facts.fact import Fact, FactData, Registry
from tildawn.ids import Ids
from tildawn.ledger.entry import Entry
from tildawn.ledger.fold import Add, Change, Drop, Get, Projection, Put, Row, Table
from tildawn.ledger.keyring import SIGNING
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.verdict import Verdict
from tildawn.ledger.verify import verify
from tildawn.units import Seq


class Noted(FactData, frozen=True):
    """Something was noted under a key that is new in its run."""

    key: int
    amount: int = 1
    text: str = ""

    PAYLOADS = ("text",)


class Struck(FactData, frozen=True):
    """A note was struck out."""

    key: int


class Seated(FactData, frozen=True):
    """Somebody took the one seat; its table allows no second sitter."""

    who: str


class Risen(FactData, frozen=True):
    """Whoever sat has risen."""

    who: str


class Puzzled(FactData, frozen=True):
    """A fold raises over this one, as a bug would."""

    why: str = ""


class Note(Row, frozen=True, kw_only=True):
    """A note that stands."""

    run: str
    key: int
    amount: int
    seq: int


class Total(Row, frozen=True, kw_only=True):
    """What the notes of a run come to."""

    run: str
    count: int
    amount: int
    last: int


class Seat(Row, frozen=True, kw_only=True):
    """Who sits, and since when."""

    who: str
    sits: int
    seq: int


def _noted(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    data = fact.data
    assert isinstance(data, Noted)
    before = get(Total, fact.run) or Total(run=fact.run, count=0, amount=0, last=0)
    amount = before.amount + data.amount
    yield Add(Note(run=fact.run, key=data.key, amount=data.amount, seq=seq))
    yield Put(Total(run=fact.run, count=before.count + 1, amount=amount, last=seq))


def _struck(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    data = fact.data
    assert isinstance(data, Struck)
    note, total = get(Note, fact.run, data.key), get(Total, fact.run)
    if note is None or total is None:
        return
    amount = total.amount - note.amount
    yield Drop(Note, (fact.run, data.key))
    yield Put(Total(run=fact.run, count=total.count - 1, amount=amount, last=seq))


def _seated(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    data = fact.data
    assert isinstance(data, Seated)
    yield Put(Seat(who=data.who, sits=1, seq=seq))


def _risen(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    data = fact.data
    assert isinstance(data, Risen)
    yield Put(Seat(who=data.who, sits=0, seq=seq))


def _puzzled(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    data = fact.data
    assert isinstance(data, Puzzled)
    if data.why:
        yield Put(Total(run=fact.run, count=0, amount=0, last=seq))
        message = f"puzzled by {data.why}"
        raise RuntimeError(message)


REGISTRY = Registry(
    [*house.KINDS, *mirror.KINDS, *signing.KINDS, Noted, Struck, Seated, Risen, Puzzled]
)

PROJECTIONS = (
    Projection(
        name="notes",
        version=1,
        tables=(
            Table(name="note", row=Note, key=("run", "key")),
            Table(name="total", row=Total, key=("run",)),
        ),
        folds={Noted: _noted, Struck: _struck, Puzzled: _puzzled},
    ),
    Projection(
        name="seats",
        version=1,
        tables=(
            Table(
                name="seat",
                row=Seat,
                key=("who",),
                sql=("CREATE UNIQUE INDEX {table}_one ON {table} (sits) WHERE sits = 1",),
            ),
        ),
        folds={Seated: _seated, Risen: _risen},
    ),
)


SIGNED = (*PROJECTIONS, SIGNING)
"""The same in a house that signs checkpoints."""


def open_notebook(folder: Path, *, clock: Clock | None = None, **options: Any) -> Ledger:
    """Open a house with these facts and folds.

    Args:
        folder: the house.
        clock: the machine's when absent.
        **options: further arguments of `Ledger.open`, which win.

    Returns:
        The open ledger.

    Raises:
        TildawnError: as `Ledger.open` does.
    """
    time = clock or SystemClock()
    arguments: dict[str, Any] = {
        "registry": REGISTRY, "projections": PROJECTIONS, "clock": time, "ids": Ids(time),
        "build": "test",
    }  # fmt: skip
    return Ledger.open(folder, **(arguments | options))


def verify_notebook(folder: Path, *, hashes_only: bool = False, **options: Any) -> Verdict:
    """Check such a house; further arguments of `verify` win.

    Raises:
        Nothing.
    """
    arguments: dict[str, Any] = {"registry": REGISTRY, "projections": PROJECTIONS} | options
    return verify(folder, hashes_only=hashes_only, **arguments)


def note(ledger: Ledger, key: int, *, run: str = "", amount: int = 1, text: str = "") -> Entry:
    """A note ready to append, with a payload when there is a text.

    Raises:
        BadValue: as `Ledger.draft` does.
    """
    if not text:
        return ledger.draft(Noted(key=key, amount=amount), run=run)
    payload = ledger.payload(text.encode())
    data = Noted(key=key, amount=amount, text=payload.digest)
    return ledger.draft(data, run=run, payloads=[payload])
