"""Makes the house of docs/spec/vectors; run once, and again only when its format changes.

What it is not: part of the tests.  Usage: make_vectors.py
"""

import shutil
from pathlib import Path
from random import Random
from typing import Any

import apsw

from tildawn.facts.house import LoopBlocked
from tildawn.ids import Ids
from tildawn.ledger.erasure import erase, held_by
from tildawn.ledger.keyring import SIGNING
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.receipt import Receipt
from tildawn.ledger.rotation import rotate_key
from tildawn.projections.segment import SEGMENT
from tildawn.runtime.wiring import REGISTRY
from tildawn.testing.archive import FACTS, seal_all, small_segments
from tildawn.testing.clock import ManualClock
from tildawn.testing.notebook import open_notebook
from tildawn.units import Micros, Seq


VECTORS = Path(__file__).parents[2] / "docs/spec/vectors"


def _write(ledger: Ledger, clock: ManualClock, count: int) -> None:
    for at in range(count):
        clock.advance(Micros(1_000))
        payload = ledger.payload(f'"stack {at} ü"'.encode())
        data = LoopBlocked(blocked_ms=at, stack=payload.digest)
        ledger.append_now([ledger.draft(data, run=f"{at % 2:032x}", payloads=[payload])])


def main() -> None:
    """See the top of the file."""
    house, clock = VECTORS / "house", ManualClock()
    ids = Ids(clock, Random(8).randbytes)
    shutil.rmtree(house, ignore_errors=True)
    options: dict[str, Any] = {"clock": clock, "ids": ids, "registry": REGISTRY, "build": "vectors"}
    folds = (SIGNING, SEGMENT)
    with open_notebook(house, projections=folds, **options) as ledger:
        _write(ledger, clock, 20)
        rotate_key(ledger, "", ids=ids)
        with ledger.read() as reader:
            going = held_by(reader, [f"{1:032x}"])
        erase(ledger, house, going, runs=1, why="asked")
    with open_notebook(house, projections=folds, **options) as ledger:
        assert seal_all(ledger)
        ledger.checkpoint()
        with ledger.read() as reader:
            note = reader.checkpoint()
            assert note is not None
            size = ledger.next_seq
            path = reader.inclusion(FACTS, size)
            (VECTORS / "fact").write_bytes(reader.fact(Seq(FACTS))[1])
        (VECTORS / "receipt").write_text(
            Receipt(index=FACTS, path=path, note=note).dump(), encoding="utf-8"
        )
        assert ledger.notary is not None
        (VECTORS / "key").write_text(ledger.notary.signer.verifier.dump() + "\n", encoding="utf-8")
    database = apsw.Connection(str(house / "ledger.db"))
    database.execute("PRAGMA journal_mode = delete").fetchall()
    database.close()
    shutil.rmtree(house / "keys")
    for name in ("pen", "erasing"):
        (house / name).unlink(missing_ok=True)


with small_segments():
    main()
