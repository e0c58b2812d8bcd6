"""What the ledger costs: one durable append beside a bare commit, many callers, opening, proving.

What it is not: a comparison with others.  Usage: python benchmarks/micro_ledger.py [FACTS].
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import apsw

from tildawn.ledger.ledger import Ledger
from tildawn.ledger.mirror import State, Wish
from tildawn.testing.notebook import Note, note, open_notebook, verify_notebook


ROUNDS = 5
TEXT = '"' + "x" * 60 + '"'


def _bare(folder: Path, body: bytes, count: int) -> float:
    """Milliseconds of a commit of one row of that body: the floor under any durable step."""
    database = apsw.Connection(str(folder / "bare.db"))
    for pragma in ("journal_mode=wal", "synchronous=full", "wal_autocheckpoint=1000"):
        database.execute(f"PRAGMA {pragma}").fetchall()
    database.execute("CREATE TABLE IF NOT EXISTS t (seq INTEGER PRIMARY KEY, body BLOB)")
    took: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        database.execute("INSERT INTO t (body) VALUES (?)", (body,))
        took.append(time.perf_counter() - began)
    database.close()
    return statistics.median(took) * 1_000


def _mirrored(base: Path, rounds: int, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of an append without and with a mirror on the same disk, one by one in turns."""
    copy = base / "copy"
    copy.mkdir()
    wish = Wish(mode="sync-degrade", folder=copy)
    alone: list[float] = []
    both: list[float] = []
    with open_notebook(base / "alone") as one, open_notebook(base / "both", mirror=wish) as two:
        for turn in range(rounds):
            took = asyncio.run(_alternating(one, two, count, f"{turn:032x}"))
            alone.append(statistics.median(took[0]) * 1_000)
            both.append(statistics.median(took[1]) * 1_000)
        assert two.mirror is not None
        assert two.mirror.state is State.IN_STEP
    return alone, both


async def _alternating(one: Ledger, two: Ledger, count: int, run: str) -> list[list[float]]:
    took: list[list[float]] = [[], []]
    for key in range(count):
        # Whoever comes second finds the disk as the first one left it, so they take turns.
        for place in (0, 1) if key % 2 else (1, 0):
            ledger = (one, two)[place]
            began = time.perf_counter()
            await ledger.append([note(ledger, key, run=run, text=TEXT)])
            took[place].append(time.perf_counter() - began)
    return took


async def _sequential(ledger: Ledger, count: int, run: str) -> float:
    took: list[float] = []
    for key in range(count):
        began = time.perf_counter()
        await ledger.append([note(ledger, key, run=run, text=TEXT)])
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1_000


async def _crowd(ledger: Ledger, name: str, callers: int, each: int) -> float:
    async def caller(number: int) -> None:
        run = f"{name}{number}".encode().hex().rjust(32, "0")
        for key in range(each):
            await ledger.append([note(ledger, key, run=run, text=TEXT)])

    began = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(callers)))
    return callers * each / (time.perf_counter() - began)


def main() -> None:
    """Interleave, and print medians of five."""
    facts = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base) / "house"
        bare, ours, rate = [], [], []
        with open_notebook(folder) as ledger:
            body = note(ledger, 1, run="0" * 32, text=TEXT).body
            for turn in range(ROUNDS):
                bare.append(_bare(Path(base), body, 300))
                ours.append(asyncio.run(_sequential(ledger, 300, f"{turn:032x}")))
                rate.append(asyncio.run(_crowd(ledger, f"r{turn}-", 200, 10)))
            began, count = time.perf_counter(), 20_000
            for key in range(count):
                note(ledger, key, run="0" * 32, text=TEXT)
            draft = (time.perf_counter() - began) / count * 1e6
            for turn in range(facts // 10_000):
                asyncio.run(_crowd(ledger, f"x{turn}-", 1_000, 10))
            with ledger.read() as reader:
                steps = reader.count(Note)
        size = (folder / "ledger.db").stat().st_size
        alone, both = _mirrored(Path(base), ROUNDS, 300)
        began = time.perf_counter()
        open_notebook(folder).close()
        opening = time.perf_counter() - began
        began = time.perf_counter()
        hashes = verify_notebook(folder, hashes_only=True)
        middle = time.perf_counter()
        whole = verify_notebook(folder)
        ended = time.perf_counter()
    out = sys.stdout.write
    out(
        f"bare commit p50 {statistics.median(bare):.3f} ms, ours {statistics.median(ours):.3f} ms\n"
    )
    out(f"200 callers x 10: {statistics.median(rate):,.0f} appends/s of {sorted(map(int, rate))}\n")
    extra = statistics.median(b / a - 1 for a, b in zip(alone, both, strict=True))
    out(f"without a mirror p50 {statistics.median(alone):.3f} ms, with one on the same disk ")
    out(f"{statistics.median(both):.3f} ms, median of rounds {extra:+.0%}\n")
    out(f"draft with payload: {draft:.1f} us; disk {size / steps:.0f} B an append of {steps}\n")
    out(f"open and close {opening:.3f} s\n")
    out(f"verify of {whole.size} facts: hashes {middle - began:.2f} s {hashes.state}, ")
    out(f"whole {ended - middle:.2f} s {whole.state}; cores {os.cpu_count()}\n")


main()
