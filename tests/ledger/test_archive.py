"""Bodies that left the database: everything reads as before, and what is missing is said by name.

What it is not: the making of segments; test_segment.py has that.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import apsw
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.errors import ArchiveMissing, LedgerBroken, TildawnError
from tildawn.ledger import archive as archives
from tildawn.ledger.archive import Archive, packed
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.sqlite.leaving import bodies_leave, give_back_space
from tildawn.ledger.tile import pack
from tildawn.ledger.verdict import State
from tildawn.projections.segment import SegmentRow
from tildawn.runtime.segment import let_leave, prune
from tildawn.testing.archive import (
    FACTS,
    PROJECTIONS,
    open_archiving,
    seal_all,
    small_segments,
    verify_archiving,
)
from tildawn.testing.clock import ManualClock
from tildawn.testing.notebook import Noted, note
from tildawn.units import Micros, Seq


RUNS = [f"{number:032x}" for number in range(4)]


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]  a fixture for every test here
    with small_segments():
        yield


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed house with four sealed segments, none of whose bodies has left."""
    folder = tmp_path_factory.mktemp("archive") / "house"
    clock = ManualClock()
    with small_segments():
        with open_archiving(folder, clock=clock) as ledger:
            for key in range(4 * FACTS + 5):
                clock.advance(Micros(1_000_000))
                run = RUNS[key * 7 % 4]
                ledger.append_now([note(ledger, key, run=run, text=f'"text {key}"')])
        with open_archiving(folder, clock=clock) as ledger:
            assert len(seal_all(ledger)) == 4
    return folder


@pytest.fixture
def house(sealed: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(sealed, tmp_path / "house"))


@pytest.fixture
def moved(house: Path) -> Path:
    """A copy from which the bodies of the first three segments have left."""
    with open_archiving(house) as ledger:
        assert let_leave(ledger, range(3)) == 3
    return house


