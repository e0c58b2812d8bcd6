"""Proofs over the tree are those of RFC 6962, and none other is believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.errors import ProofBroken
from tildawn.ledger.chain import EMPTY_ROOT, Frontier, leaf_of, node
from tildawn.ledger.proof import (
    check_consistency,
    check_inclusion,
    prove_consistency,
    prove_inclusion,
    range_root,
    split,
)


#: The leaves and roots of the reference tree. Source: certificate-transparency test vectors.
INPUTS = [
    bytes.fromhex(one)
    for one in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
LEAVES = [leaf_of(one.to_bytes(2, "big")) for one in range(130)]


def _root(begin: int, end: int) -> bytes:
    """The tree hash as RFC 6962 defines it, in so many words."""
    if begin == end:
        return EMPTY_ROOT
    if end - begin == 1:
        return LEAVES[begin]
    middle = begin + split(end - begin)
    return node(_root(begin, middle), _root(middle, end))


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_reference_tree(size: int) -> None:
    """Published vectors tie our tree to everybody's."""
    frontier = Frontier()
    for one in INPUTS[:size]:
        frontier.add(leaf_of(one))

    assert frontier.root().hex() == ROOTS[size - 1]


@pytest.mark.parametrize(
    ("old", "size", "path"),
    [
        (1, 8, [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ]),
        (6, 8, [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]),
        (2, 5, [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ]),
    ],
)  # fmt: skip
def test_consistency_proofs_are_those_of_the_reference_tree(
    old: int, size: int, path: list[str]
) -> None:
    """The same hashes in the same order, so that other people's checkers take ours."""
    leaves = [leaf_of(one) for one in INPUTS]

    def subtree(begin: int, end: int) -> bytes:
        frontier = Frontier()
        for leaf in leaves[begin:end]:
            frontier.add(leaf)
        return frontier.root()

    assert [one.hex() for one in prove_consistency(subtree, old, size)] == path


@given(st.data())
def test_what_is_in_the_tree_is_proved_and_nothing_else(data: st.DataObject) -> None:
    """Any other leaf, place, size or hash breaks the proof."""
    size = data.draw(st.integers(1, 130))
    index = data.draw(st.integers(0, size - 1))
    path = prove_inclusion(_root, index, size)
    root = _root(0, size)
    check_inclusion(LEAVES[index], index, size, root, path)

    other = data.draw(st.integers(0, size - 1).filter(lambda one: one != index) | st.just(-1))
    with pytest.raises(ProofBroken):
        check_inclusion(leaf_of(b"forged"), index, size, root, path)
    with pytest.raises(ProofBroken):
        check_inclusion(LEAVES[index], other, size, root, path)
    with pytest.raises(ProofBroken):
        check_inclusion(LEAVES[index], index, size, root, (*path, bytes(32)))
    if path:
        with pytest.raises(ProofBroken):
            check_inclusion(LEAVES[index], index, size, root, path[:-1])


@given(st.data())
def test_growth_is_proved_and_a_fork_is_not(data: st.DataObject) -> None:
    """Two trees of which one does not begin with the other have no proof."""
    size = data.draw(st.integers(1, 130))
    old = data.draw(st.integers(0, size))
    path = prove_consistency(_root, old, size)
    check_consistency(old, _root(0, old), size, _root(0, size), path)

    with pytest.raises(ProofBroken):
        check_consistency(old, leaf_of(b"fork"), size, _root(0, size), path)
    if 0 < old < size:
        with pytest.raises(ProofBroken):
            check_consistency(old, _root(0, old), size, leaf_of(b"fork"), path)
        with pytest.raises(ProofBroken):
            check_consistency(old, _root(0, old), size, _root(0, size), path[:-1])
        with pytest.raises(ProofBroken):
            check_consistency(old, _root(0, old), size, _root(0, size), (*path, bytes(32)))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 65, 130])
def test_a_root_follows_from_perfect_subtrees(size: int) -> None:
    """Which is what tiles hold."""
    assert range_root(lambda level, at: _root(at << level, (at + 1) << level), 0, size) == _root(
        0, size
    )
