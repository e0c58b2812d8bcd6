"""What came of a played night, counted from its ledger.

What it is not: an opinion.  Only here is the truth about the provider known, so only here can the
time out of service be held against the time in which it was really gone.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from tildawn.facts.call import (
    CallAnsweredLate,
    CallDispatched,
    CallHoldReleased,
    CallLookedUp,
    CallServed,
    CallSettled,
)
from tildawn.facts.fact import Fact
from tildawn.facts.route import RouteChecked, RouteHeard, RouteTurned
from tildawn.ledger.ledger import Ledger
from tildawn.projections.call_row import CallRow
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
    #: Booked or still held at the end of the night.
    spend: int
    #: Answers by tier of the ladder.
    served: dict[str, int]
    #: Answers of primaries that came after something else was served.
    late: int
    #: What the guard would have done, where it only watched.
    would: dict[str, int]
    turns: tuple[Turn, ...]


_Place = tuple[str, str, int]
"""Run, path and number of an attempt."""


class _Tally:
    def __init__(self, began: Micros) -> None:
        self.began = began
        self.faults: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.would: Counter[str] = Counter()
        self.late = self.attempts = self.checks = self.probes = 0
        self.turns: list[Turn] = []
        self.out: list[Window] = []
        self._since: dict[str, Micros] = {}
        #: What each probe cost, as far as is known, and those for which that is held.
        self._probing: dict[_Place, int] = {}
        self._held: set[_Place] = set()
        self._limits: dict[_Place, int] = {}

    def take(self, fact: Fact) -> None:
        match fact.data:
            case CallDispatched() as said:
                self._sent(fact, said)
            case CallSettled() as said:
                self._settled(fact, said)
            case CallServed() as said:
                self.served[said.tier] += 1
            case CallAnsweredLate() | CallHoldReleased() | CallLookedUp():
                self._after_all(fact)
            case RouteHeard() as said:
                self.faults[said.fault] += bool(said.fault)
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
            self._probing[fact.run, fact.path, said.attempt] = 0

    def _settled(self, fact: Fact, said: CallSettled) -> None:
        if said.fault:
            self.faults[said.fault] += 1
        place = fact.run, fact.path, said.attempt
        limit = self._limits.pop(place, said.took_ms)
        self.would["timeout"] += int(said.took_ms > limit)
        if place in self._probing:
            self._probing[place] = said.spend_micro_usd
            if said.spend_source == "held":
                self._held.add(place)

    def _after_all(self, fact: Fact) -> None:
        match fact.data:
            case CallAnsweredLate() as said:
                self.late += 1
                self._billed(fact, said)
            case CallHoldReleased(attempt=attempt):
                self._free(fact, attempt)
            case CallLookedUp(answer="absent"):
                self._free(fact)
            case _:
                pass

    def _billed(self, fact: Fact, said: CallAnsweredLate) -> None:
        place = fact.run, fact.path, said.attempt
        if place in self._held and said.spend_source != "none":
            self._held.remove(place)
            self._probing[place] = said.spend_micro_usd

    def _free(self, fact: Fact, attempt: int = 0) -> None:
        """What is held for a probe, or for all probes of a call, was not spent."""
        for place in [one for one in self._held if one[:2] == (fact.run, fact.path)]:
            if attempt in {0, place[2]}:
                self._held.remove(place)
                self._probing[place] = 0

    @property
    def probe_spend(self) -> int:
        return sum(self._probing.values())

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
        spend = sum(row.spend + row.held for row in reader.rows(CallRow))
    out = tally.ended(duration(script.length))
    ended = ("done", "failed", "held", "cancelled")
    return Account(
        mode=mode, done=states["done"], failed=states["failed"], held=states["held"],
        going=sum(count for state, count in states.items() if state not in ended),
        attempts=tally.attempts, timeouts=tally.faults["timeout"], faults=_sorted(tally.faults),
        open_s=_seconds(out), excess_s=_seconds(out) - _seconds(_within(out, _down(script))),
        checks=tally.checks, probes=tally.probes, probe_spend=tally.probe_spend,
        spend=spend, late=tally.late, served=_sorted(tally.served), would=_sorted(tally.would),
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