def _hot_bodies(folder: Path) -> list[int]:
    database = apsw.Connection(str(folder / "ledger.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        sql = "SELECT seq FROM fact WHERE length(body) > 0 ORDER BY seq"
        return [int(str(seq)) for (seq,) in database.execute(sql)]
    finally:
        database.close()


def _answers(ledger: Ledger, upto: int) -> list[Any]:
    """Everything a reader can be asked for about the first facts."""
    with ledger.read() as reader:
        return [
            [reader.fact(Seq(seq)) for seq in range(upto)],
            list(reader.facts(Seq(-1), upto)),
            list(reader.facts(Seq(5), 20)),
            [reader.history(run) for run in RUNS],
            [list(reader.newest(run)) for run in RUNS],
            [list(reader.facts(Seq(3), 4, run=run)) for run in RUNS],
            [reader.payload(Seq(seq), 0) for seq in range(2, 30)],
            [reader.inclusion(seq, upto) for seq in (0, 3, 17, upto - 1)],
            reader.consistency(9, upto),
        ]


def test_every_answer_is_the_same_after_bodies_have_left(house: Path) -> None:
    """Whoever reads must not have to know where a fact is."""
    with open_archiving(house) as ledger:
        size = 4 * FACTS
        before = _answers(ledger, size)
        let_leave(ledger, range(4))
        assert _answers(ledger, size) == before
    with open_archiving(house, mode="read") as ledger:
        assert _answers(ledger, size) == before
    # The first body stays, because a house is opened by it.
    assert [seq for seq in _hot_bodies(house) if seq < size] == [0]
    verdict = verify_archiving(house)
    assert (verdict.state, verdict.what) == (State.PROVEN, "")


@given(st.integers(-1, 90), st.integers(-1, 90), st.sampled_from(["", *RUNS]))
def test_any_page_of_facts_is_the_same(
    both: tuple[Ledger, Ledger], after: int, limit: int, run: str
) -> None:
    """At every border between archive and database, and in the middle of bundles."""
    pages: list[list[Any]] = []
    for ledger in both:
        with ledger.read() as reader:
            found = reader.facts(Seq(after), limit, run=run or None)
            pages.append([one for one in found if one[0] < 4 * FACTS])
    assert pages[0] == pages[1]


@pytest.fixture(scope="module")
def both(sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ledger, Ledger]]:
    """The same house with all bodies, and without some of them."""
    folder = Path(shutil.copytree(sealed, tmp_path_factory.mktemp("both") / "house"))
    with small_segments():
        with open_archiving(folder) as ledger:
            let_leave(ledger, range(2))
        with (
            open_archiving(sealed, mode="read") as whole,
            open_archiving(folder, mode="read") as parted,
        ):
            yield whole, parted


def test_tables_are_made_again_from_the_archive(moved: Path) -> None:
    """A version with other folds must find every fact that there ever was."""
    newer = tuple(msgspec.structs.replace(one, version=one.version + 1) for one in PROJECTIONS)
    with open_archiving(moved, mode="read") as ledger, ledger.read() as reader:
        before = reader.query("SELECT * FROM note ORDER BY key")
    with open_archiving(moved, projections=newer) as ledger, ledger.read() as reader:
        assert reader.query("SELECT * FROM note ORDER BY key") == before


def test_a_house_works_without_its_archive(moved: Path) -> None:
    """Opening, appending, and the proof of chain and tree need only the hot part."""
    (moved / "archive").rename(moved.parent / "away")
    with open_archiving(moved) as ledger:
        ledger.append_now([note(ledger, 999, run=RUNS[0])])
        with ledger.read() as reader:
            assert reader.fact(Seq(0))[1]
            assert reader.fact(Seq(3 * FACTS))[1]
            with pytest.raises(ArchiveMissing) as caught:
                reader.fact(Seq(20))
            with pytest.raises(ArchiveMissing):
                reader.history(RUNS[1])
            # Proofs need leaves only.
            assert reader.inclusion(20, 3 * FACTS)
    quick, full = verify_archiving(moved, hashes_only=True), verify_archiving(moved)

    assert caught.value.exit_code == 3
    assert "segment 1 (tile/entries/005.gz) is not there" in caught.value.message
    assert quick.state is State.PROVEN
    assert (full.state, full.exit_code) == (State.NOT_PROVABLE, 3)
    assert full.what.startswith("chain and tree hold, but segment 0 ")
    assert [f"segment {number}" in full.differences[number] for number in range(3)] == [True] * 3
    assert (full.size, full.root) == (quick.size, quick.root)

    (moved.parent / "away").rename(moved / "archive")
    assert verify_archiving(moved).state is State.PROVEN


def test_tables_cannot_be_made_again_without_the_archive(moved: Path) -> None:
    """An upgrade that needs every fact says what is missing, and changes nothing."""
    (moved / "archive").rename(moved.parent / "away")
    newer = tuple(msgspec.structs.replace(one, version=one.version + 1) for one in PROJECTIONS)
    with pytest.raises(ArchiveMissing, match="segment 0"):
        open_archiving(moved, projections=newer)
    with open_archiving(moved) as ledger:
        assert ledger.writable


def _change(folder: Path, *statements: str) -> None:
    database = apsw.Connection(str(folder / "ledger.db"))
    sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'fact'"
    triggers = database.execute(sql).fetchall()
    for name, _ in triggers:
        database.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        database.execute(statement)
    for _, made in triggers:
        database.execute(str(made))
    database.close()


@pytest.mark.parametrize("hashes_only", [False, True])
def test_a_body_that_is_gone_without_a_word_is_found(moved: Path, *, hashes_only: bool) -> None:
    """Only what was archived may be without its body, also for the quick proof."""
    _change(moved, f"UPDATE fact SET body = x'' WHERE seq = {3 * FACTS + 1}")

    verdict = verify_archiving(moved, hashes_only=hashes_only)

    assert (verdict.state, verdict.seq) == (State.BROKEN, 3 * FACTS + 1)
    assert "nothing says that it was archived" in verdict.what


def test_bodies_that_left_beyond_what_is_sealed_are_found(moved: Path) -> None:
    """A word in a table is not enough: a fact must say that the archive has them."""
    _change(moved, f"UPDATE archive SET body_to = {5 * FACTS}")

    verdict = verify_archiving(moved)

    assert verdict.state is State.BROKEN
    assert "not so many were sealed" in verdict.what


def test_a_leaf_of_an_archived_fact_is_still_bound(moved: Path) -> None:
    """Without its body a leaf could be exchanged, were it not for chain and tree."""
    _change(moved, "UPDATE fact SET leaf = zeroblob(32) WHERE seq = 7")

    assert verify_archiving(moved, hashes_only=True).state is State.BROKEN
    assert verify_archiving(moved).state is State.BROKEN


def test_the_database_refuses_to_let_go_of_what_is_not_archived(moved: Path) -> None:
    """The trigger is the last line: whatever a bug asks for, hot bodies stay."""
    database = apsw.Connection(str(moved / "ledger.db"))
    for statement in (
        f"UPDATE fact SET body = x'' WHERE seq = {3 * FACTS}",
        "UPDATE fact SET body = x'00' WHERE seq = 5",
        "UPDATE fact SET leaf = zeroblob(32), body = x'' WHERE seq = 5",
        "DELETE FROM fact WHERE seq = 5",
    ):
        with pytest.raises(apsw.ConstraintError):
            database.execute(statement)
    database.close()


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        (lambda path: path.unlink(), ArchiveMissing),
        (
            lambda path: (path.chmod(0o644), path.write_bytes(packed(pack([b"{}"] * 4)))),
            LedgerBroken,
        ),
    ],
)
def test_nothing_leaves_for_a_segment_that_is_not_whole(
    house: Path, harm: Callable[[Path], object], kind: type[TildawnError]
) -> None:
    """The archive is read again just before; it would be the only copy."""
    harm(Archive(house / "archive").bundle_file(5))
    with open_archiving(house) as ledger:
        size = ledger.next_seq
        let_leave(ledger, [0])
        with pytest.raises(kind, match="segment 1"):
            let_leave(ledger, [1])
        assert ledger.next_seq == size + 1
    assert set(range(FACTS, 4 * FACTS)) <= set(_hot_bodies(house))


