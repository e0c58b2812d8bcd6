"""Work whose calls are turned away: no more of it is begun until one of its calls is let in.

What it is not: a rule about calls; who turns them away is told to the engine by
`tildawn.engine.port.Later`.  Work is what runs have in common that share a plan item, or a task.
"""

from collections.abc import Sequence

from tildawn.projections.run import RunRow
from tildawn.units import SECOND, Micros


ONE_EACH = SECOND
"""When the time has come to ask again, one more run of such work begins every so often."""

Key = tuple[str, str, str]
"""Night, item and task."""


class Pressure:
    """Which work begins no new run now; forgotten with the process, and soon learned again."""

    def __init__(self) -> None:
        """Nothing was turned away yet."""
        self._until: dict[Key, Micros] = {}

    def turned_away(self, row: RunRow, due: Micros) -> bool:
        """A call of a run was told to come again at ``due``; whether that is news."""
        key = _key(row)
        news = due > self._until.get(key, 0)
        if news:
            self._until[key] = due
        return news

    def let_in(self, row: RunRow) -> bool:
        """A call of a run has ended; whether its work may begin again because of that."""
        return self._until.pop(_key(row), None) is not None

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
