"""What the guard would say of a route to a person at three in the morning: state, cause, next.

What it is not: a decision, or a rule; the same rules are asked that decide, and nothing here
needs the pen.  Clock times are instants; whoever shows them knows the zone.
"""

import msgspec

from tildawn.guard import breaker, recovery, timeout
from tildawn.guard import mode as modes
from tildawn.guard.latency import Ring
from tildawn.guard.policy import Mode, RatePolicy, RoutePolicy
from tildawn.ledger.reader import Reader
from tildawn.projections.attempts import DAY, outcomes, probes, samples
from tildawn.projections.route import HealthRow, OutageRow, WordRow, health_of, outages, word_of
from tildawn.projections.slo import delay_of, last_outcomes, own_delay
from tildawn.units import MILLISECOND, SECOND, Micros


LAST = 25
"""Outcomes that are shown."""

HOUR = 3_600 * SECOND

SIGNS = {
    "": ".", "timeout": "T", "rate": "R", "rate-asked": "W", "network": "N", "server": "S",
    "invalid_answer": "I", "not_found": "4", "auth": "K", "quota": "Q", "bad_request": "4",
}  # fmt: skip
"""One character an outcome: the strip reads without colours, and aloud."""

LEGEND = {
    ".": "answered", "T": "no answer in time", "R": "too many requests", "W": "told to wait",
    "N": "not reached", "S": "a fault of theirs", "I": "an answer of no use",
    "4": "a fault of ours", "K": "key refused", "Q": "account used up",
}  # fmt: skip


class Limiter(msgspec.Struct, frozen=True, kw_only=True):
    """A limiter now: so many at once, one more every so often, so many left."""

    what: str
    burst: int
    every: int
    left: int
    #: When the bucket is full again, 0 for now.
    full_at: int


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt came to; ``kind`` is empty for an answer."""

    at: int
    sign: str
    kind: str


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """A time out of service; ``ended`` is 0 while it goes on."""

    began: int
    ended: int
    cause: str
    #: The numbers behind it.
    why: str
    blocked: bool
    checks: int
    probes: int
    open_us: int
    #: The part that was our own delay in finding out that the other side was back.
    excess_us: int
    #: Calls that were sent nevertheless, since the breaker only watched.
    passed: int
    seq: int


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a route. Instants and durations are microseconds, 0 for none."""

    route: str
    kind: str
    #: closed, open, probing, ramp or blocked: what is on record, and what acts.
    state: str
    acts: str
    generation: int
    since: int
    cause: str
    why: str
    #: When the other side is asked next.
    due: int
    #: The other side asked everybody to keep away until then.
    parked: int
    mode: Mode
    #: Where the mode comes from, such as ``your word until …``.
    mode_from: str
    mode_until: int
    forced: str
    forced_until: int
    limit: int
    basis: str
    p95: int
    samples: int
    #: Share of the samples that were cut off, in parts per thousand.
    cut: int
    least: int
    most: int
    limiters: tuple[Limiter, ...]
    #: Attempts at once that are let in (0 for no limit), and those under way.
    at_once: int
    flying: int
    streak: int
    proofs: int
    strip: str
    last: tuple[Seen, ...]
    attempts: int
    #: Of the attempts that the breaker judges: since it last opened, and not too long ago.
    failed_percent: int
    timeouts_in_a_row: int
    paid_probes: int
    paid_micro_usd: int
    paid_most: int
    paid_most_micro_usd: int
    policy: str
    custom: bool
    trials: int
    promoted: bool
    watch_at: int
    review_at: int
    outages: tuple[Outage, ...]
    #: What happens next, one sentence each, without clock times.
    next: tuple[str, ...]