def test_another_entry_in_a_bundle_is_never_read_as_the_fact(moved: Path) -> None:
    """What is read is compared with the leaf, also between two checks."""
    path = Archive(moved / "archive").bundle_file(5)
    path.chmod(0o644)
    path.write_bytes(packed(pack([b"{}"] * 4)))
    with (
        open_archiving(moved) as ledger,
        ledger.read() as reader,
        pytest.raises(LedgerBroken, match="does not hold what fact 21 said"),
    ):
        reader.fact(Seq(21))
    verdict = verify_archiving(moved)

    assert (verdict.state, verdict.seq) == (State.BROKEN, 20)
    assert "segment 1 (tile/entries/005.gz)" in verdict.what


class _Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("at", range(6))
def test_a_crash_while_bodies_leave_is_gone_on_with(house: Path, at: int) -> None:
    """Some are in both places then; reading does not mind, and the next time does the rest."""
    with open_archiving(house) as ledger:
        size = 4 * FACTS
        before = _answers(ledger, size)
        left = [at]
        real = ledger.do

        def do(work: Any) -> None:
            if left[0] == 0:
                raise _Killed
            left[0] -= 1
            real(work)

        with (
            patch("tildawn.runtime.segment.LEAVE_FACTS", 5),
            patch.object(ledger, "do", do),
            pytest.raises(_Killed),
        ):
            let_leave(ledger, range(4))
    assert verify_archiving(house).state is State.PROVEN
    with open_archiving(house) as ledger:
        assert _answers(ledger, size) == before
        with ledger.read() as reader:
            rest = [row.number for row in reader.rows(SegmentRow, "moved < 0")]
        let_leave(ledger, rest)
        assert _answers(ledger, size) == before
    assert [seq for seq in _hot_bodies(house) if seq < size] == [0]
    assert verify_archiving(house).state is State.PROVEN


def test_a_refused_change_leaves_everything_as_it_was(house: Path) -> None:
    """A stale holder must not touch bodies either."""
    with open_archiving(house) as ledger:
        database = apsw.Connection(str(house / "ledger.db"))
        database.execute("UPDATE head SET epoch = epoch + 1")
        database.close()
        with pytest.raises(TildawnError, match="pen was taken"):
            ledger.do(bodies_leave(0, FACTS))
    assert 5 in _hot_bodies(house)


