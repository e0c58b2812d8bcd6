"""A disk that fails or is full: what callers hear, and what is on record afterwards.

What it is not: a kill; here the process lives long enough to be told.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tildawn.errors import CommitInDoubt, Effect, StoreFull
from tildawn.ledger.entry import Committed
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.writer import FATAL_EXIT
from tildawn.testing.disk import Fault, FaultyDisk
from tildawn.testing.notebook import Note, note, open_notebook, verify_notebook


def _notes(folder: Path) -> list[int]:
    with open_notebook(folder) as ledger, ledger.read() as reader:
        return [row.key for row in reader.rows(Note)]


@pytest.mark.parametrize("kind", ["sync", "write"])
def test_a_failing_disk_leaves_the_outcome_unknown_and_ends_the_process(
    tmp_path: Path, kind: Any
) -> None:
    """Linux marks unwritten pages clean after a failed sync: trying again would lie."""
    fatal: list[str] = []
    with FaultyDisk("failing") as disk:
        ledger = open_notebook(tmp_path, vfs="failing", on_fatal=lambda: fatal.append("end"))
        ledger.append_now([note(ledger, 1)])
        disk.faults.append(Fault(kind=kind, at=disk.counts[kind] + 1))
        syncs = disk.counts["sync"]
        with pytest.raises(CommitInDoubt) as caught:
            ledger.append_now([note(ledger, 2)])
        with pytest.raises(CommitInDoubt):
            ledger.append_now([note(ledger, 3)])
        assert caught.value.effect is Effect.UNKNOWN
        assert fatal == ["end"]
        assert disk.counts["sync"] - syncs == (1 if kind == "sync" else 0)
        ledger.close()

    assert _notes(tmp_path) in ([1], [1, 2])
    assert verify_notebook(tmp_path).what == ""


_DIES = """
import sys
from pathlib import Path
from tildawn.testing.disk import Fault, FaultyDisk
from tildawn.testing.notebook import note, open_notebook
with FaultyDisk("dies") as disk:
    ledger = open_notebook(Path(sys.argv[1]), vfs="dies")
    ledger.append_now([note(ledger, 1)])
    disk.faults.append(Fault(kind="sync", at=disk.counts["sync"] + 1))
    ledger.append_now([note(ledger, 2)])
    ledger.append_now([note(ledger, 3)])
    ledger.close()
"""


def test_the_real_process_is_gone_after_a_failed_sync(tmp_path: Path) -> None:
    """No destructor, no handler, no clean closing may touch the file again."""
    done = subprocess.run(
        [sys.executable, "-c", _DIES, str(tmp_path)], capture_output=True, check=False, timeout=30
    )

    assert done.returncode == FATAL_EXIT == 70
    assert 3 not in _notes(tmp_path)
    assert verify_notebook(tmp_path).what == ""


def _limit(ledger: Ledger, pages: int) -> None:
    store = ledger._opened.store
    assert store is not None
    store.database.pragma("max_page_count", pages)


def test_a_full_disk_refuses_and_work_resumes_when_there_is_space(tmp_path: Path) -> None:
    """Nothing is recorded, everything can be read, and no restart is needed."""
    with open_notebook(tmp_path) as ledger:
        ledger.append_now([note(ledger, 1, run="r")])
        _limit(ledger, 1)
        size = ledger.next_seq
        long = [note(ledger, key, run="r", text='"' + "x" * 4_000 + '"') for key in range(2, 30)]
        for _ in range(3):
            with pytest.raises(StoreFull):
                ledger.append_now(long)
        with ledger.read() as reader:
            assert [row.key for row in reader.rows(Note)] == [1]
        assert ledger.next_seq == size
        _limit(ledger, 1_000_000)
        assert isinstance(ledger.append_now(long), Committed)

    assert verify_notebook(tmp_path).what == ""


@pytest.mark.parametrize("behind", [1, 4, 8])
def test_what_was_set_aside_is_given_back_and_the_batch_goes_in(
    tmp_path: Path, behind: int
) -> None:
    """Whoever was in the middle of something ends in order, and hears nothing of it."""
    with FaultyDisk("given") as disk:
        ledger = open_notebook(tmp_path, vfs="given")
        ledger.ballast.lay(100_000)
        disk.faults.append(Fault(kind="write", at=disk.counts["write"] + behind, what="full"))

        assert isinstance(ledger.append_now([note(ledger, 2)]), Committed)

        assert ledger.ballast.size_bytes == 0
        disk.faults.append(Fault(kind="write", at=disk.counts["write"] + behind, what="full"))
        with pytest.raises(StoreFull):
            ledger.append_now([note(ledger, 3)])
        ledger.close()

    assert _notes(tmp_path) == [2]
    assert verify_notebook(tmp_path).what == ""


@pytest.mark.parametrize("behind", [1, 4, 8])
def test_a_write_refused_for_space_leaves_no_trace(tmp_path: Path, behind: int) -> None:
    """Also when the space ends in the middle of a commit."""
    with FaultyDisk("full") as disk:
        ledger = open_notebook(tmp_path, vfs="full")
        ledger.append_now([note(ledger, 1)])
        disk.faults.append(Fault(kind="write", at=disk.counts["write"] + behind, what="full"))
        with pytest.raises(StoreFull):
            ledger.append_now([note(ledger, 2)])
        assert isinstance(ledger.append_now([note(ledger, 3)]), Committed)
        ledger.close()

    assert _notes(tmp_path) == [1, 3]
    assert verify_notebook(tmp_path).what == ""


def test_a_blob_that_does_not_fit_is_the_callers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long payload is written before the commit; its failure is not the ledger's."""
    original: Callable[..., int] = os.open

    def no_space(path: Any, *rest: Any) -> int:
        if "blobs" in str(path):
            raise OSError(28, "No space left on device")
        return original(path, *rest)

    with open_notebook(tmp_path) as ledger:
        monkeypatch.setattr(os, "open", no_space)
        with pytest.raises(StoreFull):
            ledger.append_now([note(ledger, 1, text='"' + "x" * 70_000 + '"')])
        assert isinstance(ledger.append_now([note(ledger, 2)]), Committed)
