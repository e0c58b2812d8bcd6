"""Poison across runs: the same task with the same arguments is not begun after three deaths.

What it is not: the poison of process deaths; `tildawn.engine.recover` keeps that, and each of its
quarantines counts here as one death.
"""

from collections.abc import Iterable

import msgspec

from tildawn.ledger.ledger import Ledger
from tildawn.ledger.reader import Reader
from tildawn.projections.letter import POISONED, PoisonRow, poison_of
from tildawn.projections.run import RunRow


DEATHS = 3
"""Deaths for good after which the next run with the same task and arguments is held."""

POISON_CHOICES = ("retry", "cancel")


def args_key(ledger: Ledger, task: str, text: bytes) -> str:
    """The keyed digest by which runs with the same task and arguments know each other.

    Args:
        ledger: keys the digest, so that nobody can guess arguments from it.
        task: its name.
        text: the arguments as JSON, however it is spaced and ordered.

    Raises:
        msgspec.DecodeError: the text is no JSON.
    """
    plain = msgspec.json.encode(msgspec.json.decode(text), order="deterministic")
    return ledger.keyed(b"arguments of %b: %b" % (task.encode(), plain))


def poisoned(reader: Reader, rows: Iterable[RunRow]) -> dict[str, str]:
    """The runs that must not begin, and what to tell their owner.

    Only a run that nobody has touched since it was accepted is judged: one that its owner let go
    on goes on, and one that has begun is beyond this.

    Raises:
        Nothing.
    """
    found: dict[str, str] = {}
    for row in rows:
        if row.attempt or row.state_at != row.accepted:
            continue
        poison = poison_of(reader, row.run)
        if poison is not None and poison.deaths >= DEATHS:
            found[row.run] = _told(poison)
    return found


def _told(poison: PoisonRow) -> str:
    return (
        f"{poison.deaths} runs of {poison.task} with these arguments have died or failed for good,"
        f" the last as {poison.why}: run {poison.run}; retry lets this one try all the same"
    )


WHY = POISONED
"""Why such a run is held."""
