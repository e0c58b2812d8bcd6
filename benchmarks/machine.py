"""On what it was measured: the machine, and the versions of everybody.

What it is not: a name of the machine; numbers are compared within one run.
"""

import importlib.metadata
import os
import platform
from pathlib import Path

import apsw


PACKAGES = (
    "tildawn", "apsw", "msgspec", "dbos", "sqlalchemy", "langgraph",
    "langgraph-checkpoint-sqlite", "huey", "tenacity", "stamina", "purgatory", "hyx", "pybreaker",
    "aiobreaker", "circuitbreaker", "interlock-cb",
)  # fmt: skip


def machine() -> dict[str, str | int | float]:
    """Processor, memory, system and load when the run began."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000,
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Of Python, SQLite and every package that is installed."""
    found = {"python": platform.python_version(), "sqlite": apsw.sqlite_lib_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        for line in listed.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
