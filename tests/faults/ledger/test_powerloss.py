"""Power loss, simulated at the disk: a promise outlives it, and the simulator can tell.

What it is not: a real disk.  It assumes one that honours a sync.
"""

import asyncio
from pathlib import Path
from random import Random

import pytest

from tildawn.ledger import writer
from tildawn.testing.bugs import planted
from tildawn.testing.disk import FaultyDisk, Operation
from tildawn.testing.notebook import note, open_notebook, verify_notebook
from tildawn.testing.powerloss import MODES, after_power_loss, crash_points


SIZES = (1, 2, 1, 8, 1, 1, 3, 1, 30, 1, 1, 2, 1)


def _recorded(folder: Path, *, relaxed: bool = False, bug: str = "") -> list[Operation]:
    """Every operation of a small workload, with the size of the ledger after each promise."""
    with planted(bug), FaultyDisk("power", record=True) as disk:
        ledger = open_notebook(folder, vfs="power")
        disk.note(b"%d" % ledger.next_seq)
        done = 0
        for size in SIZES:
            entries = [note(ledger, done + at, run="r", text='"x"') for at in range(size)]
            asyncio.run(ledger.append(entries, relaxed=relaxed))
            disk.note(b"%d" % ledger.next_seq)
            done += size
        ledger.close()
        return disk.log


def _lost(log: list[Operation], folder: Path, *, step: int, seed: int) -> list[str]:
    """Crash at every step-th operation behind the founding, in all ways; what was wrong."""
    first = next(at for at, operation in enumerate(log) if operation.kind == "ack")
    wrong: list[str] = []
    for point in [at for at in crash_points(log) if at > first][::step]:
        promised = max(int(one.content) for one in log[:point] if one.kind == "ack")
        for mode in MODES:
            rng = Random(f"{seed} {point} {mode}")
            for stale in folder.glob("ledger.db*"):
                stale.unlink()
            for name, content in after_power_loss(log[:point], mode=mode, rng=rng).items():
                (folder / name).write_bytes(content)
            verdict = verify_notebook(folder)
            if verdict.what or verdict.size < promised:
                wrong.append(f"{mode} at {point}: {verdict.size} of {promised} {verdict.what}")
    return wrong


def _shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many checkpoints in a small workload, because they are where writes cross."""
    monkeypatch.setattr(writer, "CHECKPOINT_PAGES", 25)


def test_a_power_loss_takes_nothing_that_was_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A committed fact survives the loss of everything that was not synced, in any order."""
    _shorten(monkeypatch)
    log = _recorded(tmp_path / "house")

    assert _lost(log, tmp_path / "house", step=2, seed=1) == []


@pytest.mark.chaos
@pytest.mark.timeout(0)
@pytest.mark.parametrize("seed", range(20))
def test_a_power_loss_at_every_operation_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The same without gaps, many times over."""
    _shorten(monkeypatch)
    log = _recorded(tmp_path / "house")

    assert _lost(log, tmp_path / "house", step=1, seed=seed) == []


@pytest.mark.parametrize(("relaxed", "bug"), [(True, ""), (False, "commit-without-sync")])
def test_the_simulator_sees_what_is_not_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relaxed: bool, bug: str
) -> None:
    """The negative control: without a sync at commit acknowledged facts are lost, and are seen to be."""
    _shorten(monkeypatch)
    log = _recorded(tmp_path / "house", relaxed=relaxed, bug=bug)

    wrong = _lost(log, tmp_path / "house", step=4, seed=1)

    assert wrong
    # Shorter, but never torn: what is there still holds together.
    assert all(line.endswith(" ") for line in wrong)
