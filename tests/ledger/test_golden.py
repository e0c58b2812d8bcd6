"""Ledgers written by released formats: they open, verify and go on, for ever.

What it is not: regenerated.  A change that needs new files here breaks every house there is.
How they were made: ``make_golden.py`` beside this file.
"""

import hashlib
import json
import shutil
import sqlite3
from pathlib import Path

import msgspec
import pytest

from tildawn.ledger.entry import Committed
from tildawn.ledger.verdict import State
from tildawn.testing.notebook import Note, note, open_notebook, verify_notebook
from tildawn.units import Seq


VECTORS = Path(__file__).with_name("vectors")


class Expected(msgspec.Struct, frozen=True):
    """What is known of a golden ledger from outside."""

    size: int
    chain: str
    root: str
    name: str
    keyed: str
    bodies: dict[str, str]


@pytest.fixture(params=sorted(path.name for path in VECTORS.iterdir() if path.is_dir()))
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of one of them."""
    return Path(shutil.copytree(VECTORS / str(request.param), tmp_path / "house"))


def _expected(folder: Path) -> Expected:
    return msgspec.json.decode((folder / "expected.json").read_bytes(), type=Expected)


def test_a_golden_ledger_is_proven_with_its_old_hashes(golden: Path) -> None:
    """The bytes, the leaves, the chain and the tree are frozen."""
    expected = _expected(golden)
    verdict = verify_notebook(golden)

    assert (verdict.state, verdict.what) == (State.PROVEN, "")
    assert (verdict.size, verdict.chain, verdict.root) == (
        expected.size, expected.chain, expected.root,
    )  # fmt: skip


def test_a_golden_ledger_opens_and_goes_on(golden: Path) -> None:
    """From the first release on, every later version opens every earlier house."""
    expected = _expected(golden)
    with open_notebook(golden) as ledger:
        assert ledger.name == expected.name
        assert ledger.keyed("a natural key") == expected.keyed
        with ledger.read() as reader:
            for seq, body in expected.bodies.items():
                assert reader.fact(Seq(int(seq)))[1].decode() == body
            rows = reader.rows(Note, "key = 100")
            long = [reader.payload(Seq(row.seq), 0) for row in rows]
        assert [len(text) for text in long] == [70_002]
        assert isinstance(ledger.append_now([note(ledger, 4_242, run="new")]), Committed)

    assert verify_notebook(golden).state is State.PROVEN


def test_a_golden_ledger_can_be_checked_with_nothing_but_the_standard_library(golden: Path) -> None:
    """The specification is enough: no line of ours takes part here."""
    database = sqlite3.connect(f"file:{golden / 'ledger.db'}?mode=ro&immutable=1", uri=True)
    chain = bytes(32)
    size = 0
    for seq, leaf, body in database.execute("SELECT seq, leaf, body FROM fact ORDER BY seq"):
        value = json.loads(body)
        form = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert (seq, form.encode()) == (size, body)
        assert leaf == hashlib.sha256(b"\x00" + body).digest()
        chain = hashlib.sha256(b"\x02" + chain + leaf).digest()
        size += 1
    database.close()

    expected = json.loads((golden / "expected.json").read_text(encoding="utf-8"))
    assert (size, chain.hex()) == (expected["size"], expected["chain"])
