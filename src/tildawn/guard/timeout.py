"""How long an attempt may take: what 95 of 100 took, and a margin, between two clamps.

What it is not: the deadline of a call, which the caller sets and which always holds, or the
cutting off; that is `tildawn.guard.attempt`.
"""

import msgspec

from tildawn.guard.latency import Ring
from tildawn.guard.policy import TimeoutPolicy
from tildawn.units import MILLISECOND, SECOND, Micros


SHORT = 10 * SECOND
"""Below it a margin of ten seconds would be many times the latency itself."""

SHORT_MARGIN = 2 * SECOND
"""The least margin of short latencies; otherwise it is half of them."""

CLIMBS_ABOVE = 100
"""Share of attempts cut off, in parts per thousand, above which the percentile cannot be known:
most of the window only says "at least".  Source: simulation of a slow-down, 10 %."""

UP, DOWN = (3, 2), (9, 10)
"""How far a limit moves at once at the most: half as much again, and a tenth less."""


class Limit(msgspec.Struct, frozen=True):
    """How long the next attempt may take, and why."""

    limit: Micros
    #: ``p95``, ``climbing`` (too many were cut off; it grows until they are not), ``cold`` (too
    #: little is known), ``cap`` (the rule wants more than it may have: the other side is slower
    #: than the cap) or ``fixed``.
    basis: str


def limit(ring: Ring, policy: TimeoutPolicy, *, last: Micros | None) -> Limit:
    """How long the next attempt may take.

    Args:
        ring: what the last attempts took.
        policy: the numbers.
        last: the limit so far, from which the new one moves a bounded step; None for no bound.

    Returns:
        The limit, between ``policy.least`` and ``policy.most``, and its basis.

    Raises:
        Nothing.
    """
    if not policy.adaptive:
        return Limit(policy.most, "fixed")
    wanted, basis = _wanted(ring, policy)
    if wanted > policy.most:
        # A guess about a route that is hardly known accuses nobody of being slow.
        basis = "cold" if len(ring) < policy.warm and not ring.cut_share else "cap"
    if last is not None:
        wanted = max(min(wanted, last * UP[0] // UP[1]), last * DOWN[0] // DOWN[1])
    return Limit(Micros(max(min(wanted, policy.most), policy.least)), basis)


def _wanted(ring: Ring, policy: TimeoutPolicy) -> tuple[int, str]:
    """What the rule asks for, before clamps and steps."""
    missing = max(policy.warm - len(ring), 0)
    if ring.cut_share > CLIMBS_ABOVE:
        wanted, basis = ring.largest_ms() * MILLISECOND, "climbing"
    else:
        p95 = ring.p95_ms(pseudo=missing, pseudo_ms=policy.prior // MILLISECOND)
        wanted, basis = p95 * MILLISECOND, "p95"
    wanted += _margin(wanted, policy)
    if missing and wanted <= policy.cold:
        return policy.cold, "cold"
    return wanted, basis


def _margin(over: int, policy: TimeoutPolicy) -> int:
    if over >= SHORT:
        return policy.margin
    return min(max(SHORT_MARGIN, over // 2), policy.margin)
