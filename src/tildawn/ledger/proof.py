"""Proofs over the tree: that a leaf is in it, and that a larger tree has grown from a smaller one.

What it is not: storage.  Everything here is pure; where hashes come from is an argument.

Source: RFC 6962 sections 2.1.1 and 2.1.2 for making, RFC 9162 sections 2.1.3.2 and 2.1.4.2 for
checking.
"""

from collections.abc import Callable, Sequence

from tildawn.errors import BadValue, ProofBroken
from tildawn.ledger.chain import EMPTY_ROOT, node


Subtree = Callable[[int, int], bytes]
"""``subtree(begin, end)``: the root over the leaves from ``begin`` to before ``end``.

It is asked only for ranges that begin at a multiple of the largest power of two below their
length, as they occur in trees; its callers may build it with `range_root`.
"""


def range_root(perfect: Callable[[int, int], bytes], begin: int, end: int) -> bytes:
    """The root over a range of leaves.

    Args:
        perfect: ``perfect(level, at)``: the root over the ``2 ** level`` leaves from
            ``at * 2 ** level`` on.
        begin: the first leaf; a multiple of the largest power of two below the length.
        end: one behind the last leaf.

    Returns:
        32 bytes.

    Raises:
        Nothing of its own; what ``perfect`` raises.
    """
    size = end - begin
    if size == 0:
        return EMPTY_ROOT
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return perfect(level, begin >> level)
    middle = begin + split(size)
    return node(range_root(perfect, begin, middle), range_root(perfect, middle, end))


def split(size: int) -> int:
    """The largest power of two below a size of at least 2. Source: RFC 6962 section 2.1.

    Raises:
        Nothing.
    """
    return 1 << ((size - 1).bit_length() - 1)


def prove_inclusion(subtree: Subtree, index: int, size: int) -> tuple[bytes, ...]:
    """The hashes that lead from a leaf to the root, nearest first.

    Args:
        subtree: the roots of ranges.
        index: of the leaf.
        size: how many leaves the tree has.

    Returns:
        At most 63 hashes of 32 bytes.

    Raises:
        BadValue: the tree has no such leaf.
    """
    if not 0 <= index < size:
        message = f"a tree of {size} has no leaf {index}"
        raise BadValue(message)
    path: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + split(end - begin)
        if index < middle:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(begin, middle))
            begin = middle
    return tuple(reversed(path))


def check_inclusion(leaf: bytes, index: int, size: int, root: bytes, path: Sequence[bytes]) -> None:
    """Whether the leaf is in the tree at that place.

    Raises:
        ProofBroken: it is not shown to be.
    """
    if not 0 <= index < size:
        message = f"a tree of {size} has no leaf {index}"
        raise ProofBroken(message)
    low, last, found = index, size - 1, leaf
    for hash_ in path:
        if last == 0:
            message = "the proof of inclusion is too long"
            raise ProofBroken(message)
        if low & 1 or low == last:
            found = node(hash_, found)
            low, last = _raised(low, last)
        else:
            found = node(found, hash_)
        low, last = low >> 1, last >> 1
    if last or found != root:
        message = f"entry {index} is not shown to be in the tree of {size}"
        raise ProofBroken(message)


def prove_consistency(subtree: Subtree, old: int, size: int) -> tuple[bytes, ...]:
    """The hashes that show that a tree of ``size`` begins with the tree of ``old``.

    Args:
        subtree: the roots of ranges.
        old: leaves of the smaller tree.
        size: leaves of the larger one.

    Returns:
        The hashes; none when the trees are the same or the smaller one is empty.

    Raises:
        BadValue: the smaller tree is larger.
    """
    if not 0 <= old <= size:
        message = f"a tree of {size} cannot have grown from one of {old}"
        raise BadValue(message)
    if old in {0, size}:
        return ()
    path: list[bytes] = []
    begin, end, whole = 0, size, True
    while old != end:
        middle = begin + split(end - begin)
        if old <= middle:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(begin, middle))
            begin, whole = middle, False
    if not whole:
        path.append(subtree(begin, end))
    return tuple(reversed(path))


def check_consistency(
    old: int, old_root: bytes, size: int, root: bytes, path: Sequence[bytes]
) -> None:
    """Whether the larger tree begins with the smaller one.

    Args:
        old: leaves of the smaller tree.
        old_root: its root.
        size: leaves of the larger tree.
        root: its root.
        path: the proof.

    Raises:
        ProofBroken: it is not shown to.
    """
    if old > size or (old == size and (old_root != root or path)):
        message = f"two trees of {old} and {size} entries are not the same log"
        raise ProofBroken(message)
    if old == 0:
        if old_root != EMPTY_ROOT or path:
            message = "nothing is proved about an empty tree"
            raise ProofBroken(message)
        return
    if old == size:
        return
    first, second = _walk(old, size, old_root, path)
    if (first, second) != (old_root, root):
        message = f"the tree of {size} is not shown to have grown from that of {old}"
        raise ProofBroken(message)


def _walk(old: int, size: int, old_root: bytes, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The roots of both trees as the proof has them."""
    hashes = list(path)
    if old & (old - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        message = "the proof of consistency is empty"
        raise ProofBroken(message)
    low, last = old - 1, size - 1
    while low & 1:
        low, last = low >> 1, last >> 1
    first = second = hashes[0]
    for hash_ in hashes[1:]:
        if last == 0:
            message = "the proof of consistency is too long"
            raise ProofBroken(message)
        if low & 1 or low == last:
            first, second = node(hash_, first), node(hash_, second)
            low, last = _raised(low, last)
        else:
            second = node(second, hash_)
        low, last = low >> 1, last >> 1
    if last:
        message = "the proof of consistency is too short"
        raise ProofBroken(message)
    return first, second


def _raised(low: int, last: int) -> tuple[int, int]:
    """Where a right-hand node, or the last one of its level, meets a left-hand brother."""
    while low and not low & 1:
        low, last = low >> 1, last >> 1
    return low, last