def explain(
    reader: Reader,
    route: str,
    *,
    policy: RoutePolicy,
    environment: Mode | None,
    flying: int,
    now: Micros,
) -> Explanation:
    """Everything about a route, from its projections alone.

    Args:
        reader: one read transaction.
        route: its name.
        policy: the numbers that hold for it.
        environment: what ``GEN_BREAKER_ENABLED`` says, None where it is silent.
        flying: attempts under way, as the calls say.
        now: the instant by the wall clock.

    Returns:
        The explanation; a route without history is closed and healthy.

    Raises:
        Nothing.
    """
    row, word, everywhere = health_of(reader, route), word_of(reader, route), word_of(reader, "*")
    ring = Ring(samples(row.samples))
    last = Micros(row.limit_ms * MILLISECOND) if row.limit_ms else None
    limit = timeout.limit(ring, policy.timeout, last=last)
    mode, mode_from, mode_until = _mode(
        row, word, everywhere, policy=policy, environment=environment, now=now
    )
    known = last_outcomes(reader, route)[-LAST:]
    judged = outcomes(row.outcomes)
    paid = [one for one in probes(row.probes) if one.at > now - HOUR]
    forced = word.forced if word is not None and word.forced_until > now else ""
    said = Explanation(
        route=route, kind=policy.kind, state=row.state,
        acts=_acts(row, forced=forced, mode=mode), generation=row.generation, since=row.since,
        cause=row.cause, why=row.why, due=row.due if row.state in {"open", "probing"} else 0,
        parked=row.parked if row.parked > now else 0,
        mode=mode, mode_from=mode_from, mode_until=mode_until,
        forced=forced, forced_until=word.forced_until if word is not None and forced else 0,
        limit=limit.limit if mode == "on" else policy.timeout.most,
        basis=limit.basis if mode == "on" else "fixed", p95=ring.p95_ms() * MILLISECOND,
        samples=len(ring), cut=ring.cut_share, least=policy.timeout.least,
        most=policy.timeout.most, limiters=_limiters(row, policy, now),
        at_once=_at_once(row, policy), flying=flying, streak=row.streak,
        proofs=policy.recovery.proofs, strip="".join(SIGNS[one.kind] for one in known),
        last=tuple(Seen(at=one.at, sign=SIGNS[one.kind], kind=one.kind) for one in known),
        attempts=row.attempts, failed_percent=breaker.share(judged, policy.breaker, now=now),
        timeouts_in_a_row=breaker.timeouts(judged, policy.breaker, now=now),
        paid_probes=len(paid), paid_micro_usd=sum(one.cost for one in paid),
        paid_most=policy.recovery.paid_an_hour, paid_most_micro_usd=policy.recovery.usd_an_hour,
        policy=policy.digest, custom=policy.custom, trials=row.trials,
        promoted=row.promoted == policy.digest,
        watch_at=word.watch_at if word is not None else 0,
        review_at=word.review_at if word is not None else 0,
        outages=_outages(reader, route, now), next=(),
    )  # fmt: skip
    return msgspec.structs.replace(said, next=_next(said, policy))


def _acts(row: HealthRow, *, forced: str, mode: Mode) -> str:
    """What happens to a call now, whatever is on record."""
    if mode != "on":
        return "closed"
    return forced or row.state


def _mode(
    row: HealthRow,
    word: WordRow | None,
    everywhere: WordRow | None,
    *,
    policy: RoutePolicy,
    environment: Mode | None,
    now: Micros,
) -> tuple[Mode, str, int]:
    """The mode that holds, where it comes from, and until when."""
    mode = modes.effective(
        environment=environment, word=word, everywhere=everywhere, policy=policy,
        trials=row.trials, adopted=row.policy, promoted=row.promoted, now=now,
    )  # fmt: skip
    if environment == "off":
        return mode, "the environment: GEN_BREAKER_ENABLED", 0
    for said, whose in (
        (word if row.route != "*" else None, "your word for this route"),
        (everywhere, "your word for every route"),
    ):
        if said is not None and said.mode in modes.WORDS and now < said.mode_until:
            return mode, whose, said.mode_until
    if policy.mode_said and mode == policy.mode:
        return mode, "the settings", 0
    if mode == "shadow" and policy.mode != "shadow" and (policy.mode_said or environment != mode):
        left = max(modes.TRIALS - (row.trials if row.policy == policy.digest else 0), 0)
        return mode, f"the settings are new: they are watched for {left} more attempts", 0
    if environment is not None and mode == environment:
        return mode, "the environment: GEN_BREAKER_ENABLED", 0
    return mode, "the settings" if policy.custom else "the preset", 0


