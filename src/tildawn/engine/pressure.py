"""Work whose calls are turned away: no more of it is begun until one of its calls is let in.

What it is not: a rule about calls; who turns them away is told to the engine by
`tildawn.engine.port.Later`.  Work is what runs have in common that share a plan item, or a task.
"""

from collections.abc import Callable, Sequence

from tildawn.engine.timer import Timers
from tildawn.projections.run import RunRow
from tildawn.units import SECOND, Micros


ONE_EACH = SECOND
"""When the time has come to ask again, one more run of such work begins every so often."""

Key = tuple[str, str, str]
"""Night, item and task."""


class Pressure:
    """Which work begins no new run now; forgotten with the process, and soon learned again."""

    def __init__(self, timers: Timers, wake: Callable[[], None]) -> None:
        """Nothing was turned away yet; ``wake`` looks for what may begin."""
        self._timers = timers
        self._wake = wake
        self._until: dict[Key, Micros] = {}

    def turned_away(self, row: RunRow, due: Micros) -> None:
        """A call of a run may not be sent before ``due``, nor others of its kind."""
        key = _key(row)
        if due > self._until.get(key, 0):
            self._until[key] = due
            self._timers.add(due, self._wake)

    def let_in(self, row: RunRow) -> None:
        """A call of a run has ended: its work may begin again."""
        if self._until.pop(_key(row), None) is not None:
            self._wake()

    def shut(self, now: Micros) -> list[Key]:
        """The work of which nothing begins now."""
        return [key for key, until in self._until.items() if until > now]

    def admit(self, rows: Sequence[RunRow], now: Micros) -> list[RunRow]:
        """The runs that may begin; those that began before always may.

        Of work that was turned away and may ask again, one is let in at a time.
        """
        admitted: list[RunRow] = []
        for row in rows:
            key = _key(row)
            until = None if row.attempt else self._until.get(key)
            if until is not None:
                if until > now:
                    continue
                self._until[key] = Micros(now + ONE_EACH)
            admitted.append(row)
        return admitted


def _key(row: RunRow) -> Key:
    return row.night, row.item, row.task
