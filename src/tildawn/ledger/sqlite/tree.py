"""The tree over all facts, of any size it ever had: roots and proofs from leaves and marks.

What it is not: a copy of the tree.  A mark holds the roots of the perfect subtrees before it, so
a root costs some marks and at most 1,024 leaves, however long the ledger is.
"""

from tildawn.errors import BadValue, LedgerBroken
from tildawn.ledger.chain import Frontier, node
from tildawn.ledger.proof import prove_consistency, prove_inclusion, range_root
from tildawn.ledger.sqlite.connection import Database
from tildawn.ledger.sqlite.store import MARK_EVERY


_MARK_LEVEL = MARK_EVERY.bit_length() - 1


class Tree:
    """The tree of one read transaction; what it has computed it keeps."""

    def __init__(self, database: Database) -> None:
        """Read over a connection inside a transaction."""
        self._database = database
        self._known: dict[tuple[int, int], bytes] = {}
        [(size, packed)] = database.execute("SELECT size, frontier FROM head").fetchall()
        self.size = int(size)
        #: The root as the head has it; `root` derives it again.
        self.head_root = Frontier.load(self.size, bytes(packed)).root()

    def root(self, size: int) -> bytes:
        """The root over the first ``size`` facts, 32 bytes.

        Raises:
            BadValue: the ledger is not that long.
            LedgerBroken: a leaf or a mark is missing.
        """
        self._refuse(size)
        return self.subtree(0, size)

    def leaf(self, seq: int) -> bytes:
        """The leaf of a fact, 32 bytes.

        Raises:
            BadValue: the ledger is not that long.
            LedgerBroken: the leaf is missing.
        """
        self._refuse(seq + 1)
        [leaf] = self._leaves(seq, seq + 1)
        return leaf

    def inclusion(self, seq: int, size: int) -> tuple[bytes, ...]:
        """The hashes that lead from a fact to the root of the first ``size`` facts.

        Raises:
            BadValue: there is no such fact in a ledger of that size, or it is not that long.
            LedgerBroken: a leaf or a mark is missing.
        """
        self._refuse(size)
        return prove_inclusion(self.subtree, seq, size)

    def consistency(self, old: int, size: int) -> tuple[bytes, ...]:
        """The hashes that show that the ledger of ``size`` has grown from that of ``old``.

        Raises:
            BadValue: the older one is larger, or the ledger is not that long.
            LedgerBroken: a leaf or a mark is missing.
        """
        self._refuse(size)
        return prove_consistency(self.subtree, old, size)

    def subtree(self, begin: int, end: int) -> bytes:
        """The root over a range of leaves, as `tildawn.ledger.proof` asks for it.

        Raises:
            LedgerBroken: a leaf or a mark is missing.
        """
        return range_root(self._perfect, begin, end)

    def _perfect(self, level: int, at: int) -> bytes:
        """The root over the ``2 ** level`` leaves from ``at * 2 ** level`` on."""
        known = self._known.get((level, at))
        if known is not None:
            return known
        if level <= _MARK_LEVEL:
            frontier = Frontier()
            for leaf in self._leaves(at << level, (at + 1) << level):
                frontier.add(leaf)
            found = frontier.root()
        elif at & 1:
            # Right-hand subtrees were taken up into larger ones at once; halve until a left one.
            found = node(self._perfect(level - 1, 2 * at), self._perfect(level - 1, 2 * at + 1))
        else:
            found = self._marked((at + 1) << level)
        self._known[level, at] = found
        return found

    def _marked(self, size: int) -> bytes:
        """The smallest perfect subtree that a mark holds: the one that ends there."""
        sql = "SELECT frontier FROM mark WHERE size = ?"
        for (packed,) in self._database.execute(sql, (size,)).fetchall():
            if len(packed) == 32 * size.bit_count():
                return bytes(packed[-32:])
        message = f"the mark after {size} facts is missing or damaged"
        raise LedgerBroken(message, hint="tildawn verify", seq=size)

    def _leaves(self, begin: int, end: int) -> list[bytes]:
        sql = "SELECT leaf FROM fact WHERE seq >= ? AND seq < ? ORDER BY seq"
        leaves = [bytes(leaf) for (leaf,) in self._database.execute(sql, (begin, end)).fetchall()]
        if len(leaves) != end - begin:
            message = f"a fact between {begin} and {end - 1} is missing"
            raise LedgerBroken(message, hint="tildawn verify", seq=begin)
        return leaves

    def _refuse(self, size: int) -> None:
        if not 0 <= size <= self.size:
            message = f"the ledger has {self.size} facts, not {size}"
            raise BadValue(message)
