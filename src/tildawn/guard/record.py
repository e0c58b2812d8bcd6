"""The facts of a call, drafted: dispatch, settlement, refusal, and what came late.

What it is not: appending them; `tildawn.guard.call` does that, in its order.
"""

import msgspec

from tildawn.errors import Effect, SecretFound, TildawnError
from tildawn.facts.call import (
    CallAnsweredLate,
    CallDispatched,
    CallDoubted,
    CallError,
    CallHoldReleased,
    CallLookedUp,
    CallRefused,
    CallServed,
    CallSettled,
    ChildProcessStarted,
)
from tildawn.facts.fact import FactData, Payload
from tildawn.facts.permit import PermitRefused
from tildawn.guard.attempt import Ran
from tildawn.guard.fault import SECRET, Seen, holds_secret
from tildawn.guard.funds import Funds
from tildawn.guard.leave import Pass
from tildawn.guard.request import Answer, CallRequest, Found
from tildawn.guard.retry import RULES
from tildawn.ledger.entry import Entry
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.secret import secret_in
from tildawn.units import MILLISECOND, SECOND, Micros, MicroUsd


DETAIL_CHARS = 2_000
"""The longest message of an error on record."""


ASKED_LEAST, ASKED_MOST = SECOND, 3_600 * SECOND
"""What another side may ask us to wait is believed within these."""


