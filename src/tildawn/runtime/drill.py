"""Proves on a copy that the newest snapshot can be gone back to: to its end, and to another point.

What it is not: a change of the house.  The copy lies beside it for as long as this takes.
"""

import random
import secrets
import shutil
import tempfile
from pathlib import Path

import msgspec

from tildawn.errors import LedgerBroken, TildawnError
from tildawn.ledger.layout import Layout
from tildawn.ledger.opening import Setup
from tildawn.ledger.restore import Wish, restore
from tildawn.ledger.snapshot import Snapshot, newest_snapshot
from tildawn.ledger.source import Point
from tildawn.ledger.sqlite.prefix import chain_at
from tildawn.ledger.verdict import State, exit_code_of
from tildawn.ledger.verify import verify
from tildawn.runtime.restore import carry
from tildawn.units import SECOND


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One restore on the copy: to how many facts, and how long it and its proof took."""

    facts: int
    restore_s: float
    verify_s: float


class Drilled(msgspec.Struct, frozen=True, kw_only=True):
    """What the drill proved; `exit_code` is 0 proven, 4 broken, 3 not provable."""

    state: str
    what: str
    exit_code: int
    #: The snapshot that was tried, and the facts in it.
    snapshot: str = ""
    facts: int = 0
    #: Chooses the other point; the same seed chooses it again.
    seed: int = 0
    tried: tuple[Tried, ...] = ()
    seconds: float = 0.0


def drill(layout: Layout, setup: Setup, seed: int | None) -> Drilled:
    """Try the newest snapshot, without the database and the blobs of the house.

    Args:
        layout: of the house, which is only read.
        setup: kinds, folds, clock.
        seed: chooses the other point; a fresh one when None.

    Returns:
        What was proven: that the ledger verifies from its first byte after each restore, that
        every table is what its facts make, and that the facts are those of the snapshot.

    Raises:
        OSError: the disk refuses.
    """
    snapshot = newest_snapshot(layout)
    if snapshot is None:
        return _said(State.NOT_PROVABLE, "there is no snapshot")
    chosen = secrets.randbits(32) if seed is None else seed
    size, clock = snapshot.manifest.size, setup.clock
    points = (size, random.Random(chosen).randint(1, size))  # noqa: S311 - a choice, no secret
    state, what, tried, began = State.PROVEN, "", list[Tried](), clock.mono()
    place = Path(tempfile.mkdtemp(prefix=".drill-", dir=layout.folder))
    try:
        for number, point in enumerate(points):
            tried.append(_tried(layout, place / str(number), setup, snapshot, point))
    except TildawnError as error:
        state, what = State.BROKEN, error.message
    finally:
        shutil.rmtree(place)
    return msgspec.structs.replace(
        _said(state, what), snapshot=snapshot.name, facts=size, seed=chosen, tried=tuple(tried),
        seconds=(clock.mono() - began) / SECOND,
    )  # fmt: skip


def _said(state: State, what: str) -> Drilled:
    return Drilled(state=state.value, what=what, exit_code=exit_code_of(state))


def _tried(layout: Layout, copy: Path, setup: Setup, snapshot: Snapshot, point: int) -> Tried:
    """Go back on a copy that has nothing but the keys, and prove what comes out."""
    shutil.copytree(layout.key.parent, copy / "keys")
    clock = setup.clock
    began = clock.mono()
    wish = Wish(to=Point(size=point), source=snapshot.folder)
    done = restore(Layout(copy), setup, wish, carry)
    restored = clock.mono()
    if done.missing:
        message = f"{len(done.missing)} blobs are not in the snapshot: {done.missing[0]} and more"
        raise LedgerBroken(message)
    said = verify(copy, registry=setup.registry, projections=setup.projections)
    if said.state is not State.PROVEN:
        message = f"restored to {point} facts, it is {said.state.value}: {said.what}"
        raise LedgerBroken(message, seq=said.seq)
    # The facts are those of the snapshot, not only some that hold together.
    whole = point == snapshot.manifest.size
    if whole and chain_at(copy / "ledger.db", point) != snapshot.manifest.chain:
        message = f"restored to {point} facts, it has other facts than the snapshot"
        raise LedgerBroken(message)
    proven = clock.mono()
    shutil.rmtree(copy)
    return Tried(
        facts=point, restore_s=(restored - began) / SECOND, verify_s=(proven - restored) / SECOND
    )
