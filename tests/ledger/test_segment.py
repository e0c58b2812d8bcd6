"""Segments in the archive: what is written, what a crash leaves, and what a check finds.

What it is not: bodies that leave the database; test_archive.py has that.
"""

import gzip
import os
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from random import Random
from unittest.mock import patch

import apsw
import msgspec
import pytest

from tildawn.facts.segment import SegmentSealed
from tildawn.ledger.archive import Archive, Manifest
from tildawn.ledger.chain import Frontier, leaf_of
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.proof import check_inclusion, prove_inclusion, range_root
from tildawn.ledger.sealing import publish_checkpoint, seal_next
from tildawn.ledger.tile import Place, hashes_in, tile_path, tile_root, tiles_of, unpack
from tildawn.ledger.verdict import State
from tildawn.projections.segment import SegmentRow, sealed_segments
from tildawn.testing.archive import (
    FACTS,
    WIDTH,
    open_archiving,
    seal_all,
    small_segments,
    verify_archiving,
)
from tildawn.testing.clock import ManualClock
from tildawn.testing.notebook import note
from tildawn.units import Micros, Seq


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]  a fixture for every test here
    with small_segments():
        yield


def _fill(folder: Path, count: int) -> None:
    """Write notes, and settle them by closing."""
    clock = ManualClock()
    with open_archiving(folder, clock=clock) as ledger:
        for key in range(count):
            clock.advance(Micros(1_000))
            ledger.append_now([note(ledger, key, run=f"{key % 3:032x}", text=f'"{key}"')])


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed house with five sealed segments; to be copied."""
    folder = tmp_path_factory.mktemp("sealed") / "house"
    with small_segments():
        _fill(folder, 5 * FACTS)
        with open_archiving(folder) as ledger:
            assert len(seal_all(ledger)) == 5
    return folder


@pytest.fixture
def house(sealed: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(sealed, tmp_path / "house"))


def _manifest(folder: Path, number: int) -> Manifest:
    path = Archive(folder / "archive").manifest_path(number)
    return msgspec.json.decode(path.read_bytes(), type=Manifest)


def _leaves(ledger: Ledger) -> list[bytes]:
    with ledger.read() as reader:
        return [bytes(leaf) for (leaf,) in reader.query("SELECT leaf FROM fact ORDER BY seq")]


def test_a_sealed_segment_is_a_log_that_others_can_read(house: Path) -> None:
    """Tiles and bundles alone, read as the specification says, give the tree of the ledger."""
    archive = house / "archive"
    with open_archiving(house, mode="read") as ledger:
        leaves = _leaves(ledger)
        size = 5 * FACTS
        root = Frontier()
        for leaf in leaves[:size]:
            root.add(leaf)
        with ledger.read() as reader:
            bodies = [reader.fact(Seq(seq))[1] for seq in range(size)]

    tiles = {
        place: (archive / tile_path(place)).read_bytes() for place in tiles_of(size, width=WIDTH)
    }
    entries = [
        entry
        for path in sorted((archive / "tile/entries").glob("*.gz"))
        for entry in unpack(gzip.decompress(path.read_bytes()))
    ]
    assert entries == bodies
    assert [leaf_of(entry) for entry in entries] == leaves[:size]

    def perfect(level: int, at: int) -> bytes:
        tile_level, inside = divmod(level, 2)  # a tile of four hashes is two levels high
        index, offset = divmod(at << inside, WIDTH)
        tile = tiles.get(Place(tile_level, index)) or next(
            content
            for place, content in tiles.items()
            if (place.level, place.index) == (tile_level, index)
        )
        return tile_root(b"".join(hashes_in(tile)[offset : offset + (1 << inside)]))

    def subtree(begin: int, end: int) -> bytes:
        return range_root(perfect, begin, end)

    assert subtree(0, size) == root.root()
    proof = prove_inclusion(subtree, 37, size)
    check_inclusion(leaf_of(entries[37]), 37, size, root.root(), proof)


def test_a_manifest_says_where_its_segment_stands(house: Path) -> None:
    """First, last, hashes at both borders, its files, and the manifest before."""
    manifests = [_manifest(house, number) for number in range(5)]
    for number, one in enumerate(manifests):
        assert (one.format, one.number) == (1, number)
        assert (one.first, one.last) == (number * FACTS, number * FACTS + FACTS - 1)
        assert sum(one.kinds.values()) == FACTS
        for file in one.files:
            content = (house / "archive" / file.path).read_bytes()
            assert (file.size_bytes, file.sha256) == (len(content), sha256(content).hexdigest())
    for before, after in pairwise(manifests):
        content = Archive(house / "archive").manifest_path(before.number).read_bytes()
        assert after.before == sha256(content).hexdigest()
        assert (after.chain_in, after.root_in) == (before.chain_out, before.root_out)
        assert after.newest_at > before.newest_at
    with open_archiving(house, mode="read") as ledger, ledger.read() as reader:
        said = [(row.number, row.first, row.count, row.root) for row in reader.rows(SegmentRow)]
    assert said == [(one.number, one.first, FACTS, one.root) for one in manifests]


def test_files_of_a_segment_are_for_reading_only(house: Path) -> None:
    """A slip of the hand must not change what is sealed."""
    files = [path for path in (house / "archive").rglob("*") if path.is_file()]
    assert files
    assert {path.stat().st_mode & 0o777 for path in files} == {0o444}
    assert not [path for path in files if path.suffix == ".new"]


def test_what_is_not_full_or_not_settled_is_not_sealed(tmp_path: Path) -> None:
    """Settled means on the disk as it was hashed; a segment must never be ahead of its ledger."""
    with open_archiving(tmp_path / "house") as ledger:
        ledger.append_now([note(ledger, key) for key in range(FACTS * 2)])
        assert seal_all(ledger) == []  # full, but written since the last settled point
    with open_archiving(tmp_path / "house") as ledger:
        # Two full ones; founding, two pens and the closing are facts, too.
        assert [fact.number for fact in seal_all(ledger)] == [0, 1]
        assert seal_all(ledger) == []


def test_sealing_again_writes_the_same_bytes(sealed: Path, tmp_path: Path) -> None:
    """A redo after a crash must come to the manifest that it would have come to."""
    archive = sealed / "archive"
    copy = Path(shutil.copytree(sealed, tmp_path / "house"))
    before = {path: path.read_bytes() for path in archive.rglob("*") if path.is_file()}
    shutil.rmtree(copy / "archive")
    with open_archiving(copy) as ledger:
        with ledger.read() as reader:
            known = sealed_segments(reader)
        for number in range(5):
            # The fact is there already, so it is refused; the files are what counts here.
            assert seal_next(ledger, known[:number]) is None
    after = {
        archive / path.relative_to(copy / "archive"): path.read_bytes()
        for path in (copy / "archive").rglob("*")
        if path.is_file()
    }
    assert after == before


class _Killed(BaseException):
    """The process ends here; nothing after it runs."""


def _dying(at: int) -> Callable[[], None]:
    left = [at]

    def step() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise _Killed

    return step


def _seal_until(folder: Path, at: int) -> bool:
    """Seal, and die before the at-th operation on a file; whether it got to the end."""
    step = _dying(at)
    real_sync, real_replace, real_open = os.fsync, Path.replace, os.open

    def sync(handle: int) -> None:
        step()
        real_sync(handle)

    def replace(self: Path, target: Path) -> Path:
        step()
        return real_replace(self, target)

    def opened(path: str, flags: int, mode: int = 0o777) -> int:
        step()
        return real_open(path, flags, mode)

    with open_archiving(folder) as ledger:
        try:
            with (
                patch("tildawn.ledger.segment.os.fsync", sync),
                patch.object(Path, "replace", replace),
                patch("tildawn.ledger.segment.os.open", opened),
            ):
                seal_all(ledger)
        except _Killed:
            return False
    return True


def test_a_crash_at_any_step_leaves_nothing_half_believed(tmp_path: Path) -> None:
    """Before each open, sync and rename: the ledger verifies, and the next turn makes it whole."""
    fresh = tmp_path / "fresh"
    _fill(fresh, FACTS)
    at, done = 0, False
    while not done:
        folder = Path(shutil.copytree(fresh, tmp_path / str(at)))
        done = _seal_until(folder, at)
        with open_archiving(folder) as ledger:
            with ledger.read() as reader:
                known = sealed_segments(reader)
            assert len(known) == int(done), f"step {at}"
            assert len(seal_all(ledger)) == int(not done), f"step {at}"
        verdict = verify_archiving(folder)
        assert (verdict.state, verdict.what) == (State.PROVEN, ""), f"step {at}"
        assert not list((folder / "archive").rglob("*.new")), f"step {at}"
        shutil.rmtree(folder)
        at += 1
    assert at > 40


def _files(folder: Path) -> dict[str, list[Path]]:
    archive = folder / "archive"
    return {
        "leaf tile": sorted((archive / "tile/0").glob("*")),
        "top tile": sorted((archive / "tile/1").glob("*")),
        "higher tile": sorted(path for path in (archive / "tile/2").rglob("*") if path.is_file()),
        "bundle": sorted((archive / "tile/entries").glob("*")),
        "manifest": sorted((archive / "segment").glob("*")),
    }


def _overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


KINDS = ["leaf tile", "top tile", "higher tile", "bundle", "manifest"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_found_and_located_to_its_segment(house: Path, kind: str) -> None:
    """Any bit of any file: of a manifest it is a lie (3), of anything else a break (4)."""
    rng = Random(f"flip {kind}")
    for path in _files(house)[kind]:
        honest = path.read_bytes()
        for _ in range(3):
            flipped = bytearray(honest)
            flipped[rng.randrange(len(honest))] ^= 1 << rng.randrange(8)
            _overwrite(path, bytes(flipped))
            verdict = verify_archiving(house)
            number = _number_of(house, path)
            if kind == "manifest":
                assert (verdict.state, verdict.exit_code) == (State.NOT_PROVABLE, 3)
                assert (
                    f"manifest of segment {number} is not the one that was sealed" in verdict.what
                )
            else:
                assert (verdict.state, verdict.exit_code) == (State.BROKEN, 4)
                assert verdict.seq == number * FACTS
                assert path.relative_to(house / "archive").as_posix() in verdict.what
        _overwrite(path, honest)
    assert verify_archiving(house).state is State.PROVEN


def test_a_bundle_with_the_same_entries_in_other_bytes_is_not_what_was_sealed(house: Path) -> None:
    """A time in the header of a gzip file changes no entry, and it is a change all the same."""
    path = Archive(house / "archive").bundle_file(6)
    content = bytearray(path.read_bytes())
    content[4] ^= 1
    assert gzip.decompress(bytes(content)) == gzip.decompress(path.read_bytes())
    _overwrite(path, bytes(content))

    verdict = verify_archiving(house)

    assert (verdict.state, verdict.seq) == (State.BROKEN, FACTS)
    assert "tile/entries/006.gz is not what was sealed" in verdict.what


def _number_of(folder: Path, path: Path) -> int:
    """The segment that has a file."""
    if path.parent.name == "segment":
        return int(path.stem)
    name = path.relative_to(folder / "archive").as_posix()
    return next(
        one.number
        for one in (_manifest(folder, number) for number in range(5))
        if name in {file.path for file in one.files}
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_file_is_not_provable_and_named(house: Path, kind: str) -> None:
    """Missing is never fine, and it is not tampering either: exit 3."""
    path = _files(house)[kind][1]
    path.unlink()

    verdict = verify_archiving(house)

    assert (verdict.state, verdict.exit_code) == (State.NOT_PROVABLE, 3)
    assert path.name in verdict.what
    assert f"segment {_number_of_missing(kind)}" in verdict.what


def _number_of_missing(kind: str) -> int:
    return {"leaf tile": 0, "bundle": 0, "top tile": 1, "higher tile": 0, "manifest": 1}[kind]


def _swap(first: Path, second: Path) -> None:
    one, other = first.read_bytes(), second.read_bytes()
    _overwrite(first, other)
    _overwrite(second, one)


def test_swapped_segments_are_found(house: Path) -> None:
    """Whole segments in each other's place, with their manifests: not what was sealed there."""
    archive = Archive(house / "archive")
    for at in range(WIDTH):
        _swap(archive.bundle_file(at), archive.bundle_file(WIDTH + at))
        _swap(
            archive.folder / tile_path(Place(0, at)),
            archive.folder / tile_path(Place(0, WIDTH + at)),
        )
    _swap(archive.folder / tile_path(Place(1, 0)), archive.folder / tile_path(Place(1, 1)))
    broken = verify_archiving(house)
    _swap(archive.manifest_path(0), archive.manifest_path(1))
    lying = verify_archiving(house)

    assert (broken.state, broken.seq) == (State.BROKEN, 0)
    assert (lying.state, lying.exit_code) == (State.NOT_PROVABLE, 3)
    assert "manifest of segment 0" in lying.what


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("first", 3), ("last", 7), ("number", 9), ("before", "00" * 32), ("root", "00" * 32),
        ("chain_in", "00" * 32), ("chain_out", "00" * 32), ("root_in", "00" * 32),
        ("root_out", "00" * 32), ("newest_at", 5), ("kinds", {"Noted v1": 99}), ("files", ()),
    ],
)  # fmt: skip
def test_a_manifest_that_lies_from_the_start_is_found(
    tmp_path: Path, field: str, value: object
) -> None:
    """Even when a fact names it: every word of a manifest is derived again from the ledger."""
    folder = tmp_path / "house"
    _fill(folder, 2 * FACTS)
    real = Manifest.dump

    def lie(self: Manifest) -> bytes:
        return real(msgspec.structs.replace(self, **{field: value}))

    with (
        patch.object(Manifest, "dump", lie),
        patch("tildawn.ledger.sealing._compare"),
        open_archiving(folder) as ledger,
    ):
        seal_all(ledger)

    verdict = verify_archiving(folder)

    assert (verdict.state, verdict.exit_code) == (State.NOT_PROVABLE, 3)
    assert "lies about" in verdict.what


