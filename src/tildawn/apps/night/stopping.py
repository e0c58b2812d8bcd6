"""When failures end a night: counted on settled runs, in the order of the ledger.

What it is not: a clock or a queue.  It is told what settled at which position and counts; told
the same in any order, it says the same.
"""

import msgspec

from tildawn.facts.plan import Stop


class Rule(msgspec.Struct, frozen=True):
    """A rule that has been met, and its count."""

    name: str
    count: int = 0


class Tally:
    """What settled since the night was last allowed to go on.

    A run counts once, with its last end: one that failed and was retried well is no failure.
    """

    def __init__(self, since: int = -1) -> None:
        """Count what stands behind a position of the ledger."""
        self._since = since
        self._failures: dict[str, int] = {}
        self._unknown: dict[str, int] = {}
        self._last_fine = since

    def failed(self, run: str, seq: int, *, unknown: bool = False) -> None:
        """A run failed, was held, or was refuted; ``unknown`` for a fault that nobody foresaw."""
        self._failures[run] = seq
        if unknown:
            self._unknown[run] = seq

    def fine(self, run: str, seq: int) -> None:
        """A run ended well, and none of its checks refuted it."""
        self.forget(run)
        self._last_fine = max(self._last_fine, seq)

    def forget(self, run: str) -> None:
        """A run goes on again."""
        self._failures.pop(run, None)
        self._unknown.pop(run, None)

    @property
    def total(self) -> int:
        """How many have failed."""
        return sum(seq > self._since for seq in self._failures.values())

    @property
    def in_a_row(self) -> int:
        """How many have failed since one was fine."""
        return sum(seq > self._last_fine for seq in self._failures.values())

    def met(self, stop: Stop) -> Rule | None:
        """The rule that ends the night, or None.

        Raises:
            Nothing.
        """
        unknown = sum(seq > self._since for seq in self._unknown.values())
        if unknown:
            return Rule("unknown", unknown)
        if self.in_a_row >= stop.in_a_row:
            return Rule("in-a-row", self.in_a_row)
        return Rule("total", self.total) if self.total >= stop.total else None
