"""A small log in memory that grows, forks and signs, for tests of whatever looks at checkpoints.

What it is not: a ledger.  Its entries are numbers.
"""

from tildawn.ledger.anchor import Claim
from tildawn.ledger.chain import leaf_of, node
from tildawn.ledger.checkpoint import Checkpoint
from tildawn.ledger.note import Signer
from tildawn.ledger.proof import prove_consistency, range_root


class GrowingLog:
    """A log of ``size`` entries under a key whose seed is all zeros."""

    def __init__(
        self, size: int, *, origin: str = "tildawn/a", forked_at: int | None = None
    ) -> None:
        """Begin with some entries; those from ``forked_at`` on are others."""
        self.signer = Signer(origin, bytes(32))
        self.leaves: list[bytes] = []
        self._forked_at = forked_at
        self.grow(size)

    def grow(self, count: int) -> None:
        """Add entries.

        Raises:
            Nothing.
        """
        for at in range(len(self.leaves), len(self.leaves) + count):
            other = self._forked_at is not None and at >= self._forked_at
            self.leaves.append(leaf_of(f"{'other ' if other else ''}{at}".encode()))

    def root(self, begin: int, end: int) -> bytes:
        """The root over a range.

        Raises:
            Nothing.
        """
        return range_root(self._perfect, begin, end)

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        """The checkpoint of a size; of all entries when absent.

        Raises:
            Nothing.
        """
        end = len(self.leaves) if size is None else size
        return Checkpoint(self.signer.verifier.name, end, self.root(0, end))

    def claim(self, size: int | None = None) -> Claim:
        """What the log says of itself at a size.

        Raises:
            Nothing.
        """
        checkpoint = self.checkpoint(size)

        def prove(old: int) -> tuple[bytes, ...]:
            return prove_consistency(self.root, old, checkpoint.size)

        return Claim(checkpoint.sign([self.signer]), (self.signer.verifier,), prove)

    def _perfect(self, level: int, at: int) -> bytes:
        if level == 0:
            return self.leaves[at]
        return node(self._perfect(level - 1, 2 * at), self._perfect(level - 1, 2 * at + 1))
