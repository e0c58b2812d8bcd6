"""Tiles and bundles as the specification of tlog-tiles has them.

What it is not: files; test_segment.py has those.
"""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.errors import BadValue, ProofBroken
from tildawn.ledger.chain import Frontier
from tildawn.ledger.tile import (
    Place,
    bundle_path,
    hashes_in,
    higher_tiles,
    pack,
    tile_path,
    tile_root,
    tiles_of,
    unpack,
)


@pytest.mark.parametrize(
    ("index", "path"),
    [
        (0, "000"), (67, "067"), (999, "999"), (1_000, "x001/000"), (1_067, "x001/067"),
        (1_234_067, "x001/x234/067"), (999_999_999, "x999/x999/999"),
        (1_000_000_000, "x001/x000/x000/000"),
    ],
)  # fmt: skip
def test_an_index_is_written_in_elements_of_three_digits(index: int, path: str) -> None:
    """Source: C2SP tlog-tiles, whose example is 1234067; other people's clients ask for these."""
    assert tile_path(Place(0, index)) == f"tile/0/{path}"
    assert tile_path(Place(63, index, 255)) == f"tile/63/{path}.p/255"
    assert bundle_path(index) == f"tile/entries/{path}"
    assert bundle_path(index, 1) == f"tile/entries/{path}.p/1"


@pytest.mark.parametrize(
    "place", [Place(64, 0), Place(-1, 0), Place(0, -1), Place(0, 0, 256), Place(0, 0, -1)]
)
def test_what_the_specification_has_no_path_for_is_refused(place: Place) -> None:
    """A path that no client would ask for is a mistake of ours."""
    with pytest.raises(BadValue):
        tile_path(place)


def _counted(size: int) -> Counter[tuple[int, int]]:
    return Counter((place.level, place.part) for place in tiles_of(size))


def test_a_tree_of_70000_has_the_tiles_of_the_specification() -> None:
    """Source: C2SP tlog-tiles, section "Partial Tiles", both examples."""
    assert _counted(70_000) == {(0, 0): 273, (0, 112): 1, (1, 0): 1, (1, 17): 1, (2, 1): 1}
    assert _counted(256) == {(0, 0): 1, (1, 1): 1}
    assert _counted(0) == {}


@given(st.integers(1, 700), st.sampled_from([2, 4]))
def test_every_hash_added_makes_the_tiles_at_the_end_of_the_tree(count: int, width: int) -> None:
    """What each segment writes must add up to what a tree of that size is represented by."""
    rng = Random(count)
    hashes: list[bytes] = []
    made: dict[Place, bytes] = {}
    for _ in range(count):
        hashes.append(rng.randbytes(32))
        made.update(higher_tiles(hashes, 2, width=width))
    wanted = [
        Place(place.level + 2, place.index, place.part) for place in tiles_of(count, width=width)
    ]

    assert set(wanted) <= set(made)
    for place in wanted:
        assert len(made[place]) == 32 * (place.part or width)
        if place.level > 2 and not place.part:
            below = [made[Place(place.level - 1, place.index * width + at)] for at in range(width)]
            assert made[place] == b"".join(map(tile_root, below))


def test_a_tile_is_the_subtree_over_its_hashes() -> None:
    """The levels that no tile has are hashed again from the tile below them."""
    hashes = [Random(7).randbytes(32) for _ in range(256)]
    frontier = Frontier()
    for hash_ in hashes:
        frontier.add(hash_)

    assert tile_root(b"".join(hashes)) == frontier.root()
    assert hashes_in(b"".join(hashes)) == hashes
    with pytest.raises(ProofBroken):
        hashes_in(bytes(33))


def test_a_bundle_has_each_entry_behind_its_length() -> None:
    """Source: C2SP tlog-tiles, section "Log entries": big-endian uint16."""
    assert pack([b"ab", b"", b"c" * 258]) == b"\x00\x02ab\x00\x00\x01\x02" + b"c" * 258
    with pytest.raises(BadValue):
        pack([bytes(65_536)])


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_gives_back_its_entries(entries: list[bytes]) -> None:
    """Nothing of a fact may be lost on its way through the archive."""
    assert unpack(pack(entries)) == entries


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=9), st.data())
def test_a_bundle_that_was_cut_is_never_a_shorter_one(
    entries: list[bytes], data: st.DataObject
) -> None:
    """Except between two entries, where the number of entries tells."""
    whole = pack(entries)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        found = unpack(cut)
    except ProofBroken:
        return
    assert len(found) < len(entries)
    assert found == entries[: len(found)]
