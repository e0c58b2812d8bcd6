"""What to do about a call that is on record already, above all when its effect is unknown.

What it is not: the first try; see `tildawn.guard.call`.

An unknown effect is cleared up in this order: an answer on record (a late one, or the owner's
word), doing it again where that is harmless, asking the outside, asking the owner.
"""

from collections.abc import Awaitable, Callable

from tildawn.errors import Effect, PayloadErased, UnknownName
from tildawn.guard import retry
from tildawn.guard.attempt import Ran
from tildawn.guard.fault import Seen, seen
from tildawn.guard.means import Means
from tildawn.guard.request import (
    APPLIED,
    GIVE_UP,
    Absent,
    CallRequest,
    Ended,
    Found,
    Hold,
    Later,
    Stale,
    Unclear,
    Verdict,
)
from tildawn.guard.visit import Visit
from tildawn.ledger.entry import Entry
from tildawn.projections.call import CallRow, may_begin_anew
from tildawn.projections.run import RunRow
from tildawn.units import SECOND, Micros, Seq


LOOKUP_TIMEOUT = Micros(15 * SECOND)
"""For one lookup; it reads, so it is short."""

LOOKUP_LEAST = SECOND
"""With less time than this left, a lookup is put off to an entry of its own."""

IN_DOUBT = "call-in-doubt"
"""Why a run is held for a call; the code of `CallInDoubt`."""

_TRANSIENT = frozenset({"timeout", "network", "server", "rate"})
_NOBODYS_FAULT = frozenset({"", "lost", "cancelled"})

_Lookup = Found | Absent | Unclear


