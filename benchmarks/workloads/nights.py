"""What the guard makes of a provider that slows down or goes away, in virtual time.

What it is not: a matter of this machine: the same seed gives the same night anywhere.  Each round
is another seed.
"""

import tempfile
from collections import Counter
from itertools import count
from pathlib import Path

from benchmarks.child import Order
from tildawn.facts.call import CallDispatched, CallSettled
from tildawn.facts.fact import Fact
from tildawn.ledger.ledger import Ledger
from tildawn.runtime.rehearsal.clock import run_virtual
from tildawn.runtime.rehearsal.night import Night, play
from tildawn.runtime.rehearsal.script import find, parse
from tildawn.runtime.setting import RouteSettings
from tildawn.units import SECOND, Micros, Seq, duration


OUTAGES = ("10s", "60s", "5m")

SLOWER_AT = 5 * 3_600
"""Seconds after which every answer takes three times as long."""

SLOW_DOWN = """
length = "11h"
[[stream]]
kind = "image"
every = "60s"
[[provider.pace]]
median = "20s"
sigma = 0.25
[[provider.pace]]
since = "5h"
median = "60s"
sigma = 0.25
"""

WATCHING = RouteSettings(in_a_row=30, failure_tokens=30, share=100)
"""A breaker that sees everything and opens for nothing, so that only the limit acts."""


def measure(order: Order) -> dict[str, float]:
    """Seconds out of service, and shares of attempts that were cut off, in percent."""
    found = {f"open_{name}_s": _open(name, order.turn) for name in OUTAGES}
    return found | _slow_down(order.turn)


def _open(name: str, seed: int) -> float:
    return play(find(f"outage-{name}"), mode="on", seed=seed).open_s


def _slow_down(seed: int) -> dict[str, float]:
    script = parse(SLOW_DOWN)
    with tempfile.TemporaryDirectory() as folder:
        night = Night(Path(folder), script, mode="on", seed=seed, routes={"*": WATCHING})
        with night.open() as house:
            run_virtual(night.clock, night.play(house, until=duration(script.length)))
            cut = _cut_off(house.ledger, Micros(night.began + SLOWER_AT * SECOND))
    before, after = cut
    # The first fifty only watch, as the numbers are not the shipped ones.
    steady = before[50:]
    return {
        "steady_percent": 100 * sum(steady) / len(steady),
        "next_100_percent": float(sum(after[:100])),
        "last_100_percent": float(sum(after[200:300])),
    }


def _cut_off(ledger: Ledger, at: Micros) -> tuple[list[bool], list[bool]]:
    """Which attempts were cut off, in the order in which they were sent: before and after."""
    order, sent, ended = count(), dict[tuple[str, str, int], tuple[int, bool]](), Counter[int]()
    with ledger.read() as reader:
        for _, fact in reader.facts(Seq(-1), -1):
            assert isinstance(fact, Fact)
            match fact.data:
                case CallDispatched(attempt=attempt):
                    sent[fact.run, fact.path, attempt] = next(order), fact.at < at
                case CallSettled(attempt=attempt, fault=fault):
                    number, _ = sent[fact.run, fact.path, attempt]
                    ended[number] = fault == "timeout"
                case _:
                    pass
    early = [number for number, before in sent.values() if before]
    late = [number for number, before in sent.values() if not before]
    return [bool(ended[one]) for one in early], [bool(ended[one]) for one in late]