class Recorder:
    """Drafts the facts of one call."""

    __slots__ = ("_ledger", "_request", "funds", "instead", "tier")

    def __init__(
        self, ledger: Ledger, request: CallRequest, *, tier: str = "", instead: str = ""
    ) -> None:
        """Take the ledger that stamps and the call they are about.

        Args:
            ledger: drafts.
            request: the call as it goes to the tier that is asked.
            tier: of the fallback ladder, empty for the primary.
            instead: why no tier above it serves.
        """
        self._ledger = ledger
        self._request = request
        #: Of the attempt under way.
        self.funds = Funds(amount=request.reserve or MicroUsd(0))
        self.tier = tier
        self.instead = instead

    def dispatched(
        self, attempt: int, *, key: str, leave: Pass, deadline: Micros, limit: Micros
    ) -> Entry:
        """An attempt is about to leave.

        Args:
            attempt: its number.
            key: the idempotency key.
            leave: of the gate.
            deadline: instant of the wall clock at which it will be cut off.
            limit: how long it may take.

        Raises:
            BadValue: a value is outside the profile of bodies.
        """
        request = self._request
        what = self._payload(msgspec.json.encode(request.what)) if request.what else None
        about = self._payload(request.about) if request.about else None
        data = CallDispatched(
            name=request.name, route=request.route, attempt=attempt, key=key,
            args=request.args_digest, repeat=request.repeat, deadline=deadline,
            timeout_ms=-(-limit // MILLISECOND), reserve_micro_usd=self.funds.amount,
            reserve_tokens=self.funds.tokens, worst_micro_usd=self.funds.worst,
            budgets=self.funds.names or request.budgets, model=request.model,
            simulated=request.simulated, what=what.digest if what else "",
            about=about.digest if about else "", generation=leave.generation, probe=leave.probe,
            turn=leave.turn, turn_tokens=leave.turn_tokens,
            queue_ms=leave.queued // MILLISECOND,
            basis="step" if limit < leave.limit.limit else leave.limit.basis, would=leave.would,
            short=limit < leave.usual,
            tier=self.tier, instead=self.instead, kind=request.kind,
            permit=request.permit,
        )  # fmt: skip
        return self._draft(data, what, about)

    def answered(self, attempt: int, answer: Answer, ran: Ran[Answer]) -> Entry:
        """The final answer of an attempt.

        Raises:
            BadValue: a value is outside the profile of bodies.
        """
        out = self._payload(answer.value)
        spend, source = self.bill(answer)
        data = CallSettled(
            attempt=attempt, final=True, effect=Effect.APPLIED.value, out=out.digest,
            spend_micro_usd=spend, spend_source=source, tokens_in=answer.tokens_in,
            tokens_out=answer.tokens_out, took_ms=ran.took // MILLISECOND,
            queue_ms=ran.queued // MILLISECOND, first_ms=answer.first_ms or 0,
            picture=answer.picture,
        )  # fmt: skip
        return self._draft(data, out, None, blobs=answer.blobs)

    def served(
        self, answer: Answer, *, tier: str, instead: str, took: Micros, error: Seen | None
    ) -> Entry:
        """A local tier answered.

        Args:
            answer: what it gave.
            tier: its name.
            instead: why no tier above it served.
            took: since the decision to leave the tier above.
            error: how the primary failed, None where it was never asked.

        Raises:
            BadValue: a value is outside the profile of bodies.
        """
        request = self._request
        out = self._payload(answer.value)
        said = self._told(_said(error)) if error is not None else None
        data = CallServed(
            name=request.name, route=request.route, args=request.args_digest, tier=tier,
            instead=instead, out=out.digest, error=said.digest if said else "",
            took_ms=took // MILLISECOND, picture=answer.picture,
        )  # fmt: skip
        return self._draft(data, out, said, blobs=answer.blobs)

    def known(self, attempt: int, value: bytes, blobs: tuple[str, ...] = ()) -> Entry:
        """The final answer that was looked up, came late, or was given by the owner.

        Its money is booked with the attempt that earned it.

        Raises:
            BadValue: a value is outside the profile of bodies.
        """
        out = self._payload(value)
        data = CallSettled(attempt=attempt, final=True, effect=Effect.APPLIED.value, out=out.digest)
        try:
            return self._draft(data, out, None, blobs=blobs)
        except SecretFound as error:
            return self.given_up(attempt, holds_secret(error))

    def failed(
        self,
        attempt: int,
        *,
        fault: Seen,
        ran: Ran[Answer] | None,
        final: bool,
        retry_due: int = 0,
        test: bool = False,
    ) -> Entry:
        """An attempt ended without an answer that counts.

        Raises:
            BadValue: a value is outside the profile of bodies.
        """
        error = self._told(_said(fault))
        spend, source = self.cost(fault, ran.answer if ran else None)
        answer = ran.answer if ran else None
        data = CallSettled(
            attempt=attempt, final=final, effect=fault.effect.value, fault=fault.kind,
            error=error.digest, spend_micro_usd=spend, spend_source=source,
            tokens_in=answer.tokens_in if answer else 0,
            tokens_out=answer.tokens_out if answer else 0,
            took_ms=ran.took // MILLISECOND if ran else 0,
            queue_ms=ran.queued // MILLISECOND if ran else 0, retry_due=retry_due,
            abandoned=ran is not None and ran.task is not None,
            asked_wait_ms=-(-asked_wait(fault) // MILLISECOND), test=test,
        )  # fmt: skip
        return self._draft(data, None, error)

    def given_up(self, attempt: int, fault: Seen) -> Entry:
        """The final failure of a call whose effect stays unknown; its money is booked already.

        Raises:
            BadValue: a value is outside the profile of bodies.
        """
        error = self._told(_said(fault))
        data = CallSettled(
            attempt=attempt, final=True, effect=fault.effect.value, fault=fault.kind,
            error=error.digest,
        )  # fmt: skip
        return self._draft(data, None, error)

    def refused(self, error: TildawnError) -> Entry:
        """The door said no before anything was sent.

        Raises:
            BadValue: a value is outside the profile of bodies.
        """
        request = self._request
        said = self._told(_refusal(error))
        data = CallRefused(
            name=request.name, route=request.route, why=error.code, args=request.args_digest,
            error=said.digest,
        )  # fmt: skip
        return self._draft(data, said)

    def not_permitted(self, said: PermitRefused) -> Entry:
        """A permit did not allow an attempt.

        Raises:
            BadValue: a value is outside the profile of bodies.
        """
        return self._draft(said)

    def doubted(self, attempt: int, why: str) -> Entry:
        """An attempt was sent and can have no answer any more.

        Raises:
            BadValue: a value is outside the profile of bodies.
        """
        return self._draft(CallDoubted(attempt=attempt, why=why))

    def looked_up(self, answer: str, found: Found | None = None) -> Entry:
        """What a lookup said.

        Raises:
            BadValue: a value is outside the profile of bodies.
        """
        out = self._payload(found.value) if found else None
        data = CallLookedUp(answer=answer, out=out.digest if out else "")
        return self._draft(data, out, blobs=found.blobs if found else ())

    def late(self, attempt: int, answer: Answer) -> Entry:
        """An answer that came when nobody waited for it any more.

        Its bill counts whatever it says, so a secret in it is blacked out, not refused.

        Raises:
            BadValue: a value is outside the profile of bodies.
        """
        out = self._ledger.payload(answer.value, clean=True)
        data = CallAnsweredLate(
            attempt=attempt, out=out.digest, spend_micro_usd=answer.spend,
            spend_source=answer.spend_source, tokens_in=answer.tokens_in,
            tokens_out=answer.tokens_out, picture=answer.picture,
        )  # fmt: skip
        return self._draft(data, out, blobs=answer.blobs)

    def released(self, attempt: int, why: str) -> Entry:
        """An attempt that nobody waits for any more is known to have cost nothing.

        Raises:
            BadValue: a value is outside the profile of bodies.
        """
        return self._draft(CallHoldReleased(attempt=attempt, why=why))

    def child(self, pid: int, started: str) -> Entry:
        """A child process is alive and waits for leave to begin.

        Raises:
            BadValue: a value is outside the profile of bodies.
        """
        return self._draft(ChildProcessStarted(pid=pid, started=started))

    def bill(self, answer: Answer) -> tuple[MicroUsd, str]:
        """What an answered attempt cost and who says so; without a bill, its reservation.

        Raises:
            Nothing.
        """
        reserve = self.funds.amount
        if answer.spend_source == "none" and reserve:
            return reserve, "assumed"
        return answer.spend, answer.spend_source

    def cost(self, fault: Seen, answer: Answer | None) -> tuple[MicroUsd, str]:
        """What a failed attempt cost: nothing only where it certainly did nothing.

        Without a bill its reservation is held until somebody knows.

        Raises:
            Nothing.
        """
        reserve = self.funds.amount
        if answer is not None and (answer.spend_source != "none" or fault.kind == SECRET):
            return self.bill(answer)
        if fault.cost is not None:
            return fault.cost, "reported"
        if fault.effect is Effect.NONE or not reserve:
            return MicroUsd(0), "none"
        return reserve, "held"

    def secret(self, value: bytes) -> Seen | None:
        """That a value holds a secret, or None.

        Raises:
            Nothing.
        """
        what = self._ledger.secrets.found(value)
        if not what:
            return None
        return holds_secret(secret_in(f"the answer of {self._request.name}", what))

    def _payload(self, text: bytes) -> Payload:
        return self._ledger.payload(text)

    def _told(self, error: CallError) -> Payload:
        return self._ledger.payload(msgspec.json.encode(error), clean=True)

    def _draft(
        self, data: FactData, *payloads: Payload | None, blobs: tuple[str, ...] = ()
    ) -> Entry:
        request = self._request
        return self._ledger.draft(
            data, run=request.run, path=request.path, payloads=payloads, blobs=blobs
        )


def asked_wait(fault: Seen) -> Micros:
    """How long the other side asks everybody to keep away; 0 where it does not.

    Raises:
        Nothing.
    """
    if fault.kind != "rate" or not fault.retry_after:
        return Micros(0)
    return Micros(min(max(fault.retry_after, ASKED_LEAST), ASKED_MOST))


def _said(fault: Seen) -> CallError:
    return CallError(
        type=fault.type or fault.kind,
        message=_cut(fault.detail),
        hint=fault.hint,
        code=fault.kind,
        effect=fault.effect.value,
        retryable=fault.kind in RULES,
        status=fault.status or 0,
    )


def _refusal(error: TildawnError) -> CallError:
    def amount(name: str) -> int:
        value = error.fields.get(name)
        return value if isinstance(value, int) else 0

    return CallError(
        type=type(error).__name__,
        message=_cut(error.message),
        hint=error.hint or "",
        code=error.code,
        retryable=False,
        scope=str(error.fields.get("scope", "")),
        limit_micro_usd=amount("limit"),
        spent_micro_usd=amount("spent"),
        reserved_micro_usd=amount("reserved"),
    )


def _cut(text: str) -> str:
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= DETAIL_CHARS else clean[:DETAIL_CHARS] + "…"
