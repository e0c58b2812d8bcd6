"""The last attempts of a route, packed into a few bytes a piece.

What it is not: a judgement; rules read these in `tildawn.guard`.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import cast

import msgspec

from tildawn.units import MILLISECOND, SECOND, Micros, MicroUsd


OUTCOMES, SAMPLES, PROBES = 30, 200, 25
"""How much of a route's history is kept: attempts, latencies, paid probes."""

MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE
MINUTES = 65_536

KINDS = (
    "", "timeout", "rate", "rate-asked", "network", "server", "invalid_answer", "not_found",
    "auth", "quota", "bad_request",
)  # fmt: skip
"""What an attempt may have come to, for the breaker; the empty one is an answer, and
``rate-asked`` a refusal that said how long to wait.  Others say nothing about a route: callers
who went away, refused content, errors of our own code."""

BAD = frozenset({"timeout", "rate", "network", "server", "invalid_answer"})
"""Kinds that are failures of the other side."""

_CODES = {kind: code for code, kind in enumerate(KINDS)}
_OUTCOME, _SAMPLE, _PROBE = struct.Struct("<BQ"), struct.Struct("<IH"), struct.Struct("<II")
_CUT = 1 << 31


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What an attempt came to, one of `KINDS`, at an instant of the wall clock."""

    kind: str
    at: Micros


class Sample(msgspec.Struct, frozen=True, gc=False):
    """How long an attempt took; ``cut`` says that it was at least that.

    ``minute`` is counted since 1970, modulo `MINUTES`.
    """

    took_ms: int
    cut: bool
    minute: int


class Probe(msgspec.Struct, frozen=True, gc=False):
    """An attempt that was paid for to see whether a route is back; ``at`` in whole seconds."""

    at: Micros
    cost: MicroUsd


def kind_of(fault: str, *, asked_wait: bool) -> str | None:
    """What a fault says about the route, one of `KINDS`; None where it says nothing.

    Raises:
        Nothing.
    """
    if fault == "rate" and asked_wait:
        return "rate-asked"
    return fault if fault in _CODES else None


def sample_of(took: Micros, *, fault: str, limit_ms: int, at: Micros) -> Sample | None:
    """What an attempt says about latency; None where it says nothing.

    A timed-out attempt took at least its limit.  Callers who went away say nothing.

    Raises:
        Nothing.
    """
    minute = at // MINUTE % MINUTES
    if fault == "timeout":
        return Sample(min(max(took // MILLISECOND, limit_ms), _CUT - 1), True, minute)
    if fault not in _CODES:
        return None
    return Sample(min(took // MILLISECOND, _CUT - 1), False, minute)


def counts(sample: Sample, samples: Sequence[Sample], *, fault: str) -> bool:
    """Whether a latency is worth keeping.

    A refusal in 40 ms would drag the percentile down; a slow one is as good as an answer.

    Args:
        sample: the new one.
        samples: those that are kept.
        fault: how the attempt ended, empty for an answer.

    Raises:
        Nothing.
    """
    if not fault or sample.cut:
        return True
    return sample.took_ms >= median_ms(samples)


def median_ms(samples: Sequence[Sample]) -> int:
    """The middle latency, 0 without any.

    Raises:
        Nothing.
    """
    if not samples:
        return 0
    return sorted(sample.took_ms for sample in samples)[len(samples) // 2]


# -- packed, oldest first ------------------------------------------------------------------


def outcomes(packed: bytes) -> list[Outcome]:
    """What `with_outcome` has kept.

    Raises:
        Nothing.
    """
    found = cast("Iterable[tuple[int, int]]", _OUTCOME.iter_unpack(packed))
    return [Outcome(KINDS[kind], Micros(at)) for kind, at in found]


def samples(packed: bytes) -> list[Sample]:
    """What `with_sample` has kept.

    Raises:
        Nothing.
    """
    found = cast("Iterable[tuple[int, int]]", _SAMPLE.iter_unpack(packed))
    return [Sample(took & ~_CUT, bool(took & _CUT), minute) for took, minute in found]


def probes(packed: bytes) -> list[Probe]:
    """What `with_probe` has kept.

    Raises:
        Nothing.
    """
    found = cast("Iterable[tuple[int, int]]", _PROBE.iter_unpack(packed))
    return [Probe(Micros(at * SECOND), MicroUsd(cost)) for at, cost in found]


def with_outcome(packed: bytes, outcome: Outcome) -> bytes:
    """One more, and the oldest gone where there are more than `OUTCOMES`.

    Raises:
        Nothing.
    """
    new = _OUTCOME.pack(_CODES[outcome.kind], outcome.at)
    return (packed + new)[-OUTCOMES * _OUTCOME.size :]


def with_sample(packed: bytes, sample: Sample) -> bytes:
    """One more, and the oldest gone where there are more than `SAMPLES`.

    Raises:
        Nothing.
    """
    new = _SAMPLE.pack(sample.took_ms | (_CUT if sample.cut else 0), sample.minute)
    return (packed + new)[-SAMPLES * _SAMPLE.size :]


def with_probe(packed: bytes, at: Micros, cost: int) -> bytes:
    """One more, and the oldest gone where there are more than `PROBES`.

    Raises:
        Nothing.
    """
    new = _PROBE.pack(at // SECOND, min(cost, 2**32 - 1))
    return (packed + new)[-PROBES * _PROBE.size :]
