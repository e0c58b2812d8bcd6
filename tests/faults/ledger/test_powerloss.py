"""Power loss, simulated at the disk: a promise outlives it, and the simulator can tell.

What it is not: a real disk.  It assumes one that honours a sync, except where it is told to lie.

The auditor below knows the ledger from its specification alone: no line of the ledger takes part
in it.  What it finds is compared with what the house itself says of a part of the states.
"""

import asyncio
import json
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from tildawn.ledger import writer
from tildawn.testing.bugs import planted
from tildawn.testing.disk import FaultyDisk, Operation
from tildawn.testing.notebook import note, open_notebook, verify_notebook
from tildawn.testing.powerloss import Mode, power_losses


SIZES = (1, 2, 1, 8, 1, 1, 3, 1, 30, 1, 1, 2, 1) * 2
THREE: tuple[Mode, ...] = ("some", "shuffle", "torn")
MODES: tuple[Mode, ...] = ("none", "all", *THREE * 3)
STATES = 5_000
"""How many the normal suite tries at least."""


class Found(msgspec.Struct):
    """What the auditor found: how many states, and how many of them were wrong in which way."""

    states: int = 0
    images: int = 0
    lost: int = 0
    more: int = 0
    torn: Counter[str] = msgspec.field(default_factory=Counter)

    @property
    def wrong(self) -> tuple[int, int, dict[str, int]]:
        """Lost promises, appends nobody made, and what did not hold together."""
        return self.lost, self.more, dict(self.torn)


def _recorded(folder: Path, *, relaxed: bool = False, bug: str = "") -> list[Operation]:
    """Every operation of a small workload, with the size of the ledger after each promise."""
    with planted(bug), FaultyDisk("power", record=True) as disk:
        ledger = open_notebook(folder, vfs="power")
        first = ledger.next_seq
        disk.note(b"%d" % first)
        done = 0
        for size in SIZES:
            entries = [note(ledger, done + at, run="r", text='"x"') for at in range(size)]
            if relaxed:
                asyncio.run(ledger.append(entries, relaxed=True))
            else:
                ledger.append_now(entries)
            done += size
            disk.note(b"%d" % (first + done))
        ledger.close()
        return disk.log


def _look(folder: Path) -> tuple[int, bytes, str]:
    """The auditor: size and chain of the ledger in a folder, and what is wrong with it."""
    database = apsw.Connection(str(folder / "ledger.db"))
    try:
        database.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        database.pragma("locking_mode", "exclusive")
        return _audit(database)
    except apsw.Error as error:
        return 0, b"", type(error).__name__
    finally:
        database.close()


def _audit(database: Any) -> tuple[int, bytes, str]:
    if database.pragma("quick_check") != "ok":
        return 0, b"", "the file is damaged"
    chain, notes = bytes(32), list[tuple[str, int, int]]()
    facts = database.execute("SELECT seq, leaf, body FROM fact ORDER BY seq").fetchall()
    for at, (seq, leaf, body) in enumerate(facts):
        if seq != at or leaf != sha256(b"\x00" + body).digest():
            return at, chain, "a fact is not where or what it was"
        chain = sha256(b"\x02" + chain + leaf).digest()
        fact = json.loads(body)
        if fact["kind"] == "Noted":
            notes.append((fact["run"], fact["data"]["key"], seq))
    wrong = [
        sql
        for sql, rows in _tables(len(facts), chain, notes).items()
        if database.execute(sql).fetchall() != rows
    ]
    return len(facts), chain, "; ".join(wrong)


def _tables(size: int, chain: bytes, notes: list[tuple[str, int, int]]) -> dict[str, list[Any]]:
    """What must be in each table, by the facts alone."""
    return {
        "SELECT size, chain FROM head": [(size, chain)],
        "SELECT run, key, seq FROM note ORDER BY seq": notes,
        "SELECT run, seq FROM run_fact ORDER BY seq": [(run.encode(), at) for run, _, at in notes],
        "SELECT id FROM payload ORDER BY id": [(at * 8,) for _, _, at in notes],
        "SELECT count, last FROM total": [(len(notes), notes[-1][2])] if notes else [],
    }