def _limiters(row: HealthRow, policy: RoutePolicy, now: Micros) -> tuple[Limiter, ...]:
    both = (("requests", policy.requests, row.turn), ("tokens", policy.tokens, row.turn_tokens))
    return tuple(_limiter(what, rate, turn, now) for what, rate, turn in both if rate is not None)


def _limiter(what: str, rate: RatePolicy, turn: int, now: Micros) -> Limiter:
    burst = max(rate.burst, 1)
    ahead = min(max(turn - now, 0), burst * rate.every)
    return Limiter(
        what=what, burst=burst, every=rate.every, left=burst - -(-ahead // rate.every),
        full_at=now + ahead if ahead else 0,
    )  # fmt: skip


def _at_once(row: HealthRow, policy: RoutePolicy) -> int:
    if row.state in {"open", "probing", "blocked"}:
        return 1
    return recovery.at_once(row, policy)


def _outages(reader: Reader, route: str, now: Micros) -> tuple[Outage, ...]:
    found = outages(reader, since=Micros(now - DAY), until=now)
    return tuple(_outage(reader, one, now) for one in found if one.route == route)


def _outage(reader: Reader, row: OutageRow, now: Micros) -> Outage:
    delay = delay_of(reader, row.route, row.began_seq)
    end = row.ended or now
    return Outage(
        began=row.began, ended=row.ended, cause=row.cause,
        why=delay.why if delay is not None else "", blocked=bool(row.blocked),
        checks=row.checks, probes=row.probes, open_us=max(end - row.began, 0),
        excess_us=own_delay(row, delay, end),
        passed=delay.passed if delay is not None else 0, seq=row.began_seq,
    )  # fmt: skip


def _next(said: Explanation, policy: RoutePolicy) -> tuple[str, ...]:
    if said.mode == "off":
        return (
            (
                "Every call is sent, with the fixed limit. Money, deadline and the check of answers"
                " still hold."
            ),
        )
    if said.forced:
        return ("Your word ends by itself; then it is again as its last attempts say.",)
    rules = policy.breaker
    match said.state:
        case "open":
            found = (
                (
                    "Nothing is sent. It is asked for a sign of life, free of charge where that is"
                    f" possible, {policy.recovery.first // SECOND} s to"
                    f" {policy.recovery.longest // SECOND} s apart."
                ),
                (
                    "When it answers, one attempt at a time tests it; the first answer lets calls"
                    " through again."
                ),
            )
        case "probing":
            found = ("It gave a sign of life. One attempt tests it; an answer lets calls through.",)
        case "ramp":
            found = (
                (
                    f"{said.streak} of the {said.proofs} answers in a row that close it."
                    f" Let in at once: {said.at_once}."
                ),
                f"More than {policy.recovery.relapses} failures now open it again.",
            )
        case "blocked":
            found = (
                "Nothing is sent until you act; asking again would not help.",
                (
                    f"When it is put right, say so: tildawn route {said.route} force closed --for 10m"
                    " --reason …"
                ),
            )
        case _:
            found = (
                (
                    f"Calls pass. It opens after {rules.in_a_row} attempts in a row without an"
                    f" answer in time ({said.timeouts_in_a_row} now), or when {rules.share} % of at"
                    f" least {rules.least} attempts fail ({said.failed_percent} % now)."
                ),
            )
    if said.mode == "shadow":
        return ("It only watches: every call is sent. Were it on:", *found)
    return found
