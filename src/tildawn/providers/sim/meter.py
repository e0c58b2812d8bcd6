"""The cost meter of the simulator: what was asked, what was billed, what came twice.

What it is not: a budget.  It is the other side's account, to hold ours against.
"""

import msgspec

from tildawn.units import MicroUsd


class Meter(msgspec.Struct, kw_only=True):
    """Counts since the start or the last reset; served as JSON at ``/sim/meter``.

    ``duplicates`` are requests that repeat an Idempotency-Key; ``replayed`` of them were answered
    from the record, ``billed_again`` were worked on and billed a second time.
    """

    requests: int = 0
    answers: int = 0
    billed_micro_usd: MicroUsd = MicroUsd(0)
    duplicates: int = 0
    replayed: int = 0
    billed_again: int = 0
    disconnects: int = 0
    unauthorized: int = 0
    by_path: dict[str, int] = {}
    faults: dict[str, int] = {}


def add(counts: dict[str, int], name: str) -> int:
    """Count one more of a name; the new count.

    Raises:
        Nothing.
    """
    counts[name] = counts.get(name, 0) + 1
    return counts[name]
