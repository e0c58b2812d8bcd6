"""Blobs: content-addressed, durable before they are named, swept when nobody does.

What it is not: payloads in rows.
"""

import os
import stat
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from tildawn.errors import LedgerBroken, UnknownName
from tildawn.facts.house import BlobsSwept, PenLaid
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.sweep import sweep
from tildawn.testing.clock import ManualClock
from tildawn.testing.notebook import note, verify_notebook
from tildawn.units import Micros, Seq


DAY = Micros(24 * 3_600 * 1_000_000)


def test_a_blob_is_named_by_its_content(ledger: Ledger) -> None:
    """The same content is kept once, and a name is a proof."""
    name = ledger.blobs.put(b"picture")

    assert name == sha256(b"picture").hexdigest() == ledger.blobs.put(b"picture")
    assert ledger.blobs.get(name) == b"picture"


def test_a_blob_is_on_the_disk_before_its_name_is_known(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Temporary file, fsync, rename, fsync of the folder: a fact may name it at once."""
    done: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def synced(handle: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def renamed(path: Path, target: Path) -> Path:
        done.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    ledger.blobs.put(b"picture")

    assert done[-3:] == ["file", "rename", "folder"]


def test_a_long_payload_becomes_a_blob_and_reads_the_same(ledger: Ledger, folder: Path) -> None:
    """A row stays small whatever a task returns."""
    text = '"' + "long " * 20_000 + '"'
    ledger.append_now([note(ledger, 1, text=text)])

    with ledger.read() as reader:
        assert reader.payload(Seq(2), 0) == text.encode()
    assert len(list((folder / "blobs").glob("??/*"))) == 1
    assert verify_notebook(folder).what == ""


def test_only_blobs_that_nobody_names_go_and_only_after_a_day(
    ledger: Ledger, clock: ManualClock
) -> None:
    """A blob is put before its fact is committed; the day is for whoever is in between."""
    used, unused = ledger.blobs.put(b"used"), ledger.blobs.put(b"unused")
    ledger.append_now([ledger.draft(PenLaid(epoch=1), blobs=[used])])
    clock.advance(Micros(DAY - 1))
    assert sweep(ledger) == 0
    fresh = ledger.blobs.put(b"fresh")
    clock.advance(Micros(2))

    assert sweep(ledger) == 1

    with pytest.raises(UnknownName):
        ledger.blobs.get(unused)
    assert (ledger.blobs.get(used), ledger.blobs.get(fresh)) == (b"used", b"fresh")
    with ledger.read() as reader:
        *_, (_, last) = reader.facts()
    assert last.data == BlobsSwept(count=1, size_bytes=6)


def test_putting_a_blob_again_begins_its_day_anew(ledger: Ledger, clock: ManualClock) -> None:
    """Otherwise the sweep could take it between the second put and its fact."""
    name = ledger.blobs.put(b"again")
    clock.advance(Micros(2 * DAY))
    ledger.blobs.put(b"again")

    assert sweep(ledger) == 0
    assert ledger.blobs.get(name) == b"again"


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "A" * 64, "a" * 63])
def test_a_name_that_is_no_hash_is_refused(ledger: Ledger, name: str) -> None:
    """A name comes from outside in places, and must not become a path."""
    with pytest.raises(UnknownName):
        ledger.blobs.get(name)


def test_a_blob_that_changed_is_not_handed_out(ledger: Ledger) -> None:
    """Wrong content is worse than none."""
    name = ledger.blobs.put(b"picture")
    ledger.blobs.path(name).write_bytes(b"PICTURE")

    with pytest.raises(LedgerBroken):
        ledger.blobs.get(name)


def test_a_half_written_blob_of_a_crash_is_written_again(
    ledger: Ledger, house: Callable[..., Ledger]
) -> None:
    """Only a whole file counts as there."""
    name = ledger.blobs.put(b"picture")
    ledger.blobs.path(name).write_bytes(b"pic")

    assert ledger.blobs.put(b"picture") == name
    assert ledger.blobs.get(name) == b"picture"
