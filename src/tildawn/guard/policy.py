"""The numbers by which calls of a route are judged; durations in microseconds.

What it is not: a rule.  Each rule is a file of its own and takes its part of these.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from tildawn.guard.retry import RetryPolicy
from tildawn.units import SECOND, Micros, MicroUsd


Mode = Literal["on", "shadow", "off"]
"""Whether breaker, adaptive timeout, limiters and ladder act, only say what they would do, or
rest.  Deadline, money and the check of answers always hold."""

Class = Literal["image", "chat", "embedding", "http", "local"]
"""What kind of calls a route carries; it chooses the numbers where the user gives none."""

MINUTE = 60 * SECOND

IDLE = Micros(30 * SECOND)
"""Between two pieces of a stream; three times the shortest that is sensible, as models think
between the parts of an answer. Source: reference of resilience, 4.2."""


class TimeoutPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How long an attempt may take: the 95th percentile and a margin, between two clamps."""

    #: Whether it follows the latencies; without, ``most`` is the limit.
    adaptive: bool = True
    least: Micros
    most: Micros
    #: While fewer than ``warm`` attempts are known, the limit is at least this.
    cold: Micros
    #: What the first attempts are expected to take; leaves as real ones come.
    prior: Micros
    margin: Micros = Micros(10 * SECOND)
    warm: int = 20
    #: Of a stream: until its first piece, None for as long as the attempt; and between two.
    #: HOLE: the first one is not learned; the time to it is on record, its percentile is not kept.
    first: Micros | None = None
    idle: Micros = IDLE


class BreakerPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a route is taken out of service."""

    #: Attempts looked at, their greatest age, and how many there must be for ``share``.
    window: int = 25
    oldest: Micros = Micros(15 * MINUTE)
    least: int = 10
    #: Weighted share of failures in parts per hundred at which it opens.
    share: int = 50
    in_a_row: int = 3
    tokens: int = 5
    drain: Micros = Micros(MINUTE)
    overdue_least: int = 3


class RecoveryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How it is found out that the other side is back."""

    first: Micros = Micros(5 * SECOND)
    longest: Micros = Micros(60 * SECOND)
    jitter_ppm: int = 200_000
    #: Waits begin at ``first`` again after so long without an outage.
    calm: Micros = Micros(10 * MINUTE)
    proofs: int = 3
    ramp: tuple[int, ...] = (1, 2, 4)
    #: Failures soon after recovery that open it again: more than this many.
    relapses: int = 2
    paid_an_hour: int = 25
    usd_an_hour: MicroUsd = MicroUsd(1_000_000)


class RatePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """A limiter: so many at once, and one more every so often."""

    burst: int
    every: Micros


class RoutePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Everything by which calls of one route are judged."""

    kind: Class
    timeout: TimeoutPolicy
    mode: Mode = "on"
    #: Whether a user wrote the mode; one that nobody wrote follows the environment.
    mode_said: bool = False
    breaker: BreakerPolicy = BreakerPolicy()
    recovery: RecoveryPolicy = RecoveryPolicy()
    requests: RatePolicy | None = None
    #: Tokens of models; ``every`` is the time in which one comes back.
    tokens: RatePolicy | None = None
    #: Attempts at once; 0 for no limit.
    concurrency: int = 0
    retry: RetryPolicy = RetryPolicy()
    #: For a call with all its attempts, where it names none.
    deadline: Micros = Micros(600 * SECOND)
    #: Most that the route may spend on one day (UTC), None for no limit.
    usd_a_day: MicroUsd | None = None
    #: ``deny``, ``free``, or ``assume`` and an amount in US dollars.
    unknown_price: str = "deny"
    #: Whether a user wrote it; such a policy is watched before it acts.
    custom: bool = False

    @property
    def digest(self) -> str:
        """A name for these numbers that changes with each of them."""
        text = msgspec.json.encode(self, order="deterministic")
        return hashlib.sha256(text).hexdigest()[:16]


def _seconds(least: float, most: float, cold: float, prior: float) -> TimeoutPolicy:
    return TimeoutPolicy(
        least=Micros(round(least * SECOND)), most=Micros(round(most * SECOND)),
        cold=Micros(round(cold * SECOND)), prior=Micros(round(prior * SECOND)),
    )  # fmt: skip


PRESETS: Mapping[Class, RoutePolicy] = {
    "image": RoutePolicy(kind="image", timeout=_seconds(45, 180, 120, 60)),
    "chat": RoutePolicy(kind="chat", timeout=_seconds(15, 120, 60, 20)),
    "embedding": RoutePolicy(kind="embedding", timeout=_seconds(5, 30, 15, 3)),
    "http": RoutePolicy(kind="http", timeout=_seconds(10, 120, 120, 20)),
    "local": RoutePolicy(
        kind="local",
        mode="off",
        timeout=msgspec.structs.replace(_seconds(1, 120, 120, 120), adaptive=False),
    ),
}
"""What holds where the user gives no numbers. Source: the clamps of the specification."""

RATES: Mapping[str, RatePolicy] = {
    "image.conservative": RatePolicy(burst=5, every=Micros(MINUTE)),
    "chat": RatePolicy(burst=60, every=Micros(SECOND)),
}
"""Named limiters. The first comes to one at a time with five to catch up, about 485 a night."""


PolicyOf = Callable[[str, Class], RoutePolicy]
"""(route, class of its calls) -> the numbers that hold for it."""


def preset_of(_: str, kind: Class) -> RoutePolicy:
    """The numbers of a class of calls, where nobody gave others for the route.

    Raises:
        Nothing.
    """
    return PRESETS[kind]
