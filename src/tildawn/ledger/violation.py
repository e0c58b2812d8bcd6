"""Puts on record that a table refused facts, and stops the work when it goes on.

What it is not: the refusal; the table has refused, and whoever asked was told.

It listens in the writer's thread and answers with appends of its own, so they are transactions
of their own.  A loop with a bug must not fill the disk: of one rule there are three facts in ten
minutes, of all rules together thirty.
"""

from collections import Counter, deque
from collections.abc import Sequence
from typing import Protocol

import msgspec

from tildawn.errors import InvariantViolated
from tildawn.facts.fact import FactData, Payload, Registry
from tildawn.facts.quarantine import HouseQuarantined
from tildawn.facts.reconcile import InvariantBroken
from tildawn.ledger.entry import Entry
from tildawn.ledger.request import Request
from tildawn.units import SECOND, Micros


WINDOW = Micros(600 * SECOND)
SAME_MOST = 3
"""As often a rule may be broken in that time; then nothing new may begin."""

ALL_MOST = 30
"""Facts of this kind in that time, whatever the rules."""


class Drafting(Protocol):
    """What is needed of the ledger."""

    def draft(self, data: FactData, *, payloads: Sequence[Payload | None] = ...) -> Entry:
        """Stamp and encode a fact."""
        ...

    def payload(self, text: bytes) -> Payload:
        """A text as a payload."""
        ...


class Violations:
    """What was refused lately; forgotten when the process ends."""

    def __init__(self, ledger: Drafting, registry: Registry) -> None:
        """Begin with nothing refused; without these kinds in the registry nothing is said."""
        self._ledger = ledger
        self._on = all(
            kind.__name__ in registry.kinds() for kind in (InvariantBroken, HouseQuarantined)
        )
        self._all: deque[int] = deque()
        self._same: dict[tuple[str, str], deque[int]] = {}

    def heard(self, request: Request) -> Request | None:
        """What to append because of an outcome; None for most.

        Raises:
            TildawnError: it cannot be drafted.
        """
        error = request.outcome
        if not self._on or not isinstance(error, InvariantViolated) or "rule" not in error.fields:
            return None
        kinds = Counter(entry.fact.kind for entry in request.entries)
        if kinds.keys() & {InvariantBroken.__name__, HouseQuarantined.__name__}:
            return None  # what is said about a refusal is not said again
        table, rule = str(error.fields.get("table", "")), str(error.fields["rule"])[:200]
        said = InvariantBroken(table=table, rule=rule, refused=dict(kinds))
        entry = self._ledger.draft(said)
        times = self._count((table, rule), entry.fact.at)
        if not times:
            return None
        entries = [entry]
        if times == SAME_MOST:
            entries.append(self._quarantine(table, rule))
        return Request(entries)

    def _count(self, key: tuple[str, str], at: int) -> int:
        """How often in the window, this time included; 0 when enough was said."""
        same = self._same.setdefault(key, deque())
        for times in (same, self._all):
            while times and times[0] <= at - WINDOW:
                times.popleft()
        if len(same) >= SAME_MOST or len(self._all) >= ALL_MOST:
            return 0
        same.append(at)
        self._all.append(at)
        return len(same)

    def _quarantine(self, table: str, rule: str) -> Entry:
        words = f"the same rule was about to be broken {SAME_MOST} times in ten minutes: {rule}"
        text = self._ledger.payload(msgspec.json.encode(words))
        said = HouseQuarantined(why="invariant", table=table, times=SAME_MOST, text=text.digest)
        return self._ledger.draft(said, payloads=(text,))
