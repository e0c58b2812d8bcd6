"""Sealing an old log: once, with its bytes, and never with a secret in it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tildawn.errors import Misused, SecretFound
from tildawn.facts.legacy import LegacySealed
from tildawn.ledger.legacy import Account
from tildawn.ledger.sweep import sweep
from tildawn.ledger.verify import verify
from tildawn.runtime.config import load
from tildawn.runtime.house import House
from tildawn.runtime.operation import Desk, Operation, perform
from tildawn.runtime.operations.legacy import IMPORT, IMPORT_PLAN, Imported, ImportInput
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.testing.clock import ManualClock
from tildawn.units import Seq


LOG = b'\xef\xbb\xbf{"id": 1}\n{torn\n'


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """An open house, and what is asked of it."""
    config = load(tmp_path, environ={})
    clock = ManualClock()
    folder = tmp_path / ".tildawn"
    with House.open(folder, config.settings, mode="write", clock=clock) as house:
        yield Desk(config, clock, folder=folder, house=house)


def _ask(desk: Desk, path: Path, operation: Operation[ImportInput, Imported]) -> Imported:
    asked = msgspec.json.encode(ImportInput(path=str(path)))
    answer = asyncio.run(perform(operation, desk, asked))
    return msgspec.json.decode(answer, type=Imported)


def _seal(desk: Desk, path: Path) -> Imported:
    return _ask(desk, path, IMPORT)


def test_a_sealed_log_is_one_fact_with_its_bytes_and_its_account(
    desk: Desk, tmp_path: Path
) -> None:
    """Whoever doubts the account looks at the bytes."""
    (tmp_path / "old.jsonl").write_bytes(LOG)
    found = _seal(desk, tmp_path / "old.jsonl")

    assert found.fresh
    assert found.seq is not None
    ledger = desk.house.ledger
    assert ledger.blobs.get(found.digest) == LOG
    with ledger.read() as reader:
        fact, _ = reader.fact(Seq(found.seq))
        account = msgspec.json.decode(reader.payload(Seq(found.seq), 1), type=Account)
    assert isinstance(fact.data, LegacySealed)
    assert (fact.data.lines, fact.data.unchained, fact.data.unreadable) == (2, 1, 1)
    assert account == found.account
    sweep(ledger)
    proven = verify(desk.house.folder, registry=REGISTRY, projections=PROJECTIONS)
    assert (proven.state.value, proven.what) == ("proven", "")


def test_the_same_bytes_are_sealed_once(desk: Desk, tmp_path: Path) -> None:
    """Typing it again says where they are."""
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(LOG)
    first, second = _seal(desk, tmp_path / "a"), _seal(desk, tmp_path / "b")

    assert (second.seq, second.fresh) == (first.seq, False)


def test_a_log_with_a_secret_is_refused_with_its_line(desk: Desk, tmp_path: Path) -> None:
    """A brief of the morning once printed two passwords that worked."""
    (tmp_path / "old").write_bytes(LOG + b'{"key": "ghp_' + b"a1" * 20 + b'"}\n')
    size = desk.house.ledger.head().size

    with pytest.raises(SecretFound, match="line 3") as caught:
        _seal(desk, tmp_path / "old")

    assert "a1a1" not in str(caught.value)
    assert desk.house.ledger.head().size == size


def test_a_plan_seals_nothing(desk: Desk, tmp_path: Path) -> None:
    """It only says what there is."""
    (tmp_path / "old").write_bytes(LOG)
    size = desk.house.ledger.head().size
    found = _ask(desk, tmp_path / "old", IMPORT_PLAN)

    assert (found.seq, found.account.lines) == (None, 2)
    assert desk.house.ledger.head().size == size


@pytest.mark.parametrize("name", ["missing", "empty", "."])
def test_what_is_no_log_is_refused(desk: Desk, tmp_path: Path, name: str) -> None:
    """Nothing is sealed by a slip."""
    (tmp_path / "empty").touch()

    with pytest.raises(Misused):
        _seal(desk, tmp_path / name)
