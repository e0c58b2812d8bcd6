"""When a working house signs a checkpoint: off the hot path, once a second at most.

What it is not: the signing; `tildawn.ledger.notary` does it, in a thread of its own here.
"""

import asyncio

from tildawn.clock import Clock
from tildawn.ledger.ledger import Ledger
from tildawn.units import SECOND, Micros


SEAL_FACTS = 1_024
"""Facts behind the newest checkpoint that call for another. Source: the granularity of the marks."""

SEAL_AFTER = Micros(60 * SECOND)
"""How long any fact may stand behind the newest checkpoint."""

_ENDED = (
    "SELECT 1 FROM fact WHERE seq >= ? AND ("
    ' instr(body, \'"kind":"RunDone"\') OR instr(body, \'"kind":"RunFailed"\')'
    ' OR instr(body, \'"kind":"RunCancelled"\')) LIMIT 1'
)


class Seals:
    """Looks whether it is time; belongs to one loop."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        """Take a ledger that is open to write."""
        self._ledger = ledger
        self._clock = clock
        self._looked = 0
        self._dirty_since: Micros | None = None

    async def turn(self) -> None:
        """Sign, when enough was recorded, when it is long enough ago, or when a run has ended.

        Raises:
            LedgerBroken: the ledger does not continue what was signed before.
            TildawnError: the checkpoint cannot be kept.
        """
        if self._due():
            await asyncio.to_thread(self._ledger.checkpoint)
            self._dirty_since = None

    def _due(self) -> bool:
        unsealed = self._ledger.unsealed
        if not unsealed:
            self._dirty_since = None
            return False
        now = self._clock.mono()
        self._dirty_since = now if self._dirty_since is None else self._dirty_since
        if unsealed >= SEAL_FACTS or now - self._dirty_since >= SEAL_AFTER:
            return True
        return self._run_ended(unsealed)

    def _run_ended(self, unsealed: int) -> bool:
        """Whether a run ended in a fact that no checkpoint covers; each fact is looked at once."""
        size = self._ledger.next_seq
        begin, self._looked = max(self._looked, size - unsealed), size
        if begin >= size:
            return False
        with self._ledger.read() as reader:
            return bool(reader.query(_ENDED, (begin,)))
