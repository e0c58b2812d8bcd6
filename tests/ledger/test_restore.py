"""Going back: from the best source, to any position, whole or not at all.

What it is not: what becomes of runs and calls; tests/runtime/test_restore.py has that.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tildawn.clock import SystemClock
from tildawn.errors import HouseUnusable, LedgerBroken, Misused, PayloadErased, TildawnError
from tildawn.facts import erasure
from tildawn.facts.fact import Registry
from tildawn.facts.house import HouseFounded, HouseRestored
from tildawn.ids import Ids
from tildawn.ledger.entry import Entry
from tildawn.ledger.erasure import erase, held_by
from tildawn.ledger.layout import Layout
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.opening import Setup
from tildawn.ledger.restore import Ground, Restored, Wish, restore
from tildawn.ledger.snapshot import Snapshot, take
from tildawn.ledger.source import Point
from tildawn.ledger.sqlite.projector import Memory
from tildawn.ledger.swap import STEPS, decided
from tildawn.ledger.verdict import State
from tildawn.ledger.verify import verify
from tildawn.testing.clock import ManualClock
from tildawn.testing.notebook import (
    PROJECTIONS,
    REGISTRY,
    Note,
    Seat,
    Seated,
    Struck,
    Total,
    note,
    open_notebook,
    verify_notebook,
)
from tildawn.units import SECOND, Micros, Seq


Open = Callable[..., Ledger]
LONG = "x" * 70_000
ERASING = Registry([*REGISTRY.kinds().values(), *erasure.KINDS])


def _setup(clock: Any) -> Setup:
    return Setup(
        registry=REGISTRY, projections=PROJECTIONS, clock=clock, ids=Ids(SystemClock()),
        build="test",
    )  # fmt: skip


def _nothing(_: Ground) -> Sequence[Entry]:
    return ()


def back(
    folder: Path,
    clock: Any,
    *,
    size: int | None = None,
    at: int | None = None,
    source: Path | None = None,
) -> Restored:
    """Restore a notebook that is closed."""
    wish = Wish(to=Point(size=size, at=at), source=source)
    return restore(Layout(folder), _setup(clock), wish, _nothing)


def _write(ledger: Ledger, first: int, count: int) -> None:
    keys = range(first, first + count)
    ledger.append_now([note(ledger, key, run=f"r{key % 3}", text=f'"{key}"') for key in keys])


def _damage(folder: Path, seq: int) -> None:
    other: Any = apsw.Connection(str(folder / "ledger.db"))
    other.execute("DROP TRIGGER fact_never_changes")
    other.execute("UPDATE fact SET body = x'7B7D' WHERE seq = ?", (seq,))
    other.close()


@pytest.fixture
def written(house: Open, folder: Path, clock: ManualClock) -> int:
    """A closed house with 62 notes, one of them a blob; its size."""
    ledger = house()
    for first in range(0, 60, 10):
        _write(ledger, first, 10)
        clock.advance(Micros(60 * SECOND))
    ledger.append_now([ledger.draft(Struck(key=4), run="r1"), ledger.draft(Seated(who="Ann"))])
    ledger.append_now([note(ledger, 99, run="r", text=f'"{LONG}"')])
    ledger.close()
    with open_notebook(folder, clock=clock, mode="read") as reading:
        return reading.head().size


@pytest.fixture
def snapshot(written: int, folder: Path, clock: ManualClock) -> Snapshot:
    """One of all of it."""
    return take(Layout(folder), clock=clock, build="test", why="asked")


def _rows(ledger: Ledger) -> list[object]:
    with ledger.read() as reader:
        notes = sorted(reader.rows(Note), key=lambda row: repr((row.run, row.key)))
        return [*notes, *reader.rows(Total), *reader.rows(Seat)]


def _prefix_rows(bodies: Sequence[bytes]) -> list[object]:
    memory = Memory(PROJECTIONS)
    for seq, body in enumerate(bodies):
        fact: Any = REGISTRY.decode(body)
        memory.fold(Seq(seq), fact)
    found: list[object] = []
    for kind in (Note, Total, Seat):
        rows = {name[1:]: row for name, row in memory.rows.items() if name[0] is kind}
        found += [rows[key] for key in sorted(rows, key=repr)]
    return found


def _bodies(folder: Path) -> list[bytes]:
    other: Any = apsw.Connection(str(folder / "ledger.db"))
    bodies = [body for (body,) in other.execute("SELECT body FROM fact ORDER BY seq")]
    other.close()
    return bodies


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.integers(0, 1_000), from_snapshot=st.booleans())
def test_any_position_is_the_fold_of_its_prefix(
    written: int,
    snapshot: Snapshot,
    folder: Path,
    clock: ManualClock,
    tmp_path: Path,
    *,
    share: int,
    from_snapshot: bool,
) -> None:
    """The whole promise, for any position and either source: facts, tables, proof, and no more."""
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    bodies = _bodies(copy)
    size = 1 + share * (written - 1) // 1_000

    done = back(copy, clock, size=size, source=snapshot.folder if from_snapshot else None)

    assert verify_notebook(copy).state is State.PROVEN
    after = _bodies(copy)
    assert after[:size] == bodies[:size]
    assert len(after) == size + 1
    with open_notebook(copy, clock=clock) as ledger:
        assert _rows(ledger) == _prefix_rows(bodies[:size])
        assert ledger.name == done.said.name
        _write(ledger, 500, 5)
    assert verify_notebook(copy).state is State.PROVEN
    assert _bodies(done.aside) == bodies


def test_the_log_goes_on_under_another_name_behind_every_epoch(
    written: int, folder: Path, clock: ManualClock
) -> None:
    """The same name with another history would be a fork, which a witness rightly refuses."""
    with open_notebook(folder, clock=clock) as before:
        name, epoch, head = before.name, before.epoch, before.head()

    done = back(folder, clock, size=20)

    said = done.said
    assert (said.from_name, said.source, done.missing) == (
        name, "ledger", (),
    )  # fmt: skip
    assert said.from_size > head.size
    with open_notebook(folder, clock=clock) as after:
        assert (after.name, after.epoch) == (said.name, epoch + 1)
        assert after.name != name
        # Nobody died: what was going on counts against no run.
        assert not after.unclean
        with after.read() as reader:
            first, _ = reader.fact(Seq(0))
            second, _ = reader.fact(Seq(20))
    assert isinstance(first.data, HouseFounded)
    assert second.data == said
    with open_notebook(folder, clock=clock, mode="read") as reading:
        assert reading.name == said.name


def test_a_house_can_go_back_again_and_again(
    written: int, folder: Path, clock: ManualClock
) -> None:
    """Also to before an earlier restore, and onto one."""
    names = [back(folder, clock, size=size).said.name for size in (50, 51, 30, 10)]

    with open_notebook(folder, clock=clock) as ledger:
        assert ledger.name == names[-1]
    assert len(set(names)) == 4
    assert verify_notebook(folder).state is State.PROVEN
    assert len(list((folder / "aside").iterdir())) == 4


def test_a_time_means_the_last_fact_stamped_by_then(
    written: int, folder: Path, clock: ManualClock
) -> None:
    """Somebody remembers when it was still right, not a position."""
    with open_notebook(folder, clock=clock, mode="read") as ledger, ledger.read() as reader:
        stamps = [fact.at for _, fact in reader.facts()]
    at = stamps[25]
    expected = max(seq for seq, stamp in enumerate(stamps) if stamp <= at) + 1

    assert back(folder, clock, at=at + 5).size == expected


# -- sources --------------------------------------------------------------------------------


def test_a_damaged_ledger_gives_what_comes_before_the_damage(
    written: int, folder: Path, clock: ManualClock
) -> None:
    """Everything up to the last hash that still agrees, and not one fact more."""
    ledger = open_notebook(folder, clock=clock)
    for first in range(1_000, 3_000, 500):
        _write(ledger, first, 500)
    ledger.close()
    _damage(folder, 1_500)

    with pytest.raises(LedgerBroken, match="1024"):
        back(folder, clock, size=1_400)
    assert back(folder, clock, size=700).size == 700


def test_a_snapshot_serves_where_the_ledger_cannot(
    snapshot: Snapshot, written: int, folder: Path, clock: ManualClock
) -> None:
    """The day for which it was taken; the epoch is raised beyond what nobody can read."""
    _damage(folder, 3)

    done = back(folder, clock)

    assert (done.said.source, done.size) == (snapshot.name, written)
    assert verify_notebook(folder).state is State.PROVEN


@pytest.mark.parametrize("loss", ["gone", "empty", "noise"])
def test_a_lost_database_comes_back_from_a_snapshot(
    snapshot: Snapshot, written: int, folder: Path, clock: ManualClock, loss: str
) -> None:
    """With its blobs; and no epoch is used twice, although nobody knows the last one."""
    database = folder / "ledger.db"
    database.unlink()
    if loss != "gone":
        database.write_bytes(b"" if loss == "empty" else b"noise" * 1_000)
    shutil.rmtree(folder / "blobs")

    done = back(folder, clock)

    assert (done.size, done.missing) == (written, ())
    assert done.said.epoch >= snapshot.manifest.epoch + 1_000
    assert verify_notebook(folder).state is State.PROVEN


def test_a_blob_that_nobody_has_is_named_and_does_not_stop_it(
    snapshot: Snapshot, written: int, folder: Path, clock: ManualClock
) -> None:
    """One lost picture must not cost the night; verify goes on naming it."""
    for place in (folder / "blobs", snapshot.folder / "blobs"):
        shutil.rmtree(place)

    done = back(folder, clock)

    assert done.missing == snapshot.manifest.blobs
    assert verify_notebook(folder).state is State.BROKEN


@pytest.mark.parametrize("damage", ["packed", "manifest", "short"])
def test_a_snapshot_that_does_not_verify_is_refused_and_nothing_is_changed(
    snapshot: Snapshot, folder: Path, clock: ManualClock, damage: str
) -> None:
    """The refusal names it, and the house that is there stays as it is, damage and all."""
    _damage(folder, 3)
    path = snapshot.folder / ("manifest.json" if damage == "manifest" else "ledger.db.gz")
    content = bytearray(path.read_bytes())
    if damage == "short":
        del content[-10:]
    else:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)
    was = _state(folder)

    with pytest.raises(LedgerBroken):
        back(folder, clock)
    with pytest.raises(LedgerBroken):
        back(folder, clock, source=snapshot.folder)

    assert _state(folder) == was


@pytest.mark.parametrize("size", [0, -1, 100_000])
def test_beyond_the_ends_is_refused_and_nothing_is_changed(
    snapshot: Snapshot, folder: Path, clock: ManualClock, size: int
) -> None:
    """A typing error must not look like a success."""
    was = _state(folder)

    with pytest.raises(Misused):
        back(folder, clock, size=size)
    with pytest.raises(TildawnError):
        back(folder, clock, at=1)

    assert _state(folder) == was


def test_without_the_key_nothing_is_restored(
    snapshot: Snapshot, folder: Path, clock: ManualClock
) -> None:
    """Keys are in no snapshot, and a house without its key knows none of its natural keys."""
    (folder / "keys" / "house.key").unlink()

    with pytest.raises(HouseUnusable, match="key"):
        back(folder, clock)


def _state(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


# -- crashes ---------------------------------------------------------------------------------


class _Crash(Exception):
    """The process ended here."""


def _cut(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Let only some of the steps of the swap happen."""

    def crash(*_: object) -> None:
        raise _Crash

    cut = (*STEPS[:steps], crash)
    monkeypatch.setattr("tildawn.ledger.swap.STEPS", cut)


