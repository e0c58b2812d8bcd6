"""The workloads, who takes part in each, and the bars that this project has set itself.

What it is not: timed tests.  A bar that is missed is shown in the table, and fails nothing.
"""

from dataclasses import dataclass
from typing import Literal


EVERYBODY = ("bare", "chained", "tildawn", "dbos", "dbos-wal", "langgraph", "huey")
OURS = ("tildawn",)
BREAKERS = (
    "tildawn", "aiobreaker", "circuitbreaker", "purgatory", "hyx", "pybreaker", "interlock-cb",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A module of `benchmarks.workloads`: who takes part, and in how many rounds at most."""

    name: str
    title: str
    contenders: tuple[str, ...] = OURS
    rounds: int = 5
    #: Whether it needs the houses of `benchmarks.workloads.building`.
    houses: bool = False


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A number of the table; where there is a limit, ours is judged by it."""

    workload: str
    figure: str
    title: str
    unit: str
    limit: float | None = None
    sense: Literal["at most", "at least"] = "at most"

    def met(self, value: float) -> bool | None:
        """Whether a value of ours is good enough; None where there is no limit."""
        if self.limit is None:
            return None
        return value <= self.limit if self.sense == "at most" else value >= self.limit


WORKLOADS = (
    Workload(name="sequential", title="one run, step after step", contenders=EVERYBODY),
    Workload(name="crowd", title="200 runs of 10 steps at once", contenders=EVERYBODY),
    Workload(
        name="pickup", title="enqueue to start",
        contenders=("bare", "tildawn", "dbos", "dbos-wal", "huey"), rounds=3,
    ),
    Workload(name="opening", title="import and open", contenders=EVERYBODY),
    Workload(name="kill", title="kill -9 in the middle", contenders=EVERYBODY, rounds=3),
    Workload(name="door", title="calls through the whole door"),
    Workload(name="permit", title="a call under a permit"),
    Workload(name="guard", title="the guard around a call"),
    Workload(name="behaviour", title="what breakers do", contenders=BREAKERS, rounds=1),
    Workload(name="fallback", title="what is served instead", rounds=3),
    Workload(name="nights", title="a provider that slows down and goes away"),
    Workload(name="ledger", title="the ledger alone"),
    Workload(name="help", title="tildawn --help"),
    Workload(name="growth", title="a step in a long house", houses=True),
    Workload(name="verifying", title="proving a long ledger", rounds=3, houses=True),
    Workload(name="snapshot", title="a copy of a long ledger, and the way back", rounds=3, houses=True),
    Workload(name="recovery", title="start after a crash in a long house", rounds=3, houses=True),
    Workload(name="sleepers", title="a house full of sleepers", rounds=3, houses=True),
)  # fmt: skip

BARS = (
    Bar(workload="sequential", figure="p50_ms", title="sequential durable step, p50", unit="ms"),
    Bar(workload="sequential", figure="p99_ms", title="sequential durable step, p99", unit="ms"),
    Bar(
        workload="sequential", figure="over_bare_ms", unit="ms", limit=0.15,
        title="the same, p50 above bare commits made in between",
    ),
    Bar(
        workload="crowd", figure="steps_a_second", unit="/s", limit=15_000, sense="at least",
        title="200 runs × 10 steps at once",
    ),
    Bar(
        workload="crowd", figure="bytes_a_step", unit="B", limit=550,
        title="disk a step, its share of the run included",
    ),
    Bar(workload="crowd", figure="bytes_a_step_alone", title="disk a step, alone", unit="B"),
    Bar(
        workload="pickup", figure="p50_ms", unit="ms", limit=3,
        title="enqueue to start, in process, p50 (DBOS: polling every 50 ms)",
    ),
    Bar(workload="opening", figure="open_s", title="import and open", unit="s", limit=0.25),
    Bar(
        workload="opening", figure="resident_mb", title="resident memory then", unit="MB", limit=60
    ),
    Bar(workload="kill", figure="lost", title="kill -9: steps lost of 2,000", unit="", limit=0),
    Bar(workload="kill", figure="ran_again", title="kill -9: steps that ran again", unit=""),
    Bar(
        workload="kill", figure="most_times", unit="", limit=2,
        title="kill -9: most runs of one step",
    ),
    Bar(
        workload="kill", figure="done_s", unit="s", limit=2,
        title="kill -9: restart to last step",
    ),
    Bar(
        workload="ledger", figure="facts_a_second", unit="/s", limit=40_000, sense="at least",
        title="facts of 1,000 callers, with tree and projections",
    ),
    Bar(
        workload="ledger", figure="over_bare_ms", unit="ms", limit=0.15,
        title="one append, p50 above a bare append and fdatasync made in between",
    ),
    Bar(
        workload="ledger", figure="mirror_percent", unit="%", limit=25,
        title="the same with a mirror on the same disk, p50 above it",
    ),
    Bar(
        workload="door", figure="calls_a_second", unit="/s", limit=5_000, sense="at least",
        title="calls through the whole door, 200 at once",
    ),
    Bar(
        workload="door", figure="over_two_bare_ms", unit="ms", limit=0.4,
        title="one call, p50 above two bare commits",
    ),
    Bar(
        workload="permit", figure="without_us", unit="µs",
        title="one call without a permit, p50",
    ),
    Bar(
        workload="permit", figure="use_us", unit="µs", limit=20,
        title="the same under a permit: above that, p50",
    ),
    Bar(
        workload="permit", figure="work_us", unit="µs",
        title="the same: processor time above that, writer included",
    ),
    Bar(
        workload="permit", figure="child_us", unit="µs",
        title="the same under a permit with a parent: above that, p50",
    ),
    Bar(
        workload="guard", figure="ours_us", unit="µs", limit=10,
        title="the whole guard around a call, without its commits, p50",
    ),
    *(
        Bar(workload="guard", figure=f"{name}_us", unit="µs", title=f"beside it: {title}")
        for name, title in (
            ("rules", "the same without the attempt's own task and its limit"),
            ("task", "nothing but a task, made and awaited"),
            ("bare", "nothing but `await`"),
            ("stack", "tenacity + purgatory + asyncio.timeout"),
            ("timeout", "asyncio.timeout"),
            ("tenacity", "tenacity, retry"),
            ("stamina", "stamina, retry"),
            ("purgatory", "purgatory, breaker"),
            ("hyx", "hyx, breaker"),
            ("aiobreaker", "aiobreaker, breaker"),
            ("circuitbreaker", "circuitbreaker, breaker"),
            ("interlock", "interlock-cb, breaker"),
            ("pybreaker", "pybreaker, breaker, no asyncio"),
        )
    ),
    Bar(
        workload="fallback", figure="p95_ms", unit="ms", limit=250,
        title="fallback after the decision, local tiers, p95",
    ),
    Bar(
        workload="fallback", figure="max_ms", unit="ms", limit=2_000,
        title="the same, slowest",
    ),
    Bar(
        workload="fallback", figure="state_bytes", unit="B", limit=2_000,
        title="guard state of a route that has seen everything",
    ),
    Bar(
        workload="fallback", figure="import_ms", unit="ms", limit=40,
        title="`import tildawn.guard`",
    ),
    Bar(
        workload="fallback", figure="import_all_ms", unit="ms",
        title="`import tildawn.guard.call`, which brings everything of it",
    ),
    Bar(
        workload="fallback", figure="import_floor_ms", unit="ms",
        title="beside it: `import asyncio, msgspec`",
    ),
    Bar(
        workload="nights", figure="steady_percent", unit="%", limit=0.5,
        title="limits that were too short, steady provider",
    ),
    Bar(
        workload="nights", figure="next_100_percent", unit="%", limit=30,
        title="cut off among the next 100 after it became three times as slow",
    ),
    Bar(
        workload="nights", figure="last_100_percent", unit="%", limit=3,
        title="cut off among the last 100 of 300 after that",
    ),
    *(
        Bar(
            workload="nights", figure=f"open_{name}_s", unit="s", limit=limit,
            title=f"out of service for an outage of {name}",
        )
        for name, limit in (("10s", 45), ("60s", 130), ("5m", 360))
    ),
    Bar(workload="help", figure="help_s", title="`tildawn --help`", unit="s", limit=0.1),
    Bar(workload="help", figure="python_s", title="`python -c pass`, beside it", unit="s"),
    Bar(
        workload="growth", figure="ratio", unit="×", limit=1.15,
        title="step at 1,000,000 facts over 1,000, p50",
    ),
    Bar(
        workload="verifying", figure="hashes_s", unit="s", limit=10,
        title="verify 1,000,000 facts: chain, tree, canonical form, signatures",
    ),
    Bar(
        workload="verifying", figure="whole_s", unit="s",
        title="the same with payloads and projections",
    ),
    Bar(
        workload="verifying", figure="alone_s", unit="s", limit=30,
        title="the same with the stand-alone verifier, without projections",
    ),
    Bar(
        workload="snapshot", figure="snapshot_s", unit="s", limit=10,
        title="snapshot of 1,000,000 facts, verified and compressed",
    ),
    Bar(workload="snapshot", figure="packed_mb", unit="MB", title="its size, compressed"),
    Bar(
        workload="snapshot", figure="restore_s", unit="s", limit=30,
        title="restore of 1,000,000 facts from the ledger itself, proven",
    ),
    Bar(
        workload="snapshot", figure="unpack_s", unit="s", limit=30,
        title="the same from a snapshot",
    ),
    Bar(
        workload="recovery", figure="first_step_s", unit="s", limit=1.5,
        title="1,000,000 facts, 1,000 interrupted runs: start to first resumed step",
    ),
    Bar(
        workload="recovery", figure="heavy_first_step_s", unit="s", limit=1.5,
        title="the same, where those facts are the histories of the interrupted runs",
    ),
    Bar(
        workload="recovery", figure="heavy_first_step_s", unit="s", limit=1.5,
        title="the same, where those facts are the histories of the interrupted runs",
    ),
    Bar(
        workload="recovery", figure="all_s", unit="s", title="the first of these: until all runs are done"
    ),
    Bar(
        workload="sleepers", figure="more_mb", unit="MB", limit=100,
        title="1,000,000 sleeping runs: more memory",
    ),
    Bar(
        workload="sleepers", figure="open_s", unit="s", limit=1.5,
        title="1,000,000 sleeping runs: open and start",
    ),
    Bar(
        workload="sleepers", figure="late_p50_ms", unit="ms",
        title="1,000,000 sleeping runs: timers late, p50",
    ),
    Bar(
        workload="sleepers", figure="late_max_ms", unit="ms", limit=50,
        title="1,000,000 sleeping runs: timers late, worst",
    ),
)  # fmt: skip
