"""The hashes that bind the facts: a chain for the simple check, a tree for proofs.

What it is not: storage.  Everything here is pure.
"""

from collections.abc import Iterable
from hashlib import sha256


GENESIS = bytes(32)
"""The chain before the first fact."""

EMPTY_ROOT = sha256(b"").digest()
"""The root of the tree without leaves. Source: RFC 6962 section 2.1."""


def leaf_of(body: bytes) -> bytes:
    """The leaf of a body: SHA-256(0x00 ‖ body), 32 bytes. Source: RFC 6962 section 2.1.

    Raises:
        Nothing.
    """
    return sha256(b"\x00" + body).digest()


def link(before: bytes, leaf: bytes) -> bytes:
    """The chain after one more leaf: SHA-256(0x02 ‖ before ‖ leaf), 32 bytes.

    Raises:
        Nothing.
    """
    return sha256(b"\x02" + before + leaf).digest()


def node(left: bytes, right: bytes) -> bytes:
    """An inner node of the tree: SHA-256(0x01 ‖ left ‖ right). Source: RFC 6962 section 2.1.

    Raises:
        Nothing.
    """
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The roots of the perfect subtrees of a growing tree, largest first; at most 64.

    It is all that is needed to add leaves and to know the root.
    """

    __slots__ = ("_roots", "size")

    def __init__(self, size: int = 0, roots: Iterable[bytes] = ()) -> None:
        """Begin with ``size`` leaves whose perfect subtrees have these roots.

        Raises:
            ValueError: the number of roots does not fit the size.
        """
        self.size = size
        self._roots = list(roots)
        if size < 0 or len(self._roots) != size.bit_count():
            message = f"a tree of {size} leaves has {size.bit_count()} perfect subtrees"
            raise ValueError(message)

    @classmethod
    def load(cls, size: int, packed: bytes) -> "Frontier":
        """The frontier from its packed form.

        Args:
            size: how many leaves.
            packed: the roots, 32 bytes each, one after the other.

        Returns:
            The frontier.

        Raises:
            ValueError: the bytes do not fit the size.
        """
        if len(packed) % 32:
            message = "a frontier is a row of 32-byte hashes"
            raise ValueError(message)
        return cls(size, (packed[at : at + 32] for at in range(0, len(packed), 32)))

    def dump(self) -> bytes:
        """The roots one after the other, 32 bytes each.

        Raises:
            Nothing.
        """
        return b"".join(self._roots)

    def copy(self) -> "Frontier":
        """An independent frontier of the same tree.

        Raises:
            Nothing.
        """
        return Frontier(self.size, self._roots)

    def add(self, leaf: bytes) -> None:
        """Grow by one leaf of 32 bytes.

        Raises:
            Nothing.
        """
        size, roots = self.size, self._roots
        while size & 1:
            leaf = sha256(b"\x01" + roots.pop() + leaf).digest()
            size >>= 1
        roots.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root of the whole tree, 32 bytes. Source: RFC 6962 section 2.1.

        Raises:
            Nothing.
        """
        if not self._roots:
            return EMPTY_ROOT
        root = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            root = node(left, root)
        return root