class Doubts:
    """Clears up calls that are on record; a None of its answers means: dispatch again."""

    def __init__(self, means: Means) -> None:
        """Take what the door works with."""
        self._means = means

    async def resume(self, visit: Visit, row: CallRow) -> Verdict | None:
        """Go on with a call that an earlier entry, or an earlier process, began.

        Raises:
            TildawnError: the house cannot be read or written.
        """
        visit.adopt(row)
        if row.child:
            return self._means.until_gone()
        if row.state == "settled":
            return await self._anew(visit, row)
        if row.state == "dispatched":
            # Whoever sent it is gone: this process lets nobody in beside a live attempt.
            if not await self._means.commit(visit, visit.record.doubted(row.attempt, "lost")):
                return Stale()
            visit.leave_if_cancelled()
            visit.tries -= 1
            return await self.clear_up(visit, row)
        if row.state == "unknown":
            return await self.clear_up(visit, row)
        return await self._again(visit, row)

    async def _anew(self, visit: Visit, row: CallRow) -> Verdict | None:
        """A call that has ended is made again only when its run went back to before its end."""
        with self._means.ledger.read() as reader:
            if not may_begin_anew(row, reader.get(RunRow, row.run)):
                return Stale()
        visit.tries = 0
        return None if row.effect == Effect.NONE else await self.clear_up(visit, row)

    async def clear_up(self, visit: Visit, row: CallRow | None) -> Verdict | None:
        """Settle a call of which nobody knows whether it happened.

        Args:
            visit: the entry.
            row: the call as it is on record, or None if this entry itself sent it.

        Returns:
            What the engine is told, or None when it may be sent again.

        Raises:
            TildawnError: the house cannot be read or written.
        """
        if row is not None:
            known = await self._on_record(visit, row)
            if known is not None:
                return known
        if visit.repeatable(row):
            return None if row is None else await self._again(visit, row)
        if visit.request.lookup is None:
            return self._hold(visit, row)
        return await self._look_up(visit, row)

    async def _again(self, visit: Visit, row: CallRow) -> Later | None:
        """Wait until the next attempt is due, and for room in the retry budget."""
        means = self._means
        if row.state == "settled":
            return None
        # What has a due time was granted when it failed: asking twice would charge it twice.
        asks = row.tries and not row.retry_due and row.fault not in _NOBODYS_FAULT
        if asks and not means.may_retry(visit):
            wait = means.policy_of(visit).budget_wait
            return Later(Micros(means.clock.wall() + wait), "retry-budget")
        return await means.pause(visit, Micros(row.retry_due), row.fault)

    # -- answers on record -----------------------------------------------------------------

    async def _on_record(self, visit: Visit, row: CallRow) -> Verdict | None:
        # A word from before the last end was for that end.
        resolved = row.resolved if row.resolved_at > row.settled else ""
        if resolved == GIVE_UP:
            fault = Seen(
                kind=row.fault or "lost", detail="given up: nobody knows whether it happened",
                effect=Effect.UNKNOWN, type="CallInDoubt",
            )  # fmt: skip
            entry = visit.record.given_up(visit.attempt, fault)
            return await self._ended(visit, entry)
        if resolved == APPLIED:
            value = self._payload(row.resolved_at) or b"null"
        elif row.late > row.dispatched and row.state != "settled":
            late = self._payload(row.late)
            value = late if late is not None and not invalid(visit.request, late) else None
        else:
            value = None
        if value is None:
            return None
        return await self._ended(visit, visit.record.known(visit.attempt, value))

    async def _ended(self, visit: Visit, *entries: Entry) -> Verdict:
        ended = await self._means.finish(visit, *entries)
        visit.leave_if_cancelled()
        return ended if isinstance(ended, Ended) else Stale()

    def _payload(self, seq: int) -> bytes | None:
        with self._means.ledger.read() as reader:
            try:
                return reader.payload(Seq(seq), 0)
            except (PayloadErased, UnknownName):
                return None  # erased, or the owner gave none

    # -- asking the outside ----------------------------------------------------------------

    async def _look_up(self, visit: Visit, row: CallRow | None) -> Verdict | None:
        lookup = visit.request.lookup
        assert lookup is not None
        said = await self._asked(visit, lookup)
        if isinstance(said, Later):
            return said
        if isinstance(said, Found):
            wrong = visit.record.secret(said.value) or invalid(visit.request, said.value)
            if wrong is None:
                # One commit: what was found, and with it the end.
                found = visit.record.looked_up("found", said)
                end = visit.record.known(visit.attempt, said.value, said.blobs)
                return await self._ended(visit, found, end)
            said = Unclear(wrong.detail)
        answer = "absent" if isinstance(said, Absent) else "unclear"
        if not await self._means.commit(visit, visit.record.looked_up(answer)):
            return Stale()
        visit.leave_if_cancelled()
        return None if isinstance(said, Absent) else self._hold(visit, row, said)

    async def _asked(
        self, visit: Visit, lookup: Callable[..., Awaitable[_Lookup]]
    ) -> _Lookup | Later:
        """Ask, up to three times while the way is disturbed; it only reads."""
        means, tries = self._means, 0
        while True:
            left = visit.until - means.clock.mono()
            if left < LOOKUP_LEAST:
                return Later(Micros(means.clock.wall() + SECOND), "lookup")
            ran: Ran[_Lookup] = await means.run(visit, lookup, Micros(min(left, LOOKUP_TIMEOUT)))
            visit.cancelled |= ran.cancelled
            visit.leave_if_cancelled()
            tries += 1
            if ran.answer is not None:
                return ran.answer
            assert ran.fault is not None
            wait = self._lookup_wait(visit, ran.fault, tries)
            if wait is None:
                return Unclear(ran.fault.detail)
            await means.clock.sleep(wait)

    def _lookup_wait(self, visit: Visit, fault: Seen, tries: int) -> Micros | None:
        if fault.kind not in _TRANSIENT or tries >= retry.RULES["network"].tries:
            return None
        policy = self._means.policy_of(visit)
        wait = retry.wait_before(policy, fault, tries, self._means.rng.random())
        return wait if wait is not None and wait <= policy.short_wait else None

    # -- asking the owner ------------------------------------------------------------------

    def _hold(self, visit: Visit, row: CallRow | None, unclear: Unclear | None = None) -> Hold:
        request = visit.request
        detail = f"{request.name} on {request.route}: attempt {visit.attempt} may have happened"
        if row is not None and row.repeat == "keyed" and row.key != visit.key:
            detail += "; the request has changed since, so its key protects nothing"
        if unclear is not None and unclear.why:
            detail += f"; asking told nothing: {unclear.why}"
        return Hold(IN_DOUBT, detail)


def invalid(request: CallRequest, value: bytes) -> Seen | None:
    """What is wrong with an answer, or None.

    Raises:
        Nothing.
    """
    if request.validate is None:
        return None
    try:
        request.validate(value)
    except Exception as error:  # noqa: BLE001 - a check is the caller's code; any error is a verdict
        return seen(error, sent=True)
    return None
