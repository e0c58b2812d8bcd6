"""What came of a played night, counted from its ledger.

What it is not: an opinion.  Only here is the truth about the provider known, so only here can the
time out of service be held against the time in which it was really gone.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from tildawn.facts.call import CallAnsweredLate, CallDispatched, CallServed, CallSettled
from tildawn.facts.fact import Fact
from tildawn.facts.route import RouteChecked, RouteTurned
from tildawn.ledger.ledger import Ledger
from tildawn.projections.run import RunRow
from tildawn.runtime.rehearsal.script import Script
from tildawn.units import SECOND, Micros, Seq, duration


Window = tuple[Micros, Micros]

OUT = frozenset({"open", "probing"})
"""States in which a route is out of service because of the other side."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A change of state, in seconds from the beginning of the night."""

    route: str
    at_s: float
    state: str
    cause: str


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One night under one mode.  Times are in seconds, money in millionths of a dollar."""

    mode: str
    #: Runs by how they ended; ``going`` are those that had not.
    done: int
    failed: int
    held: int
    going: int
    #: Attempts that were sent, probes among them, and how those ended that ended badly.
    attempts: int
    timeouts: int
    faults: dict[str, int]
    #: Time out of service, and the part of it in which the provider was well.
    open_s: float
    excess_s: float
    #: Free signs of life that were asked for, and attempts that were paid for to test a route.
    checks: int
    probes: int
    probe_spend: int
    spend: int
    #: Answers by tier of the ladder.
    served: dict[str, int]
    #: Answers of primaries that came after something else was served.
    late: int
    #: What the guard would have done, where it only watched.
    would: dict[str, int]
    turns: tuple[Turn, ...]


class _Tally:
    def __init__(self, began: Micros) -> None:
        self.began = began
        self.faults: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.would: Counter[str] = Counter()
        self.late = self.attempts = self.checks = self.probes = self.probe_spend = self.spend = 0
        self.turns: list[Turn] = []
        self.out: list[Window] = []
        self._since: dict[str, Micros] = {}
        self._probing: set[tuple[str, str, int]] = set()
        self._limits: dict[tuple[str, str, int], int] = {}

    def take(self, fact: Fact) -> None:
        match fact.data:
            case CallDispatched() as said:
                self._sent(fact, said)
            case CallSettled() as said:
                self._settled(fact, said)
            case CallServed() as said:
                self.served[said.tier] += 1
            case CallAnsweredLate() as said:
                self.late += 1
                self.spend += said.spend_micro_usd
            case RouteChecked():
                self.checks += 1
            case RouteTurned() as said:
                self._turned(said, Micros(fact.at - self.began))
            case _:
                pass

    def _sent(self, fact: Fact, said: CallDispatched) -> None:
        self.attempts += 1
        for one in filter(None, said.would.split(", ")):
            what, *numbers = one.split()
            if what == "timeout":  # said of every attempt: whether it would have been cut off
                self._limits[fact.run, fact.path, said.attempt] = int(numbers[0])
            else:
                self.would[what] += 1
        if said.probe:
            self.probes += bool(said.reserve_micro_usd)
            self._probing.add((fact.run, fact.path, said.attempt))

    def _settled(self, fact: Fact, said: CallSettled) -> None:
        if said.fault:
            self.faults[said.fault] += 1
        limit = self._limits.pop((fact.run, fact.path, said.attempt), said.took_ms)
        self.would["timeout"] += int(said.took_ms > limit)
        self.spend += said.spend_micro_usd
        if (fact.run, fact.path, said.attempt) in self._probing:
            self.probe_spend += said.spend_micro_usd

    def _turned(self, said: RouteTurned, at: Micros) -> None:
        turn = Turn(
            route=said.route, at_s=round(at / SECOND, 1), state=said.state, cause=said.cause
        )
        self.turns.append(turn)
        if said.state in OUT:
            self._since.setdefault(said.route, at)
        elif (since := self._since.pop(said.route, None)) is not None:
            self.out.append((since, at))

    def ended(self, at: Micros) -> list[Window]:
        return self.out + [(since, at) for since in self._since.values()]


def account_of(ledger: Ledger, script: Script, *, began: Micros, mode: str) -> Account:
    """Count a night.

    Args:
        ledger: of the house in which it was played.
        script: what was played.
        began: the instant of its beginning.
        mode: under which it was played.

    Raises:
        TildawnError: the ledger cannot be read.
    """
    tally = _Tally(began)
    for fact in _facts(ledger):
        tally.take(fact)
    with ledger.read() as reader:
        states = Counter(row.state for row in reader.rows(RunRow))
    out = tally.ended(duration(script.length))
    ended = ("done", "failed", "held", "cancelled")
    return Account(
        mode=mode, done=states["done"], failed=states["failed"], held=states["held"],
        going=sum(count for state, count in states.items() if state not in ended),
        attempts=tally.attempts, timeouts=tally.faults["timeout"], faults=_sorted(tally.faults),
        open_s=_seconds(out), excess_s=_seconds(out) - _seconds(_within(out, _down(script))),
        checks=tally.checks, probes=tally.probes, probe_spend=tally.probe_spend,
        spend=tally.spend, late=tally.late, served=_sorted(tally.served), would=_sorted(tally.would),
        turns=tuple(tally.turns),
    )  # fmt: skip


def _facts(ledger: Ledger) -> Iterator[Fact]:
    with ledger.read() as reader:
        for _, fact in reader.facts(Seq(-1), -1):
            if isinstance(fact, Fact):
                yield fact


def _down(script: Script) -> list[Window]:
    return [one.window for one in script.outage]


def _within(windows: Sequence[Window], others: Sequence[Window]) -> list[Window]:
    pairs = [
        (Micros(max(low, begin)), Micros(min(high, end)))
        for low, high in windows
        for begin, end in others
    ]
    return [(low, high) for low, high in pairs if low < high]


def _seconds(windows: Sequence[Window]) -> float:
    return round(sum(high - low for low, high in windows) / SECOND, 1)


def _sorted(counted: "Counter[str]") -> dict[str, int]:
    return {name: count for name, count in sorted(counted.items()) if count}
