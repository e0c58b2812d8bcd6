"""An erasure reaches the second copy: at once, when it joins again, and when it brings facts back.

What it is not: the erasure in the house; test_erasure.py has that.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tildawn.errors import HouseUnusable
from tildawn.facts import erasure, house, mirror, signing
from tildawn.facts.fact import Registry
from tildawn.ledger.erasure import erase, held_by
from tildawn.ledger.layout import Layout
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.likeness import compare
from tildawn.ledger.mirror import Wish
from tildawn.ledger.shelf import Shelf
from tildawn.ledger.verify import verify
from tildawn.testing.mirror import fill, mirror_of
from tildawn.testing.notebook import PROJECTIONS, Noted, Risen, Seated, Struck


Open = Callable[..., Ledger]
GONE, KEPT = "0a" * 16, "0b" * 16
CANARY = '"canary-short"'
LONG = '"' + "canary-long " * 7_000 + '"'
REGISTRY = Registry(
    [*house.KINDS, *mirror.KINDS, *signing.KINDS, *erasure.KINDS, Noted, Struck, Seated, Risen]
)


def _fill(ledger: Ledger) -> None:
    fill(ledger, 1, run=GONE, text=CANARY)
    fill(ledger, 2, run=GONE, text=LONG)
    fill(ledger, 3, run=KEPT, text='"stays"')


def _erase(ledger: Ledger, folder: Path) -> None:
    with ledger.read() as reader:
        going = held_by(reader, [GONE])
    erase(ledger, folder, going, runs=1, why="asked")


def _bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def _proven(folder: Path, copy: Path) -> list[str]:
    """What is wrong with the house, and with its mirror."""
    alone = verify(folder, registry=REGISTRY, projections=PROJECTIONS)
    both = compare(Layout(folder), Wish(mode="sync-degrade", folder=copy))
    return [f"{one.state}: {one.what}" for one in (alone, both) if one.exit_code]


def test_an_erasure_leaves_nothing_in_the_mirror(mirrored: Open, folder: Path, copy: Path) -> None:
    """The house would verify and the disk in the drawer would still know."""
    with mirrored(registry=REGISTRY) as ledger:
        _fill(ledger)
        assert b"canary" in _bytes(copy)
        _erase(ledger, folder)
        assert mirror_of(ledger).forget_erased() == 2
        assert mirror_of(ledger).forget_erased() == 0
        fill(ledger, 4, run=KEPT)
        assert b"canary" not in _bytes(copy)
        assert b"stays" in _bytes(copy)
    assert _proven(folder, copy) == []
    with mirrored(registry=REGISTRY) as ledger:
        fill(ledger, 5, run=KEPT)
    assert _proven(folder, copy) == []


def test_a_kill_before_the_mirror_forgot_is_made_good_at_opening(
    mirrored: Open, folder: Path, copy: Path
) -> None:
    """Whoever asked for the erasure is not there any more to ask again."""
    with mirrored(registry=REGISTRY) as ledger:
        _fill(ledger)
        _erase(ledger, folder)
    assert b"canary" in _bytes(copy)
    with mirrored(registry=REGISTRY):
        assert b"canary" not in _bytes(copy)
    assert _proven(folder, copy) == []


def test_a_mirror_that_was_lost_forgets_before_it_counts_again(
    mirrored: Open, folder: Path, copy: Path
) -> None:
    """A disk that was away must not bring back what is gone."""
    away = copy.with_name("away")
    with mirrored(registry=REGISTRY) as ledger:
        _fill(ledger)
    copy.rename(away)
    with mirrored(registry=REGISTRY) as ledger:
        _erase(ledger, folder)
        with pytest.raises(HouseUnusable):
            mirror_of(ledger).forget_erased()
        away.rename(copy)
        mirror_of(ledger).turn()
        assert b"canary" not in _bytes(copy)
        fill(ledger, 5, run=KEPT)
    assert _proven(folder, copy) == []


@pytest.mark.parametrize("forgot", [True, False])
def test_facts_of_an_erasure_that_come_back_erase_again(
    mirrored: Open, folder: Path, copy: Path, tmp_path: Path, forgot: bool
) -> None:
    """A disk that forgot the erasure would else hold the values for ever, and say it does not."""
    with mirrored(registry=REGISTRY) as ledger:
        _fill(ledger)
    old = tmp_path / "old.db"
    shutil.copy(folder / "ledger.db", old)
    with mirrored(registry=REGISTRY) as ledger:
        fill(ledger, 9, run=GONE, text=CANARY)
        _erase(ledger, folder)
        if forgot:
            mirror_of(ledger).forget_erased()
    shutil.copy(old, folder / "ledger.db")
    size = Shelf(copy).find_end().size
    with mirrored(registry=REGISTRY) as ledger:
        assert ledger.next_seq > size
        with ledger.read() as reader:
            sql = "SELECT count(*) FROM payload WHERE erased IS NULL"
            assert reader.query(sql) == [(1,)]
        assert b"canary" not in _bytes(copy)
    assert _proven(folder, copy) == []
