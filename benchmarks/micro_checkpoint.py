"""What checkpoints cost: appends with and without them, one of them, proofs, and opening.

What it is not: a comparison with others.  Usage: python benchmarks/micro_checkpoint.py [FACTS].
"""

import asyncio
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tildawn.ledger.ledger import Ledger
from tildawn.testing.notebook import PROJECTIONS, SIGNED, Noted, note, open_notebook


ROUNDS = 7
SIGN_EVERY = 1.0
"""Seconds, as the loop of a working house."""


async def _crowd(ledger: Ledger, name: str, callers: int, each: int) -> float:
    async def caller(number: int) -> None:
        run = f"{name}{number}".encode().hex().rjust(32, "0")
        for key in range(each):
            await ledger.append([note(ledger, key, run=run)])

    began = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(callers)))
    return callers * each / (time.perf_counter() - began)


def _signing(ledger: Ledger, stop: threading.Event, took: list[float]) -> None:
    while not stop.wait(SIGN_EVERY):
        began = time.perf_counter()
        ledger.checkpoint()
        took.append((time.perf_counter() - began) * 1_000)


def _median(function: Callable[[int], object], count: int = 50) -> float:
    took: list[float] = []
    for turn in range(count):
        began = time.perf_counter()
        function(turn)
        took.append((time.perf_counter() - began) * 1_000)
    return statistics.median(took)


def main() -> None:
    """Interleave, and print medians."""
    facts = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    out = sys.stdout.write
    with tempfile.TemporaryDirectory() as base:
        plain: list[float] = []
        signed: list[float] = []
        took: list[float] = []
        one = open_notebook(Path(base) / "plain", projections=PROJECTIONS)
        two = open_notebook(Path(base) / "signed", projections=SIGNED)
        stop = threading.Event()
        thread = threading.Thread(target=_signing, args=(two, stop, took))
        thread.start()
        for turn in range(ROUNDS):
            plain.append(asyncio.run(_crowd(one, f"r{turn}-", 1_000, 20)))
            signed.append(asyncio.run(_crowd(two, f"r{turn}-", 1_000, 20)))
        stop.set()
        thread.join()
        out(f"1,000 callers x 20, appends/s: {statistics.median(plain):,.0f} without checkpoints")
        out(f" {sorted(map(int, plain))},\n  {statistics.median(signed):,.0f} with one a second")
        out(f" {sorted(map(int, signed))}, while {len(took)} were signed\n")
        one.close()
        for begin in range(two.next_seq, facts, 4_000):
            two.append_now([two.draft(Noted(key=begin + n), run="f") for n in range(4_000)])
        size = two.next_seq

        def sign(turn: int) -> None:
            two.append_now([two.draft(Noted(key=10**9 + turn), run="g")])
            two.checkpoint()

        def prove(turn: int) -> None:
            with two.read() as reader:
                reader.inclusion(turn * 7_919 % size, size)

        def grow(turn: int) -> None:
            with two.read() as reader:
                reader.consistency(1 + turn * 7_919 % (size - 1), size)

        out(f"at {size} facts, p50 of 50: append and checkpoint {_median(sign):.2f} ms, ")
        out(f"inclusion {_median(prove):.2f} ms, consistency {_median(grow):.2f} ms\n")
        two.close()
        reopened = _median(
            lambda _: open_notebook(Path(base) / "signed", projections=SIGNED).close(), 5
        )
        out(f"open and close, which signs: {reopened:.1f} ms\n")


main()
