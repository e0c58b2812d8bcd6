"""A house on a disk that may not be written to: nothing is proven, and nothing is called broken.

What it is not: a test of who may write; the system decides that.
"""

import os
import resource
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tildawn.errors import StoreFull
from tildawn.ledger.verdict import State
from tildawn.testing.notebook import note, open_notebook, verify_notebook


NOBODY = 65_534


@contextmanager
def nobody() -> Generator[None]:
    """As a user who owns nothing; root is let write anywhere."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A house in a folder that everybody may read and nobody may write."""
    base = Path(tempfile.mkdtemp())
    house = base / "house"
    with open_notebook(house) as ledger:
        ledger.append_now([note(ledger, at) for at in range(5)])
    (house / "ledger.db-wal").unlink(missing_ok=True)
    (house / "ledger.db-shm").unlink(missing_ok=True)
    for path in (base, *base.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield house
    for path in (base, house):
        path.chmod(0o755)
    shutil.rmtree(base)


def test_a_house_on_a_read_only_disk_is_not_provable(folder: Path) -> None:
    """SQLite must make files beside the database to read it; that it cannot is no tampering."""
    with nobody():
        verdict = verify_notebook(folder)

    assert (verdict.state, verdict.exit_code) == (State.NOT_PROVABLE, 3), verdict.what
    assert "cannot be opened" in verdict.what


def test_looking_changed_nothing_and_elsewhere_it_is_proven(folder: Path, tmp_path: Path) -> None:
    """The way out is to copy it; the copy says what the original holds."""
    with nobody():
        verify_notebook(folder)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)

    assert verify_notebook(copy).exit_code == 0


def test_no_space_for_reading_is_no_damage(folder: Path) -> None:
    """SQLite needs 32 kB beside a database to read it; a full disk says nothing about the facts."""
    with open_notebook(folder) as ledger:
        ledger.append_now([note(ledger, 1)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, hard))
    try:
        verdict = verify_notebook(folder)
        with pytest.raises(StoreFull, match="no space for the 32 kB"):
            open_notebook(folder, mode="read")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert (verdict.state, "no space" in verdict.what) == (State.NOT_PROVABLE, True)
    assert verify_notebook(folder).state is State.PROVEN