def test_a_segment_of_an_archive_that_was_moved_away_is_named(house: Path) -> None:
    """All of them, up to twenty; chain and tree are proven all the same."""
    (house / "archive").rename(house.parent / "away")

    verdict = verify_archiving(house)
    quick = verify_archiving(house, hashes_only=True)

    assert (verdict.state, len(verdict.differences)) == (State.NOT_PROVABLE, 5)
    assert [f"segment {number}" in line for number, line in enumerate(verdict.differences)] == (
        [True] * 5
    )
    assert quick.state is State.PROVEN


def test_the_archive_shows_the_newest_checkpoint_that_it_can_serve(house: Path) -> None:
    """A checkpoint of a larger tree than the tiles have would be a log that nobody can read."""
    with open_archiving(house) as ledger:
        assert not publish_checkpoint(ledger, 5)
    database = apsw.Connection(str(house / "ledger.db"))
    for size in (FACTS, 5 * FACTS, 5 * FACTS + 1):
        database.execute("INSERT INTO checkpoint VALUES (?, ?)", (size, f"note of {size}\n"))
    database.close()
    with open_archiving(house) as ledger:
        assert publish_checkpoint(ledger, 5)
        assert not publish_checkpoint(ledger, 5)
    assert (house / "archive/checkpoint").read_text() == f"note of {5 * FACTS}\n"


def test_a_second_sealer_is_refused(house: Path) -> None:
    """Two who sealed at once wrote the same files; one fact names them."""
    with open_archiving(house) as ledger:
        before = ledger.next_seq
        answer = ledger.append_now(
            [ledger.draft(SegmentSealed(number=0, first=0, count=FACTS, root="", manifest=""))]
        )
        assert "segment has that key" in getattr(answer, "why", "")
        assert ledger.next_seq == before
