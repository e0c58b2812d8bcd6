"""The hashes, against the published vectors and the recursive definition.

What it is not: a test of storage.
"""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.ledger.chain import EMPTY_ROOT, GENESIS, Frontier, leaf_of, link, node


#: Source: the reference leaves and roots of the Certificate Transparency project.
LEAVES = [
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def _root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node(_root(leaves[:split]), _root(leaves[split:]))


def test_the_tree_has_the_published_roots() -> None:
    """Other people's verifiers must come to our root."""
    frontier = Frontier()
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        frontier.add(leaf_of(bytes.fromhex(leaf)))
        assert frontier.root().hex() == root


def test_an_empty_tree_has_the_root_of_nothing() -> None:
    """RFC 6962 defines it, and a new house shows it."""
    assert Frontier().root() == EMPTY_ROOT == sha256().digest()


@given(st.lists(st.binary(max_size=8), max_size=150))
def test_a_growing_frontier_agrees_with_the_definition(bodies: list[bytes]) -> None:
    """The frontier is an optimisation, and the definition is four lines."""
    frontier = Frontier()
    leaves = [leaf_of(body) for body in bodies]
    for leaf in leaves:
        frontier.add(leaf)

    assert frontier.root() == _root(leaves)
    assert Frontier.load(len(leaves), frontier.dump()).root() == frontier.root()


def test_a_copied_frontier_grows_by_itself() -> None:
    """A batch that is rolled back must leave the committed frontier alone."""
    first = Frontier(1, [leaf_of(b"a")])
    second = first.copy()
    second.add(leaf_of(b"b"))

    assert (first.size, second.size) == (1, 2)
    assert first.root() == leaf_of(b"a")


def test_the_chain_depends_on_every_leaf_and_their_order() -> None:
    """The simple check must see a change, a loss and a swap."""
    a, b = leaf_of(b"a"), leaf_of(b"b")

    assert link(link(GENESIS, a), b) != link(link(GENESIS, b), a)
    assert link(GENESIS, a) == sha256(b"\x02" + bytes(32) + sha256(b"\x00a").digest()).digest()


@pytest.mark.parametrize(("size", "packed"), [(1, b""), (3, bytes(32)), (1, bytes(31)), (-1, b"")])
def test_a_frontier_that_does_not_fit_its_size_is_refused(size: int, packed: bytes) -> None:
    """A damaged head must not become a wrong root."""
    with pytest.raises(ValueError, match=r"tree|hashes"):
        Frontier.load(size, packed)
