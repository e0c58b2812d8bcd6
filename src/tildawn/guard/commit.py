"""Appends that are waited for to their end, even by a caller that is being cancelled.

What it is not: a queue.  It waits where the ledger says that it is busy or the disk is full.
"""

import asyncio
from collections.abc import Callable, Sequence

from tildawn.clock import Clock
from tildawn.errors import Busy, StoreFull, TildawnError
from tildawn.ledger.entry import Answer, Entry, Outcome
from tildawn.ledger.fold import Expect
from tildawn.ledger.ledger import Ledger
from tildawn.units import MILLISECOND, SECOND, Micros


BUSY_WAIT = Micros(5 * MILLISECOND)
"""How long to wait when the ledger's queue is full: about one group commit."""

FULL_WAIT_MAX = Micros(10 * SECOND)
"""Longest wait between two tries of putting an answer on a full disk."""


class Patience:
    """Whether the caller was cancelled while something had to be finished first."""

    __slots__ = ("cancelled",)

    def __init__(self) -> None:
        """Nobody has lost patience yet."""
        self.cancelled = False


class Committer:
    """Appends for callers on one event loop."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        """Take the ledger, and the clock by which to wait for room."""
        self._ledger = ledger
        self._clock = clock

    async def append(
        self,
        entries: Sequence[Entry],
        *,
        expect: Sequence[Expect],
        patience: Patience,
        then: Callable[[Outcome], None] | None = None,
        insist: bool = False,
    ) -> Answer:
        """Append and wait for the outcome.

        A cancellation that comes while the facts are on their way is noted in ``patience``:
        whether they were recorded must be known before anybody leaves.

        Args:
            entries: one transaction.
            expect: what must hold inside it.
            patience: told about a cancellation; the caller looks at it afterwards.
            then: called with the outcome inside the ledger's own callback.
            insist: try again, as long as it takes, while the disk is full.

        Returns:
            `Committed` or `Unmet`.

        Raises:
            TildawnError: nothing was recorded, except with `CommitInDoubt`.
            asyncio.CancelledError: the caller was cancelled while nothing was on its way.
        """
        wait = SECOND
        while True:
            pending = _Pending(then)
            await self._submit(entries, expect, pending, patience if insist else None)
            outcome = await pending.wait(patience)
            if not isinstance(outcome, TildawnError):
                return outcome
            if not (insist and isinstance(outcome, StoreFull)):
                raise outcome
            # A crash here leaves the attempt in doubt: the disk did not take its answer.
            await self._clock.sleep(wait)
            wait = Micros(min(wait * 2, FULL_WAIT_MAX))

    async def _submit(
        self,
        entries: Sequence[Entry],
        expect: Sequence[Expect],
        pending: "_Pending",
        patience: Patience | None,
    ) -> None:
        while True:
            try:
                self._ledger.submit(entries, expect=expect, done=pending.done)
            except Busy:
                await self._room(patience)
            else:
                return

    async def _room(self, patience: Patience | None) -> None:
        try:
            await self._clock.sleep(BUSY_WAIT)
        except asyncio.CancelledError:
            if patience is None:
                raise
            # What must be put on record is; the caller goes on being cancelled afterwards.
            patience.cancelled = True


class _Pending:
    """An append on its way."""

    __slots__ = ("_outcome", "_then", "_waiter")

    def __init__(self, then: Callable[[Outcome], None] | None) -> None:
        self._then = then
        self._outcome: Outcome | None = None
        self._waiter: asyncio.Future[None] | None = None

    def done(self, outcome: Outcome) -> None:
        self._outcome = outcome
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._then is not None:
            self._then(outcome)

    async def wait(self, patience: Patience) -> Outcome:
        while self._outcome is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            except asyncio.CancelledError:
                # Not swallowed: the caller sees `patience` and goes on being cancelled.
                patience.cancelled = True
        return self._outcome
