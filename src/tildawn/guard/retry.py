"""When an attempt is made again: a table of rules, and one budget for all retries of a route.

What it is not: the retrying.  Everything here is a pure function of the failure, the count and
a number drawn by the caller; `tildawn.guard.call` waits and sends.
"""

from collections.abc import Mapping

import msgspec

from tildawn.guard.fault import Seen
from tildawn.units import SECOND, Micros


class Rule(msgspec.Struct, frozen=True):
    """How often a kind of failure is tried in all, and how long before the second try."""

    tries: int
    first: Micros = Micros(0)


RULES: Mapping[str, Rule] = {
    "timeout": Rule(3, Micros(2 * SECOND)),
    "rate": Rule(5, Micros(10 * SECOND)),
    "network": Rule(3, SECOND),
    "server": Rule(3, SECOND),
    "invalid_answer": Rule(2),
    "not_found": Rule(1),
}
"""A kind that is not here is tried once: auth, quota and tls need a person, a bad request stays
bad, what was too large would be so again, and what fits no class is not understood. Source: the error classes of the specification."""


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of retrying; durations in microseconds, shares in parts per million."""

    rules: Mapping[str, Rule] = msgspec.field(default_factory=lambda: RULES)
    #: Waits up to this long are made at the door; longer ones are the engine's.
    short_wait: Micros = Micros(10 * SECOND)
    #: Each wait differs from its rule by at most this share, in both directions.
    jitter_ppm: int = 200_000
    #: What another side may ask us to wait is believed up to here.
    retry_after_max: Micros = Micros(3_600 * SECOND)
    #: Retries of a route in ten minutes, as a share of its calls and at the least.
    #: Source: Envoy's and failsafe-go's retry budgets, 20 % and 3.
    budget_ppm: int = 200_000
    budget_least: int = 3
    #: When the budget of a route is used up, how long to wait before asking for it again.
    budget_wait: Micros = Micros(60 * SECOND)


def wait_before(policy: RetryPolicy, fault: Seen, tries: int, chance: float) -> Micros | None:
    """How long to wait before the next attempt.

    The wait doubles with each attempt.  What the other side asks for is a floor: we come a
    little later, never earlier.

    Args:
        policy: the numbers.
        fault: how the last attempt failed.
        tries: attempts made so far, >= 1.
        chance: a number drawn evenly from [0, 1).

    Returns:
        Microseconds >= 0, or None when there is no further attempt.

    Raises:
        Nothing.
    """
    rule = policy.rules.get(fault.kind)
    if rule is None or tries >= rule.tries:
        return None
    asked = min(fault.retry_after or 0, policy.retry_after_max)
    swing = policy.jitter_ppm / 1_000_000
    if asked:
        return jittered(policy, Micros(asked), chance)
    wait = rule.first * 2 ** (tries - 1)
    return Micros(round(wait * (1 + swing * (2 * chance - 1))))


def jittered(policy: RetryPolicy, asked: Micros, chance: float) -> Micros:
    """A wait that another side asked for: we come a little later, never earlier.

    Raises:
        Nothing.
    """
    return Micros(round(asked * (1 + policy.jitter_ppm / 1_000_000 * chance)))


def in_budget(policy: RetryPolicy, *, calls: int, retries: int) -> bool:
    """Whether a route may retry once more.

    Args:
        policy: the numbers.
        calls: first attempts of the route in the last ten minutes.
        retries: its other attempts in the same time.

    Returns:
        Whether one more stays within the budget.

    Raises:
        Nothing.
    """
    return retries < max(policy.budget_least, calls * policy.budget_ppm // 1_000_000)
