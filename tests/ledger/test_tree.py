"""The tree of a house: roots and proofs of every size it ever had, from its marks and leaves."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import apsw
import pytest

from tildawn.errors import BadValue, LedgerBroken
from tildawn.ledger.chain import EMPTY_ROOT, Frontier
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.proof import check_consistency, check_inclusion
from tildawn.ledger.reader import Reader
from tildawn.testing.notebook import Noted, open_notebook


SIZE = 9_300
"""Nine marks and a rest, so that subtrees above, at and below a mark all occur."""


@pytest.fixture(scope="module")
def long_house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house long enough to have marks of several levels."""
    folder = tmp_path_factory.mktemp("tree") / "house"
    with open_notebook(folder) as ledger:
        size = ledger.next_seq
        for begin in range(size, SIZE, 3_000):
            count = min(3_000, SIZE - begin)
            ledger.append_now([ledger.draft(Noted(key=begin + n), run="r") for n in range(count)])
    return folder


@pytest.fixture
def reader(long_house: Path) -> Iterator[Reader]:
    """The long house, read."""
    with open_notebook(long_house, mode="read") as ledger, ledger.read() as reader:
        yield reader


def _roots(reader: Reader) -> list[bytes]:
    frontier = Frontier()
    roots = [EMPTY_ROOT]
    for seq in range(reader.head().size):
        frontier.add(reader.tree().leaf(seq))
        roots.append(frontier.root())
    return roots


def test_every_earlier_root_is_known(reader: Reader) -> None:
    """A checkpoint of any age must be comparable with the ledger of today."""
    roots = _roots(reader)

    for size in [*range(0, SIZE, 37), 1_023, 1_024, 1_025, 2_048, 3_072, 8_192, SIZE]:
        assert reader.tree().root(size) == roots[size], size


def test_proofs_from_marks_hold(reader: Reader) -> None:
    """A proof is made from few marks and leaves, and must be that of the whole tree."""
    roots, rng = _roots(reader), Random(4)

    for _ in range(200):
        old, size = sorted(rng.randint(1, SIZE) for _ in range(2))
        seq = rng.randrange(size)
        leaf = reader.tree().leaf(seq)
        check_inclusion(leaf, seq, size, roots[size], reader.inclusion(seq, size))
        check_consistency(old, roots[old], size, roots[size], reader.consistency(old, size))


def test_what_is_not_there_is_not_proved(reader: Reader) -> None:
    """A size beyond the end is a question about the future."""
    for ask in (
        lambda: reader.inclusion(0, SIZE + 10), lambda: reader.inclusion(5, 5),
        lambda: reader.consistency(9, 8), lambda: reader.tree().root(-1),
    ):  # fmt: skip
        with pytest.raises(BadValue):
            ask()


def test_a_missing_mark_or_leaf_is_told(tmp_path: Path) -> None:
    """A proof over a gap would be a proof of something else."""
    folder = tmp_path / "house"
    with open_notebook(folder) as ledger:
        ledger.append_now([ledger.draft(Noted(key=n), run="r") for n in range(4_000)])
        ledger.append_now([ledger.draft(Noted(key=n + 4_000), run="r") for n in range(1_000)])
    with closing(apsw.Connection(str(folder / "ledger.db"))) as database:
        database.execute("DELETE FROM mark WHERE size = 4096")
        database.execute("DROP TRIGGER fact_never_goes")
        database.execute("DELETE FROM fact WHERE seq = 4999")

    with open_notebook(folder, mode="read") as ledger, ledger.read() as reader:
        with pytest.raises(LedgerBroken, match="mark after 4096"):
            reader.consistency(4_097, 4_999)
        with pytest.raises(LedgerBroken, match="between 4999"):
            reader.tree().leaf(4_999)


def test_a_house_without_a_checkpoint_says_so(ledger: Ledger) -> None:
    """Nothing stands for a checkpoint that was never made."""
    with ledger.read() as reader:
        assert reader.checkpoint(at_most=0) is None
