"""``python -m benchmarks``: measure everything side by side, keep the JSON, rewrite the table.

What it is not: a test.  Nothing fails because it is slow.
"""

import argparse
import compileall
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.bars import WORKLOADS
from benchmarks.machine import machine
from benchmarks.rounds import measure_all
from benchmarks.sizes import FULL, QUICK
from benchmarks.table import BEHAVIOUR, matrix, result, rewrite, table


HERE = Path(__file__).parent


def main() -> int:
    """Measure what was asked for.

    A full run is kept in ``results`` and in the table; a quick or partial one only in ``build``.
    """
    asked = _arguments()
    sizes = QUICK if asked.quick else FULL
    if asked.rounds:
        sizes = replace(sizes, rounds=asked.rounds)
    chosen = [one for one in WORKLOADS if not asked.only or one.name in asked.only]
    # As an installer does; the others' byte code is there since they were installed.
    compileall.compile_dir(HERE.parent / "src", quiet=1)
    when, before = asked.when or datetime.now(UTC).strftime("%Y-%m-%d"), machine()
    found = measure_all(chosen, sizes, asked.folder, lambda line: print(line, file=sys.stderr))
    text = table(found, when)
    if asked.quick:
        text = f"Quick: sizes are smaller than the titles say. Not to be published.\n\n{text}"
    whole = not (asked.quick or asked.only)
    folder = HERE / "results" if whole else HERE.parent / "build" / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (f"{when}.json" if whole else "partial.json")
    path.write_text(result(found, sizes, when, before), encoding="utf-8")
    if whole:
        rewrite(HERE / "README.md", text)
    print(text)
    if behaved := matrix(found):
        print(f"\n{behaved}")
    if behaved and not asked.quick:
        # No matter of time: what a partial run finds is as good as what a full one does.
        rewrite(HERE / "README.md", behaved, BEHAVIOUR)
    print(f"\n{path}", file=sys.stderr)
    return 1 if found.failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round, no table")
    parser.add_argument("--rounds", type=int, default=0, help="how many rounds")
    names = [one.name for one in WORKLOADS]
    parser.add_argument("--only", action="append", choices=names, help="one workload; repeatable")
    parser.add_argument("--when", default="", help="the date to write, today when absent")
    parser.add_argument("--folder", type=Path, help="work here, on the disk to be measured")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
