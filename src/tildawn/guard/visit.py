"""One entry through the door: the request, how far it is, and what its appends expect.

What it is not: decisions.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from tildawn.errors import Effect
from tildawn.guard.commit import Patience
from tildawn.guard.fault import Seen
from tildawn.guard.leave import Pass
from tildawn.guard.record import Recorder
from tildawn.guard.request import CallRequest, Final, Remote
from tildawn.ledger.entry import Committed, Entry, Outcome
from tildawn.ledger.fold import Expect, Row
from tildawn.ledger.ledger import Ledger
from tildawn.projections.call import CallRow
from tildawn.units import Micros, Seq


MOVED = "call"
"""Why an append is refused when the call is not where this entry left it; see `Expect.why`."""


class Visit(Patience):
    """What one entry knows of its call."""

    __slots__ = (
        "_leaving", "_ledger", "_task", "asked", "attempt", "child", "decided", "effect", "error",
        "final", "key", "known", "leave_of_gate", "limit_ms", "primary", "record", "request",
        "sent_at", "spared", "tries", "until",
    )  # fmt: skip

    def __init__(
        self, ledger: Ledger, request: CallRequest, final: Final, *, until: Micros
    ) -> None:
        """Begin as if the call had never been seen; the ledger says if it has.

        Args:
            ledger: makes digests and drafts.
            request: the call.
            final: takes the final record.
            until: instant of `Clock.mono` at which this entry is over.
        """
        super().__init__()
        #: The call as it was asked for; ``request`` is what the present tier is asked.
        self.primary = request
        self.final = final
        self.until = until
        self._ledger = ledger
        self._task = asyncio.current_task()
        self._leaving: list[asyncio.Future[None]] = []
        self._go_to(request)
        #: Other models that were asked in this entry.
        self.asked: set[str] = set()
        #: Of all that was sent for the call so far.
        self.effect = Effect.NONE
        #: The primary was passed over for a cheaper model, and can still be asked.
        self.spared = False
        #: How the primary failed, if it did.
        self.error: Seen | None = None
        #: When it was decided to leave the primary (steady clock), 0 for not yet.
        self.decided = Micros(0)
        #: Leave of the gate for the attempt under way, and where and for how long it was sent.
        self.leave_of_gate: Pass | None = None
        self.sent_at = -1
        self.limit_ms = 0
        #: Position of the fact that gave the call the state we know, -1 for none.
        self.known = -1
        self.attempt = 0
        self.tries = 0
        #: Whether the attempt under way has started a child process.
        self.child = False

    def _go_to(self, request: CallRequest, *, tier: str = "", instead: str = "") -> None:
        self.request = request
        self.record = Recorder(self._ledger, request, tier=tier, instead=instead)
        self.key = self._ledger.keyed(
            f"{request.run}\n{request.path}\n{request.route}\n{request.body_digest}"
        )

    def turn_to(self, remote: Remote, *, instead: str) -> None:
        """Ask another model from here on.

        Raises:
            Nothing.
        """
        self.asked.add(remote.name)
        self.tries = 0
        request = msgspec.structs.replace(
            self.primary, route=remote.route, model=remote.model, perform=remote.perform,
            validate=remote.validate, reserve=remote.reserve, kind=remote.kind, lookup=None,
            reserve_tokens=remote.reserve_tokens, worst=remote.worst,
        )  # fmt: skip
        self._go_to(request, tier=remote.name, instead=instead)

    def turn_back(self) -> None:
        """Ask the primary after all: what went before it for its price did not serve.

        Raises:
            Nothing.
        """
        self.spared = False
        self.tries = 0
        self._go_to(self.primary)

    def adopt(self, row: CallRow) -> None:
        """Go on from what is on record.

        Raises:
            Nothing.
        """
        self.known = row.state_at
        self.attempt = row.attempt
        self.tries = row.tries
        if row.effect == Effect.UNKNOWN:
            self.effect = Effect.UNKNOWN

    def moved(self) -> Expect:
        """The call is where we left it: nobody else has touched it.

        Raises:
            Nothing.
        """
        request, known = self.request, self.known

        def unmoved(row: Row | None) -> bool:
            return (row.state_at if isinstance(row, CallRow) else -1) == known

        return Expect(row=CallRow, key=(request.run, request.path), test=unmoved, why=MOVED)

    def expect(self) -> list[Expect]:
        """What every append of this entry expects: the engine's fence, and the call unmoved.

        Raises:
            Nothing.
        """
        return [self.request.fence, self.moved()]

    def repeatable(self, row: CallRow | None = None) -> bool:
        """Whether doing it again is harmless though it may have happened.

        A key protects only the same request: with another body on record, it does not.

        Raises:
            Nothing.
        """
        repeat = self.request.repeat
        return repeat == "safe" or (repeat == "keyed" and (row is None or row.key == self.key))

    def finishing(
        self, entries: Sequence[Entry], then: Callable[[Outcome], None] | None = None
    ) -> Callable[[Outcome], None]:
        """What hands the last of some entries to ``final`` once they are committed, and then ``then``.

        Raises:
            Nothing.
        """
        last = entries[-1]
        text = next((one.text for one in last.payloads if one is not None), None)

        def done(outcome: Outcome) -> None:
            if isinstance(outcome, Committed):
                self.final(Seq(outcome.first + outcome.count - 1), last.fact, text)
            if then is not None:
                then(outcome)

        return done

    def send_away(self) -> None:
        """End this entry: a newer one for the same call has come.

        Raises:
            Nothing.
        """
        if self._task is not None:
            self._task.cancel()

    async def left(self) -> None:
        """Wait until this entry has left.

        Raises:
            Nothing.
        """
        gone = asyncio.get_running_loop().create_future()
        self._leaving.append(gone)
        await gone

    def leave(self) -> None:
        """Tell who waits that this entry has left.

        Raises:
            Nothing.
        """
        for gone in self._leaving:
            if not gone.done():
                gone.set_result(None)

    def leave_if_cancelled(self) -> None:
        """Go on being cancelled, now that what had to be recorded is.

        Raises:
            asyncio.CancelledError: the caller was cancelled.
        """
        if self.cancelled:
            raise asyncio.CancelledError
