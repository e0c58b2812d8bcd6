"""Makes a golden ledger; run once for each released format, and never again for that one.

What it is not: part of the tests.  Usage: make_golden.py FOLDER.
"""

import sys
from itertools import count
from pathlib import Path
from random import Random
from unittest.mock import patch

import msgspec

from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.testing.clock import ManualClock
from tildawn.testing.notebook import Puzzled, Risen, Seated, Struck, note, open_notebook
from tildawn.units import Micros, Seq


def _write(ledger: Ledger, clock: ManualClock, numbers: "count[int]") -> None:
    """Every kind, every envelope field, payloads in rows and in a blob, more than one mark."""
    for run in ("0198a1b2c3d47e5f8a9b0c1d2e3f4a5b", "not a run id"):
        for _ in range(20):
            clock.advance(Micros(1_234))
            ledger.append_now([note(ledger, next(numbers), run=run, text='{"ü":1.5}')])
    ledger.append_now(
        [
            ledger.draft(Seated(who='a "quoted" näme\n')),
            ledger.draft(
                Puzzled(), run="r", path="a/b : c # 1", actor="owner", cause=3, trace="t" * 32,
                name=True,
            ),
            ledger.draft(Struck(key=3), run="not a run id"),
            ledger.draft(Risen(who='a "quoted" näme\n')),
        ]
    )  # fmt: skip
    ledger.append_now([note(ledger, 100, run="long", text='"' + "y" * 70_000 + '"')])
    ledger.append_now([note(ledger, 1_000 + at, run="many", amount=-at) for at in range(1_100)])


def main() -> None:
    """See the top of the file."""
    folder = Path(sys.argv[1])
    clock, rng, numbers = ManualClock(), Random(1), count()
    ids = Ids(clock, rng.randbytes)
    for _ in range(2):
        with (
            patch("tildawn.ledger.ledger.boot_id", lambda: ""),
            patch("os.getpid", lambda: 1),
            open_notebook(folder, clock=clock, ids=ids, build="golden") as ledger,
        ):
            if ledger.epoch == 1:
                _write(ledger, clock, numbers)
    with open_notebook(folder, mode="read") as ledger:
        head = ledger.head()
        with ledger.read() as reader:
            bodies = {
                str(seq): reader.fact(Seq(seq))[1].decode() for seq in (0, 2, 41, 42, 43, 44, 46)
            }
        expected = {
            "size": head.size, "chain": head.chain, "root": head.root, "name": ledger.name,
            "keyed": ledger.keyed("a natural key"), "bodies": bodies,
        }  # fmt: skip
    (folder / "expected.json").write_bytes(
        msgspec.json.format(msgspec.json.encode(expected, order="sorted"), indent=2) + b"\n"
    )
    for name in ("pen", "ledger.db-wal", "ledger.db-shm"):
        (folder / name).unlink(missing_ok=True)


main()