def test_the_space_can_be_given_back(tmp_path: Path) -> None:
    """Emptied rows leave holes in their pages; writing the database anew closes them."""
    folder = tmp_path / "house"
    with open_archiving(folder) as ledger:
        long = "x" * 3_000
        entries = [ledger.draft(Noted(key=key), actor=long) for key in range(20 * FACTS)]
        ledger.append_now(entries)
    before = (folder / "ledger.db").stat().st_size
    with open_archiving(folder) as ledger:
        let_leave(ledger, range(len(seal_all(ledger))))
        ledger.do(give_back_space)
        with ledger.read() as reader:
            assert sum(fact.actor == long for _, fact in reader.facts(Seq(-1), -1)) == 20 * FACTS
    after = (folder / "ledger.db").stat().st_size

    assert verify_archiving(folder).state is State.PROVEN
    assert before - after > 19 * FACTS * 3_000


def _pruned(folder: Path, *, older: int) -> int:
    with open_archiving(folder) as ledger:
        return prune(ledger, Micros(older))


def _newest(folder: Path, number: int) -> int:
    with open_archiving(folder, mode="read") as ledger, ledger.read() as reader:
        row = reader.get(SegmentRow, number)
        assert row is not None
        return ledger.archive.manifest(number, digest=row.manifest).newest_at


def test_what_is_over_is_dropped_and_says_so(moved: Path) -> None:
    """Tiles and manifests stay, so the hashes still hold; what the facts said is gone."""
    assert _pruned(moved, older=_newest(moved, 1)) == 1
    assert _pruned(moved, older=_newest(moved, 1) + 1) == 1
    full, quick = verify_archiving(moved), verify_archiving(moved, hashes_only=True)

    archive = Archive(moved / "archive")
    assert [archive.bundle_file(at).exists() for at in range(12)] == [False] * 8 + [True] * 4
    assert (full.state, full.exit_code) == (State.NOT_PROVABLE, 3)
    assert "the entries of segment 0 were dropped when their time was over" in full.what
    assert len(full.differences) == 2
    assert quick.state is State.PROVEN
    with open_archiving(moved) as ledger, ledger.read() as reader:
        with pytest.raises(ArchiveMissing):
            reader.fact(Seq(9))
        assert reader.fact(Seq(2 * FACTS))[1]


def test_a_tile_of_a_dropped_segment_is_still_checked(moved: Path) -> None:
    """Its hashes are what remains of it."""
    _pruned(moved, older=_newest(moved, 0) + 1)
    path = moved / "archive/tile/0/001"
    path.chmod(0o644)
    path.write_bytes(bytes(128))

    verdict = verify_archiving(moved)

    assert (verdict.state, verdict.seq) == (State.BROKEN, 0)


def test_what_is_still_in_the_database_is_not_dropped(moved: Path) -> None:
    """Dropping the archive of it would keep it all the same, only worse."""
    assert _pruned(moved, older=2**60) == 3
    assert Archive(moved / "archive").bundle_file(12).exists()


def test_a_crash_while_entries_are_dropped_is_gone_on_with(moved: Path) -> None:
    """The fact comes first; the next turn removes what is still there."""
    older = _newest(moved, 0) + 1
    real = Path.unlink

    def unlink(self: Path, missing_ok: bool = False) -> None:
        if self.name == "002.gz":
            raise _Killed
        real(self, missing_ok=missing_ok)

    with patch.object(Path, "unlink", unlink), pytest.raises(_Killed):
        _pruned(moved, older=older)
    archive = Archive(moved / "archive")
    assert [archive.bundle_file(at).exists() for at in range(4)] == [True, True, True, False]
    assert verify_archiving(moved).exit_code == 3
    assert _pruned(moved, older=older) == 0
    assert not archive.bundle_file(0).exists()


def test_what_is_kept_in_memory_has_a_bound(moved: Path) -> None:
    """A house may use 60 MB, however long its history is."""
    with patch.object(archives, "CACHE_BYTES", 2_000), open_archiving(moved) as ledger:
        with ledger.read() as reader:
            list(reader.facts(Seq(-1), -1))
        held = ledger.archive._held
        assert 0 < held <= 2_000
