"""One call as a row, and a child process of one.

What it is not: the folds; those are in `tildawn.projections.call`.
"""

from tildawn.ledger.fold import Row


class CallRow(Row, frozen=True, kw_only=True):
    """One call. Instants are microseconds since 1970; ``…_at`` fields named so say which.

    ``dispatched``, ``settled``, ``doubted``, ``resolved_at``, ``late`` and ``state_at`` are
    positions in the ledger, -1 where there is no such fact; amounts are millionths of a dollar.
    """

    run: str
    path: str
    name: str
    route: str
    state: str
    repeat: str
    #: Number of the last attempt, from 1, never used twice.
    attempt: int
    #: Attempts since the call, or the owner, began anew; the rules of retrying count these.
    tries: int
    #: Attempts that ended without an answer, for what healed itself.
    failures: int
    key: str
    args: str
    model: str
    simulated: int
    budgets: str
    #: What the attempt under way has reserved, the tokens too, and the most its bill can be.
    reserve: int
    reserve_tokens: int
    worst: int
    #: Held for attempts of which nobody knows what became.
    held: int
    #: What was committed before the call was begun anew, see `may_begin_anew`.
    sunk: int
    #: Booked so far, all attempts; ``assumed`` is the part without a bill.
    spend: int
    assumed: int
    #: What bills were above their reservations.
    overrun: int
    source: str
    tokens_in: int
    tokens_out: int
    #: Empty for an answer; of the last attempt or refusal.
    fault: str
    effect: str
    #: Answer of the last lookup: found, absent or unclear.
    looked: str
    #: What the owner said.
    resolved: str
    resolved_at: int
    retry_due: int
    #: The attempt of the run that dispatched last.
    run_attempt: int
    #: 1 while a child process of the last attempt is not known to be gone.
    child: int
    #: Of the last attempt: the state of the route under which it was sent, and its limit, which
    #: is 0 where it had less time than such calls usually take.
    generation: int
    limit_ms: int
    #: The tier of the fallback ladder that answers or answered; empty for the primary.
    tier: str
    instead: str
    first_sent_at: int
    sent_at: int
    ended_at: int
    #: Where the payload "what" is.
    dispatched: int
    settled: int
    doubted: int
    late: int
    #: Position of the fact that gave the present state; appends about the call expect it.
    state_at: int


class ChildRow(Row, frozen=True, kw_only=True):
    """A child process that is not yet known to be gone."""

    run: str
    path: str
    attempt: int
    pid: int
    started: str
    seq: int