@pytest.mark.parametrize("steps", range(len(STEPS)))
def test_a_crash_behind_the_decision_leaves_the_new_house(
    written: int, folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """Whoever opens the house to write does what is left; nobody ever sees half of it."""
    bodies = _bodies(folder)
    with monkeypatch.context() as patched:
        _cut(patched, steps)
        with pytest.raises(_Crash):
            back(folder, clock, size=20)

    assert decided(Layout(folder)) is not None
    assert verify_notebook(folder).state is State.NOT_PROVABLE
    with pytest.raises(HouseUnusable, match="cut off"):
        open_notebook(folder, clock=clock, mode="read")
    with open_notebook(folder, clock=clock) as ledger:
        assert _rows(ledger) == _prefix_rows(bodies[:20])
    assert verify_notebook(folder).state is State.PROVEN
    [aside] = (folder / "aside").iterdir()
    assert _bodies(aside) == bodies
    assert not (folder / "restoring").exists()
    assert decided(Layout(folder)) is None


def test_every_step_can_be_done_again(
    written: int, folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash comes in the middle of a step too, and then it is done a second time."""
    twice = tuple(step for one in STEPS for step in (one, one))
    monkeypatch.setattr("tildawn.ledger.swap.STEPS", twice)

    back(folder, clock, size=20)

    assert verify_notebook(folder).state is State.PROVEN


def test_a_crash_before_the_decision_leaves_the_old_house(
    written: int, folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but new names was made, and the next restore takes them away."""
    was = _bodies(folder)

    def crash(*_: object) -> None:
        raise _Crash

    with monkeypatch.context() as patched:
        patched.setattr("tildawn.ledger.swap.write_durably", crash)
        with pytest.raises(_Crash):
            back(folder, clock, size=20)

    assert verify_notebook(folder).state is State.PROVEN
    assert _bodies(folder) == was
    assert back(folder, clock, size=20).size == 20
    assert [path.name for path in (folder / "aside").iterdir() if path.name.startswith(".")] == []


def test_the_log_of_the_old_database_is_never_applied_to_the_new_one(
    house: Open, folder: Path, clock: ManualClock, tmp_path: Path
) -> None:
    """After a crash the old house has facts in its log alone; they go aside with it."""
    ledger = house()
    _write(ledger, 0, 10)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    assert (copy / "ledger.db-wal").stat().st_size > 0

    done = back(copy, clock, size=5)

    assert verify_notebook(copy).state is State.PROVEN
    assert len(_bodies(copy)) == 6
    assert len(_bodies(done.aside)) == 12


def test_an_old_checkpoint_is_not_held_against_the_new_log(
    written: int, folder: Path, clock: ManualClock
) -> None:
    """Its size would say that facts were cut off; it goes aside with the log it speaks of."""
    layout = Layout(folder)
    layout.checkpoint.write_text("tildawn/old\n99\n")
    (layout.shadow).write_bytes(b"second set of books")

    done = back(folder, clock, size=20)

    assert not layout.checkpoint.exists()
    assert not layout.shadow.exists()
    assert (done.aside / "checkpoint").read_text() == "tildawn/old\n99\n"
    assert layout.founded.read_text().strip() == done.said.name


def test_what_follows_is_part_of_the_restore(
    written: int, folder: Path, clock: ManualClock
) -> None:
    """A fact that a fold refuses must not leave a house without it."""

    def twice(ground: Ground) -> Sequence[Entry]:
        one = ground.drafts.draft(Seated(who="Bob"))
        return (one, ground.drafts.draft(Seated(who="Eve")))

    was = _bodies(folder)
    wish = Wish(to=Point(size=20))
    with pytest.raises(TildawnError):
        restore(Layout(folder), _setup(clock), wish, twice)

    assert _bodies(folder) == was
    assert verify_notebook(folder).state is State.PROVEN


def test_what_was_erased_later_stays_erased(written: int, folder: Path, clock: ManualClock) -> None:
    """To go back to before an erasure must not undo it."""
    with open_notebook(folder, clock=clock, registry=ERASING) as ledger:
        with ledger.read() as reader:
            scope = held_by(reader, (), (5, 7))
        erase(ledger, folder, scope, runs=0, why="asked")
    setup = replace(_setup(clock), registry=ERASING)

    done = restore(Layout(folder), setup, Wish(to=Point(size=20)), _nothing)

    assert done.said.erased == 1
    said = verify(folder, registry=ERASING, projections=PROJECTIONS)
    assert said.state is State.PROVEN
    with open_notebook(folder, clock=clock, registry=ERASING) as ledger, ledger.read() as reader:
        for seq in (5, 7):
            with pytest.raises(PayloadErased):
                reader.payload(Seq(seq), 0)
        assert reader.payload(Seq(6), 0)


def test_the_restore_is_a_fact_that_names_what_was_left(
    written: int, folder: Path, clock: ManualClock
) -> None:
    """The morning must be able to say what the log that is gone was called and how far it got."""
    with open_notebook(folder, clock=clock, mode="read") as ledger:
        head = ledger.head()

    said = back(folder, clock, size=20).said

    assert isinstance(said, HouseRestored)
    assert (said.from_size, said.from_root, said.epoch) == (head.size, head.root, head.epoch)
