"""How large each experiment is, in full and in quick.

What it is not: a result; quick numbers show that everything works, and are not published.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Counts of runs, steps and facts; all >= 1."""

    rounds: int = 5
    #: Of one sequential run, in blocks between which bare commits are made.
    steps: int = 200
    blocks: int = 5
    runs: int = 200
    steps_a_run: int = 10
    #: Of one run for the bytes of a step without the share of its run.
    steps_alone: int = 2_000
    pickups: int = 30
    facts: int = 1_000_000
    facts_few: int = 1_000
    interrupted: int = 1_000
    sleepers: int = 1_000_000
    due: int = 100
    calls: int = 2_000
    calls_at_once: int = 200
    starts: int = 5
    guard_rounds: int = 41
    served: int = 100
    #: Of each ledger alone, one by one, and of many callers at once.
    appends: int = 500
    callers: int = 1_000
    appends_each: int = 20


FULL = Sizes()
QUICK = Sizes(
    rounds=1, steps=100, runs=50, steps_alone=500, pickups=8, facts=20_000, interrupted=100,
    sleepers=5_000, due=20, calls=600, starts=3, guard_rounds=9, served=20,
    appends=60, callers=200, appends_each=5,
)  # fmt: skip
