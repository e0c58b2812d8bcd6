"""The demonstration, as a stranger plays it: real processes, a real kill, a real shop.

What it is not: quick; it is the one test of everything together.
"""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tildawn.apps.night.demo.play import PRODUCTS, Played, play
from tildawn.testing.bugs import VARIABLE


#: Python imports a module of this name at its start; this one plants the bug that is named.
PLANT = """
from tildawn.testing.bugs import planted
PLANTED = planted()
PLANTED.__enter__()
"""


def products(folder: Path) -> list[tuple[str, int]]:
    """What the shop has: each sku and how often."""
    with sqlite3.connect(folder / "shop.db") as shop:
        return shop.execute("SELECT sku, count(*) FROM product GROUP BY sku").fetchall()


@pytest.mark.timeout(120)
def test_the_demo_lists_every_product_once_through_a_kill(tmp_path: Path) -> None:
    """Nothing lost, nothing twice, and a report that says what happened."""
    folder = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "tildawn", "demo", "--folder", str(folder)],
        capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip

    assert 0 == done.returncode, done.stdout + done.stderr
    assert {1} == {count for _, count in products(folder)}
    assert PRODUCTS == len(products(folder))
    assert "yes, by kill -9" in done.stdout
    assert "25 of 28 verified, simulated" in done.stdout
    assert "1 crash, 1 outage" in done.stdout
    assert list((folder / ".tildawn" / "reports").glob("*.html"))
    report = subprocess.run(
        [sys.executable, "-m", "tildawn", "report"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    ).stdout  # fmt: skip
    guard = report.partition("## The guard at work")[2].partition("\n## ")[0]
    assert "Out of service for" in guard, "nobody gets a picture for a moment, and it says so"
    assert "Instead of" in guard, "banner and stamp are there all the same"
    proven = subprocess.run(
        [sys.executable, "-m", "tildawn", "verify"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert 0 == proven.returncode, proven.stdout


@pytest.mark.timeout(120)
def test_without_a_lasting_key_the_demo_lists_a_product_twice(tmp_path: Path) -> None:
    """The planted bug: each attempt has a key of its own, and the proof shows the duplicate."""
    (tmp_path / "sitecustomize.py").write_text(PLANT)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    lines: list[str] = []
    played: Played = play(
        tmp_path / "demo", lines.append,
        environment={"PYTHONPATH": path, VARIABLE: "key-per-attempt"},
    )  # fmt: skip

    assert not played.good
    assert played.killed
    assert played.proof.products > played.proof.skus
    assert max(count for _, count in products(tmp_path / "demo")) > 1
