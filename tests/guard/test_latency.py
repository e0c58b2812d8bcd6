"""The sorted ring: what it says is what counting everything again says.

What it is not: the packed history; see the tests of the projections.
"""

import math
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tildawn.guard.latency import Ring
from tildawn.projections.attempts import SAMPLES, Sample


def some() -> st.SearchStrategy[Sample]:
    return st.builds(
        Sample, st.integers(0, 50) | st.integers(0, 2**31 - 1), st.booleans(), st.just(0)
    )


def drawn(seed: int, count: int) -> list[Sample]:
    """Many samples, with equals among them; lists of hypothesis are too short to fill a ring."""
    chance = Random(seed)
    return [
        Sample(
            chance.choice((chance.randrange(50), chance.randrange(2**31))), chance.random() < 0.2, 0
        )
        for _ in range(count)
    ]


def per_mille(kept: list[Sample]) -> int:
    """The share that was cut off, rounded up."""
    return math.ceil(sum(one.cut for one in kept) * 1_000 / len(kept)) if kept else 0


def rank(values: list[int]) -> int:
    """The 95th percentile by its definition."""
    return sorted(values)[max(math.ceil(0.95 * len(values)) - 1, 0)] if values else 0


@given(st.integers(0, 2**32), st.integers(0, 30), st.integers(0, 3 * SAMPLES))
def test_the_ring_equals_a_recount(seed, before, after) -> None:
    """An estimate that drifts from its samples by one each night is wrong after a month."""
    came = drawn(seed, before + after)
    ring = Ring(came[:before])
    for sample in came[before:]:
        ring.add(sample)
    kept = came[-SAMPLES:]

    assert len(ring) == len(kept)
    assert ring.p95_ms() == rank([one.took_ms for one in kept])
    assert ring.largest_ms() == max((one.took_ms for one in kept), default=0)
    assert ring.cut_share == per_mille(kept)


@given(st.lists(some(), max_size=30), st.integers(0, 30), st.integers(0, 60))
def test_imagined_samples_count_as_if_they_were_there(came, pseudo, each) -> None:
    """The prior leaves as real samples come; nobody sorts it in and out for that."""
    there = [one.took_ms for one in came] + [each] * pseudo

    assert Ring(came).p95_ms(pseudo=pseudo, pseudo_ms=each) == rank(there)


@given(st.integers(0, 2**32), st.integers(0, 2 * SAMPLES))
def test_a_ring_from_history_is_the_ring_that_saw_it(seed, count) -> None:
    """A house that was killed goes on with the same numbers."""
    came, seen = drawn(seed, count), Ring()
    for sample in came:
        seen.add(sample)
    built = Ring(came)

    assert (len(seen), seen.p95_ms(), seen.largest_ms(), seen.cut_share) == (
        len(built), built.p95_ms(), built.largest_ms(), built.cut_share,
    )  # fmt: skip


def test_an_empty_ring_says_nothing() -> None:
    """And says it as numbers, so that nobody has to ask first."""
    ring = Ring()

    assert (0, 0, 0, 0) == (len(ring), ring.p95_ms(), ring.largest_ms(), ring.cut_share)
