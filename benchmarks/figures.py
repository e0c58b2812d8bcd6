"""Figures of a process and of a list: percentiles, resident memory, bytes on the disk.

What it is not: a judgement; the bars are in `benchmarks.bars`.
"""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import apsw


def percentile(values: list[float], share: float) -> float:
    """The value below which that share (0 to 1) of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def spread_ms(values: list[float], prefix: str = "") -> dict[str, float]:
    """Median and 99th percentile of seconds, in milliseconds."""
    return {
        f"{prefix}p50_ms": percentile(values, 0.5) * 1e3,
        f"{prefix}p99_ms": percentile(values, 0.99) * 1e3,
    }


def resident_mb() -> float:
    """Resident memory of this process in millions of bytes (Linux), or its peak (macOS)."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    import resource  # noqa: PLC0415 - not where it is not needed

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def settled_bytes(folder: Path) -> int:
    """Bytes of all files, after each database has taken in its write-ahead log.

    In a process of its own: two builds of SQLite in one process drop each other's locks.
    """
    command = [sys.executable, "-m", "benchmarks.figures", str(folder)]
    subprocess.run(command, check=True)
    return sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())


def _settle(folder: Path) -> None:
    for database in [*folder.rglob("*.db")]:
        with contextlib.closing(apsw.Connection(str(database))) as opened:
            opened.set_busy_timeout(5_000)
            opened.execute("PRAGMA wal_checkpoint(truncate)").fetchall()


if __name__ == "__main__":
    _settle(Path(sys.argv[1]))