def _try(
    log: list[Operation], folder: Path, *, seed: int, modes: tuple[Mode, ...] = MODES
) -> Found:
    """Let the power go behind every operation after the founding, in all ways, and look."""
    found, known = Found(), dict[int, tuple[int, str]]()
    promises = [(at, int(one.content)) for at, one in enumerate(log) if one.kind == "ack"]
    sizes = [size for _, size in promises]
    for at, _, files in power_losses(log, modes=modes, seed=seed):
        promised = max((size for when, size in promises if when < at), default=0)
        if not promised:
            continue
        image = hash(tuple(sorted((name, bytes(content)) for name, content in files.items())))
        if image not in known:
            known[image] = _state(folder, files, compare=len(known) % 25 == 0)
        size, what = known[image]
        found.states += 1
        found.lost += size < promised
        following = [one for one in sizes if one > promised][:1] or [promised + 1]
        found.more += size > following[0]
        found.torn.update([what] if what else [])
    found.images = len(known)
    return found


def _state(folder: Path, files: dict[str, bytearray], *, compare: bool) -> tuple[int, str]:
    for stale in folder.glob("ledger.db*"):
        stale.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    size, _, what = _look(folder)
    if compare:
        verdict = verify_notebook(folder)
        assert verdict.what or not what, what
        assert verdict.what or verdict.size == size
        what = what or verdict.what
    return size, what


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Records the workload in a folder, with many moves of the log: there writes cross."""
    monkeypatch.setattr(writer, "CHECKPOINT_PAGES", 25)
    return lambda **options: _recorded(tmp_path / "house", **options)


def test_a_power_loss_takes_nothing_that_was_promised(tmp_path: Path, recorded: Any) -> None:
    """A committed fact survives the loss of everything that was not synced, in any order."""
    found = _try(recorded(), tmp_path / "house", seed=1)

    assert found.wrong == (0, 0, {}), found
    assert found.states >= STATES
    assert found.images >= 1_000


@pytest.mark.chaos
@pytest.mark.timeout(0)
@pytest.mark.parametrize("seed", range(2, 22))
def test_a_power_loss_takes_nothing_whatever_the_seed(
    tmp_path: Path, recorded: Any, seed: int
) -> None:
    """The same many times over."""
    assert _try(recorded(), tmp_path / "house", seed=seed).wrong == (0, 0, {})


@pytest.mark.parametrize(("relaxed", "bug"), [(True, ""), (False, "commit-without-sync")])
def test_the_simulator_sees_what_is_not_synced(
    tmp_path: Path, recorded: Any, relaxed: bool, bug: str
) -> None:
    """The negative control: without a sync at commit promised facts are lost, and are seen to be."""
    found = _try(recorded(relaxed=relaxed, bug=bug), tmp_path / "house", seed=1, modes=("none",))

    assert found.lost
    # Shorter, but never torn: what is there still holds together.
    assert (found.more, found.torn) == (0, {})


@pytest.mark.parametrize("bug", ["answer-before-commit", "chain-forgets", "fold-skips"])
def test_the_auditor_sees_every_planted_bug(tmp_path: Path, recorded: Any, bug: str) -> None:
    """A checker that cannot fail proves nothing."""
    found = _try(recorded(bug=bug), tmp_path / "house", seed=1, modes=("none",))

    assert found.lost if bug == "answer-before-commit" else found.torn


def test_a_disk_that_lies_about_a_sync_is_never_silently_wrong(
    tmp_path: Path, recorded: Any
) -> None:
    """Nothing is promised there, but what is left is a beginning of what was, or called broken."""
    log = recorded()
    folder = tmp_path / "house"
    lies = [one for at, one in enumerate(log) if one.kind != "sync" or at % 3]
    true = _chains(folder)
    found = Found()
    for at, _, files in power_losses(lies, modes=("some", "torn"), seed=1):
        if at < 80 or at % 4:
            continue
        _, what = _state(folder, files, compare=True)
        found.states += 1
        found.torn.update([what] if what else [])
        if not what:
            assert _look(folder)[1] in true, at
    assert found.torn
    assert found.states > 50


def _chains(folder: Path) -> set[bytes]:
    """The hashes after every fact that was ever recorded."""
    database = apsw.Connection(str(folder / "ledger.db"))
    chains = [bytes(32)]
    for (leaf,) in database.execute("SELECT leaf FROM fact ORDER BY seq"):
        chains.append(sha256(b"\x02" + chains[-1] + leaf).digest())
    database.close()
    return set(chains)
